//! sendmmsg(2) and recvmmsg(2): many datagrams in one system call.
//!
//! Runs of datagrams of one size to one peer go out as one message that the kernel cuts apart
//! (UDP_SEGMENT): the pieces are gathered where they lie, nothing is joined first. Where the kernel,
//! the route or the device refuses it, the run goes out datagram by datagram, and the caller is told
//! so that it does not try again.

use std::ffi::c_int;
use std::mem::size_of;
use std::os::fd::RawFd;
use std::ptr;

use socket2::{SockAddr, SockAddrStorage};

use crate::cmsg;
use crate::errno::{Errno, Result};
use crate::sockaddr::{self, Address};
use crate::sys::{self, ReadableMemory, WritableMemory};

/// udp(7); the libc crate has it for some C libraries only.
pub const UDP_SEGMENT: c_int = 103;
/// udp(7).
pub const UDP_GRO: c_int = 104;

/// The most datagrams that every kernel with UDP_SEGMENT cuts one message into.
const MOST_SEGMENTS: usize = 64;
/// The most bytes of one such message: what an IP datagram holds beside the larger of its headers.
const MOST_SEGMENTED_BYTES: usize = 65_535 - 48;
/// The most messages in one system call: the kernel's own bound.
const MOST_MESSAGES: usize = 1024;

/// One datagram to be sent: where its parts, its address and its control data stand.
#[derive(Clone, Copy)]
struct Entry {
    first_part: u32,
    parts: u32,
    /// Cut at what the number holds: more than any datagram does.
    bytes: u32,
    /// Place in the addresses; `NONE` for a connected socket's peer.
    address: u32,
    /// Place in the control data of those that have any, or `NONE`.
    control: u32,
}

const NONE: u32 = u32::MAX;

/// Places and sizes are kept small, as there is one of each for every datagram of a large batch.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Datagrams to be sent, gathered from memory that somebody else keeps alive.
#[derive(Default)]
pub struct Outgoing {
    entries: Vec<Entry>,
    parts: Vec<ReadableMemory>,
    addresses: Vec<SockAddr>,
    controls: Vec<Vec<u8>>,
    /// Rebuilt for each system call.
    headers: Vec<libc::mmsghdr>,
    /// How many datagrams each header stands for.
    sizes: Vec<usize>,
    segment_controls: Vec<SegmentControl>,
}

// SAFETY: the headers' pointers lead into the other fields and are used within `send` only, which
// makes them anew; the parts are `Send` themselves.
unsafe impl Send for Outgoing {}

/// The control message that asks for segments of one size, as the kernel wants it aligned.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct SegmentControl([u8; SEGMENT_CONTROL_BYTES]);

const SEGMENT_CONTROL_BYTES: usize = match cmsg::space(size_of::<u16>()) {
    Some(bytes) => bytes,
    None => 0,
};

impl Outgoing {
    /// Room for so many datagrams of one part.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self {
            entries: Vec::with_capacity(count),
            parts: Vec::with_capacity(count),
            ..Self::default()
        }
    }

    /// Remembers an address; gives the number by which datagrams refer to it. The last one given again
    /// has the same number: a run to one peer is known by it.
    pub fn add_address(&mut self, address: SockAddr) -> u32 {
        if self.addresses.last() != Some(&address) {
            self.addresses.push(address);
        }
        small(self.addresses.len() - 1)
    }

    /// Appends a datagram of one part.
    #[inline]
    pub fn push(&mut self, data: ReadableMemory, address: Option<u32>) {
        let first_part = small(self.parts.len());
        self.parts.push(data);
        let (bytes, address) = (small(data.len), address.unwrap_or(NONE));
        self.entries.push(Entry { first_part, parts: 1, bytes, address, control: NONE });
    }

    /// Appends a datagram of any number of parts, with control data.
    pub fn push_gathered(
        &mut self,
        parts: impl Iterator<Item = ReadableMemory>,
        control: Vec<u8>,
        address: Option<u32>,
    ) {
        let first = self.parts.len();
        self.parts.extend(parts);
        let parts = self.parts.get(first..).unwrap_or_default();
        let bytes = small(parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len)));
        let (first_part, parts) = (small(first), small(parts.len()));
        let control = if control.is_empty() {
            NONE
        } else {
            self.controls.push(control);
            small(self.controls.len() - 1)
        };
        let address = address.unwrap_or(NONE);
        self.entries.push(Entry { first_part, parts, bytes, address, control });
    }

    /// The one datagram there is, if it is of one part and without control data, and its address.
    #[must_use]
    pub fn single(&self) -> Option<(ReadableMemory, Option<&SockAddr>)> {
        match (self.entries.as_slice(), self.parts.as_slice()) {
            ([entry], [part]) if entry.control == NONE => {
                Some((*part, self.addresses.get(entry.address as usize)))
            }
            _ => None,
        }
    }

    /// How many datagrams there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes the datagram at `index` has.
    #[must_use]
    pub fn bytes_of(&self, index: usize) -> usize {
        self.entries.get(index).map_or(0, |entry| entry.bytes as usize)
    }

    /// All bytes of all datagrams.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.iter().fold(0, |sum: usize, entry| sum.saturating_add(entry.bytes as usize))
    }

    /// Sends datagrams from the one at `from` on, by one system call (two where segments are
    /// refused); gives how many went. `largest_segment` is the largest size of a datagram for which
    /// segments are asked for: zero for none. It is lowered when the kernel refuses them.
    ///
    /// # Errors
    /// What the kernel says of the first datagram, if none went.
    pub fn send(
        &mut self,
        fd: RawFd,
        from: usize,
        flags: c_int,
        largest_segment: &mut usize,
    ) -> Result<usize> {
        self.lay_out(from, *largest_segment);
        let refused = match self.send_headers(fd, flags) {
            Err(error) if self.sizes.first().is_some_and(|&size| size > 1) => error,
            other => return other,
        };
        // Not for want of room or of a route: the size, the route's or the device's inability.
        if !matches!(refused, Errno(libc::EINVAL | libc::EIO | libc::EMSGSIZE | libc::EOPNOTSUPP)) {
            return Err(refused);
        }
        self.lay_out(from, 0);
        let sent = self.send_headers(fd, flags);
        if sent.is_ok() {
            let size = self.bytes_of(from);
            *largest_segment = if refused == Errno(libc::EIO) { 0 } else { size.saturating_sub(1) };
        }
        sent
    }

    fn send_headers(&mut self, fd: RawFd, flags: c_int) -> Result<usize> {
        let count = libc::c_uint::try_from(self.headers.len()).unwrap_or(libc::c_uint::MAX);
        // SAFETY: so many headers, whose pointers `lay_out` has just made: to parts, addresses and
        // control data that this object holds (the makers of the parts promise theirs). The kernel
        // writes to nothing but the headers' own lengths. The flags' type varies between C
        // libraries.
        let sent = unsafe { libc::sendmmsg(fd, self.headers.as_mut_ptr(), count, flags as _) };
        let sent = usize::try_from(sent).map_err(|_| Errno::last())?;
        Ok(self.sizes.iter().take(sent).sum())
    }

    /// Makes the headers for the datagrams from `from` on, runs of them joined where they may be.
    fn lay_out(&mut self, from: usize, largest_segment: usize) {
        self.headers.clear();
        self.sizes.clear();
        self.segment_controls.clear();
        if largest_segment > 0 {
            // Pointers into it are kept: it must not move.
            self.segment_controls.reserve((self.len() - from.min(self.len())).min(MOST_MESSAGES));
        }
        let mut next = from;
        while let Some(entry) = self.entries.get(next).copied()
            && self.headers.len() < MOST_MESSAGES
        {
            let run = self.run_at(next, largest_segment);
            let mut header = self.header_of(&entry);
            if run > 1 {
                header.msg_iovlen = run as _;
                let control = self.segment_control(entry.bytes);
                header.msg_control = control.cast();
                header.msg_controllen = SEGMENT_CONTROL_BYTES as _;
            }
            self.headers.push(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
            self.sizes.push(run);
            next += run;
        }
    }

    fn header_of(&self, entry: &Entry) -> libc::msghdr {
        let mut header = sys::empty_header();
        // The kernel's iovec and ReadableMemory are both a pointer and a length, in this order.
        const { assert!(size_of::<libc::iovec>() == size_of::<ReadableMemory>()) };
        let parts = self.parts.get(entry.first_part as usize..).unwrap_or_default();
        header.msg_iov = parts.as_ptr().cast_mut().cast();
        header.msg_iovlen = entry.parts as _;
        if let Some(address) = self.addresses.get(entry.address as usize) {
            header.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_namelen = address.len();
        }
        if let Some(control) = self.controls.get(entry.control as usize) {
            header.msg_control = control.as_ptr().cast_mut().cast();
            header.msg_controllen = control.len() as _;
        }
        header
    }

    /// How many datagrams from `index` on can go as segments of one message: all of one size but the
    /// last, which may be shorter, to one address, of one part each and without control data.
    fn run_at(&self, index: usize, largest_segment: usize) -> usize {
        let Some(rest) = self.entries.get(index..) else { return 0 };
        let Some(first) = rest.first() else { return 0 };
        let size = first.bytes as usize;
        let joins = |entry: &Entry| {
            entry.parts == 1 && entry.control == NONE && entry.address == first.address
        };
        if size == 0 || size > largest_segment || !joins(first) {
            return 1;
        }
        let most = MOST_SEGMENTS.min(MOST_SEGMENTED_BYTES / size).max(1);
        let mut run = 1;
        for entry in rest.iter().take(most).skip(1) {
            let bytes = entry.bytes as usize;
            if bytes > size || bytes == 0 || !joins(entry) {
                break;
            }
            run += 1;
            if bytes < size {
                break;
            }
        }
        run
    }

    fn segment_control(&mut self, size: u32) -> *mut SegmentControl {
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        let mut control = Vec::with_capacity(SEGMENT_CONTROL_BYTES);
        cmsg::push(&mut control, libc::SOL_UDP, UDP_SEGMENT, &size.to_ne_bytes());
        let control = control.first_chunk().copied().unwrap_or([0; SEGMENT_CONTROL_BYTES]);
        self.segment_controls.push(SegmentControl(control));
        self.segment_controls.last_mut().map_or(ptr::null_mut(), ptr::from_mut)
    }
}

/// True if the kernel cuts messages into segments, and if they come out as the same datagrams would one
/// by one: not when the socket joins what it is given (UDP_CORK), has segments of its own, or queues
/// errors or timestamps, each of which stands for what was sent. A kernel that does not know the control message would
/// send a run as a single datagram.
#[must_use]
pub fn may_segment(fd: RawFd, family: c_int) -> bool {
    let is_off = |level, name| sys::getsockopt_int(fd, level, name) == Ok(0);
    is_off(libc::SOL_UDP, UDP_SEGMENT)
        && is_off(libc::SOL_UDP, libc::UDP_CORK)
        && is_off(libc::SOL_SOCKET, libc::SO_TIMESTAMPING)
        && is_off(libc::IPPROTO_IP, libc::IP_RECVERR)
        && (family == libc::AF_INET || is_off(libc::IPPROTO_IPV6, libc::IPV6_RECVERR))
}

/// The room for one sender's address: any family's.
const NAME_BYTES: usize = size_of::<SockAddrStorage>();

/// How much memory received datagrams are put into before they are handed on: it stays in the
/// processor's cache.
const ARENA_BYTES: usize = 1 << 20;
/// The most datagrams that are received at once: more make the system call no cheaper.
const MOST_RECEIVED: usize = 128;

/// Memory into which datagrams are received, kept from call to call.
#[derive(Default)]
pub struct Incoming {
    headers: Vec<libc::mmsghdr>,
    parts: Vec<WritableMemory>,
    names: Vec<SockAddrStorage>,
    controls: Vec<u8>,
    control_bytes: usize,
    arena: Vec<u8>,
    bufsize: usize,
}

// SAFETY: as with `Outgoing`: the headers' pointers lead into the other fields and are made anew by
// `receive`, which alone uses them; the parts are `Send` themselves.
unsafe impl Send for Incoming {}

/// One datagram, or a run of them that the kernel has joined, as it came.
pub struct Arrived<'a> {
    /// The bytes that there was room for; empty if they went into somebody else's memory.
    pub data: &'a [u8],
    /// How many bytes came; with MSG_TRUNC among the flags of the call, how many there were.
    pub bytes: usize,
    /// The sender's address as the kernel wrote it.
    pub name: &'a [u8],
    /// Control data.
    pub control: &'a [u8],
    /// MSG_TRUNC, MSG_CTRUNC and their kin.
    pub flags: c_int,
}

impl Arrived<'_> {
    /// The sender's address as a value.
    #[must_use]
    pub fn from(&self) -> Address {
        sockaddr::from_kernel(self.name)
    }
}

impl Incoming {
    /// Makes room for datagrams of up to `bufsize` bytes with so much control data each: for `count`,
    /// or for as many as are worth receiving at once. `None` if there is no memory for it.
    #[must_use]
    pub fn make_room(&mut self, count: usize, bufsize: usize, control_bytes: usize) -> Option<()> {
        let fitting = (ARENA_BYTES / bufsize.max(1)).clamp(1, MOST_RECEIVED);
        let count = count.min(fitting);
        let wanted = count.checked_mul(bufsize)?;
        if self.arena.len() < wanted {
            self.arena = sys::zeroed(wanted)?;
        }
        self.bufsize = bufsize;
        self.parts.clear();
        let start = self.arena.as_mut_ptr();
        let part =
            |index| WritableMemory { start: start.wrapping_add(index * bufsize), len: bufsize };
        self.parts.extend((0..count).map(part));
        self.make_room_for_headers(control_bytes)
    }

    /// Takes somebody else's memory for the datagrams, one part for each.
    #[must_use]
    pub fn borrow_room(&mut self, parts: impl Iterator<Item = WritableMemory>) -> Option<()> {
        self.parts.clear();
        self.parts.extend(parts.take(MOST_MESSAGES));
        self.bufsize = 0;
        self.make_room_for_headers(0)
    }

    fn make_room_for_headers(&mut self, control_bytes: usize) -> Option<()> {
        let count = self.parts.len();
        // The kernel aligns what it writes for each.
        self.control_bytes = control_bytes.checked_next_multiple_of(size_of::<usize>())?;
        let controls = self.control_bytes.checked_mul(count)?;
        if self.controls.len() < controls {
            self.controls = sys::zeroed(controls)?;
        }
        if self.names.len() < count {
            self.names.resize_with(count, SockAddrStorage::zeroed);
        }
        Some(())
    }

    /// How many datagrams there is room for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.parts.len()
    }

    /// Gives large memory back. What is left serves the next call.
    pub fn shrink(&mut self) {
        if self.arena.len() > ARENA_BYTES {
            self.arena = Vec::new();
        }
        if self.controls.len() > ARENA_BYTES {
            self.controls = Vec::new();
        }
    }

    /// Receives up to `most` datagrams; gives how many came.
    ///
    /// # Errors
    /// What the kernel says, if none came.
    pub fn receive(&mut self, fd: RawFd, most: usize, flags: c_int) -> Result<usize> {
        self.lay_out(most);
        let count = libc::c_uint::try_from(self.headers.len()).unwrap_or(libc::c_uint::MAX);
        // SAFETY: so many headers, whose pointers `lay_out` has just made: to names and control data
        // of this object, and to parts that are its own or whose makers promise their memory; each
        // with its length beside it. No time is given. The flags' type varies between C libraries.
        let came = unsafe {
            libc::recvmmsg(fd, self.headers.as_mut_ptr(), count, flags as _, ptr::null_mut())
        };
        usize::try_from(came).map_err(|_| Errno::last())
    }

    fn lay_out(&mut self, most: usize) {
        const { assert!(size_of::<libc::iovec>() == size_of::<WritableMemory>()) };
        self.headers.clear();
        let controls = self.controls.as_mut_ptr();
        for (index, part) in self.parts.iter_mut().take(most).enumerate() {
            let mut header = sys::empty_header();
            header.msg_iov = ptr::from_mut(part).cast();
            header.msg_iovlen = 1;
            if let Some(name) = self.names.get_mut(index) {
                header.msg_name = ptr::from_mut(name).cast();
                header.msg_namelen = small(NAME_BYTES);
            }
            if self.control_bytes > 0 {
                header.msg_control = controls.wrapping_add(index * self.control_bytes).cast();
                header.msg_controllen = self.control_bytes as _;
            }
            self.headers.push(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        }
    }

    /// The datagram at `index`, of those that the last call of `receive` has brought.
    #[must_use]
    pub fn arrived(&self, index: usize) -> Option<Arrived<'_>> {
        let message = self.headers.get(index)?;
        let header = &message.msg_hdr;
        let bytes = message.msg_len as usize;
        let start = index * self.bufsize;
        let data = self.arena.get(start..start + bytes.min(self.bufsize)).unwrap_or_default();
        let start = index * self.control_bytes;
        // The field is narrower than usize with some C libraries.
        #[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "not with all of them")]
        let control_len = (header.msg_controllen as usize).min(self.control_bytes);
        let control = self.controls.get(start..start + control_len).unwrap_or_default();
        let name = sockaddr::bytes_of(self.names.get(index)?, header.msg_namelen);
        Some(Arrived { data, bytes, name, control, flags: header.msg_flags })
    }
}
