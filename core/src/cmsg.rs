//! Control messages (cmsg(3)): laid out for sendmsg, picked apart after recvmsg. Bytes only, no
//! pointers, so that nothing the kernel wrote can lead outside the buffer.
#![forbid(unsafe_code)]

use std::ffi::c_int;
use std::mem::{offset_of, size_of};

const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
const LEVEL: usize = offset_of!(libc::cmsghdr, cmsg_level);
const TYPE: usize = offset_of!(libc::cmsghdr, cmsg_type);
/// The kernel's type of `cmsg_len`, which is not `size_t` everywhere.
const LEN_BYTES: usize = LEVEL;

/// CMSG_ALIGN.
const fn align(len: usize) -> Option<usize> {
    match len.checked_add(size_of::<usize>() - 1) {
        Some(padded) => Some(padded & !(size_of::<usize>() - 1)),
        None => None,
    }
}

const DATA: usize = match align(HEADER_BYTES) {
    Some(offset) => offset,
    None => HEADER_BYTES,
};

/// CMSG_SPACE: the room that `data_bytes` of control data take up; `None` beyond what fits.
#[must_use]
pub const fn space(data_bytes: usize) -> Option<usize> {
    match align(data_bytes) {
        Some(aligned) => aligned.checked_add(DATA),
        None => None,
    }
}

/// Appends one control message.
pub fn push(control: &mut Vec<u8>, level: c_int, kind: c_int, data: &[u8]) {
    let start = control.len();
    let Some(room) = space(data.len()) else {
        return;
    };
    control.resize(start + room, 0);
    let message = &mut control[start..];
    let len = (DATA + data.len()).to_ne_bytes();
    // On a big-endian machine with a narrower cmsg_len the low bytes come last.
    let len =
        if cfg!(target_endian = "big") { &len[len.len() - LEN_BYTES..] } else { &len[..LEN_BYTES] };
    message[..LEN_BYTES].copy_from_slice(len);
    message[LEVEL..LEVEL + size_of::<c_int>()].copy_from_slice(&level.to_ne_bytes());
    message[TYPE..TYPE + size_of::<c_int>()].copy_from_slice(&kind.to_ne_bytes());
    message[DATA..DATA + data.len()].copy_from_slice(data);
}

/// One control message as received.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The protocol it belongs to (`cmsg_level`).
    pub level: c_int,
    /// What it is there (`cmsg_type`).
    pub kind: c_int,
    /// What it says.
    pub data: &'a [u8],
}

/// What stands next in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// All of a message.
    Whole(Message<'a>),
    /// The buffer ends before the message does; nothing follows.
    Truncated(Message<'a>),
    /// A header that makes no sense; nothing follows.
    Malformed,
}

impl Item<'_> {
    /// True if the buffer was too small for it.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        !matches!(self, Self::Whole(_))
    }
}

/// Walks through received control messages.
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Over what recvmsg left in the control buffer.
    #[must_use]
    pub fn new(control: &'a [u8]) -> Self {
        Self { rest: control }
    }
}

fn c_int_at(bytes: &[u8], offset: usize) -> c_int {
    let field = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |field| c_int::from_ne_bytes(*field))
}

fn len_of(message: &[u8]) -> usize {
    let mut len = [0; size_of::<usize>()];
    let start = if cfg!(target_endian = "big") { len.len() - LEN_BYTES } else { 0 };
    len[start..start + LEN_BYTES].copy_from_slice(&message[..LEN_BYTES]);
    usize::from_ne_bytes(len)
}

impl<'a> Iterator for Messages<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let here = self.rest;
        if here.len() < HEADER_BYTES {
            return None;
        }
        let len = len_of(here);
        self.rest = &[];
        if len < DATA {
            return Some(Item::Malformed);
        }
        let whole = len <= here.len();
        let data = here.get(DATA..len.min(here.len())).unwrap_or_default();
        let message = Message { level: c_int_at(here, LEVEL), kind: c_int_at(here, TYPE), data };
        if !whole {
            return Some(Item::Truncated(message));
        }
        self.rest = align(len).and_then(|next| here.get(next..)).unwrap_or_default();
        Some(Item::Whole(message))
    }
}

/// The descriptors that arrived with SCM_RIGHTS, whole or truncated: each is open in this process
/// and somebody must close it.
pub fn descriptors(control: &[u8]) -> impl Iterator<Item = c_int> {
    Messages::new(control)
        .filter_map(|item| match item {
            Item::Whole(message) | Item::Truncated(message) => Some(message),
            Item::Malformed => None,
        })
        .filter(|message| message.level == libc::SOL_SOCKET && message.kind == libc::SCM_RIGHTS)
        .flat_map(|message| message.data.as_chunks().0.iter().map(|fd| c_int::from_ne_bytes(*fd)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_agree_with_the_c_library() {
        for data_bytes in 0..64u32 {
            // SAFETY-free: the libc crate's macros are pure arithmetic, but marked unsafe; the
            // figures are CMSG_SPACE on every Linux: header and data, each rounded up.
            let word = size_of::<usize>();
            let expected =
                HEADER_BYTES.next_multiple_of(word) + (data_bytes as usize).next_multiple_of(word);
            assert_eq!(space(data_bytes as usize), Some(expected));
        }
        assert_eq!(space(usize::MAX), None);
        assert_eq!(space(usize::MAX - 20), None);
    }

    #[test]
    fn round_trip() {
        let mut control = Vec::new();
        push(&mut control, 1, 2, b"abc");
        push(&mut control, 3, 4, b"");
        let items: Vec<_> = Messages::new(&control).collect();
        let first = Message { level: 1, kind: 2, data: b"abc" };
        let second = Message { level: 3, kind: 4, data: b"" };
        assert_eq!(items, [Item::Whole(first), Item::Whole(second)]);
    }

    #[test]
    fn truncated_and_malformed() {
        let mut control = Vec::new();
        push(&mut control, libc::SOL_SOCKET, libc::SCM_RIGHTS, &[7, 0, 0, 0, 9, 0, 0, 0]);
        let cut = &control[..DATA + 5];
        let item = Messages::new(cut).next();
        assert!(matches!(item, Some(Item::Truncated(message)) if message.data.len() == 5));
        assert_eq!(descriptors(cut).count(), 1);
        let zeroes = [0; 64];
        let items: Vec<_> = Messages::new(&zeroes).collect();
        assert_eq!(items, [Item::Malformed]);
        assert_eq!(Messages::new(&zeroes[..3]).count(), 0);
        let mut huge = control;
        huge[..LEN_BYTES].fill(0xff);
        assert!(matches!(Messages::new(&huge).next(), Some(Item::Truncated(_))));
    }
}
