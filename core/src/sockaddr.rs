//! Socket addresses between the kernel's `sockaddr_*` and plain values: INET, INET6, UNIX.

use std::ffi::c_int;
use std::mem::{offset_of, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::{ptr, slice};

use socket2::{SockAddr, SockAddrStorage};

/// The longest name in the UNIX family, in bytes.
pub const UNIX_NAME_BYTES: usize = size_of::<libc::sockaddr_un>() - UNIX_NAME_OFFSET;
const UNIX_NAME_OFFSET: usize = offset_of!(libc::sockaddr_un, sun_path);
#[allow(clippy::cast_possible_truncation, reason = "the constant is 1")]
const UNIX_FAMILY: libc::sa_family_t = libc::AF_UNIX as libc::sa_family_t;

/// A socket address as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// No address: the other end of a connected stream, say.
    None,
    /// INET: host and port.
    V4(SocketAddrV4),
    /// INET6, with flow information and scope.
    V6(SocketAddrV6),
    /// A pathname, without its NUL; empty when the socket has no name.
    UnixPath(Vec<u8>),
    /// A name in the abstract namespace, with the NUL that it begins with.
    UnixAbstract(Vec<u8>),
    /// A family that rsnet does not speak, and the fourteen bytes behind it.
    Other(c_int, [u8; 14]),
}

impl Address {
    /// The address of a family that has hosts and ports.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::V4(address) => Some((*address).into()),
            Self::V6(address) => Some((*address).into()),
            _ => None,
        }
    }
}

/// An INET address for the kernel.
#[must_use]
pub fn v4(host: Ipv4Addr, port: u16) -> SockAddr {
    SockAddr::from(SocketAddrV4::new(host, port))
}

/// An INET6 address for the kernel. `flowinfo` is in host order, as Python's tuples have it;
/// `sockaddr_in6` wants network order.
#[must_use]
pub fn v6(host: Ipv6Addr, port: u16, flowinfo: u32, scope_id: u32) -> SockAddr {
    SockAddr::from(SocketAddrV6::new(host, port, flowinfo.to_be(), scope_id))
}

/// A UNIX address for the kernel: a pathname, an abstract name (leading NUL), or empty for the
/// kernel to choose. `None` if the name is too long.
#[must_use]
pub fn unix(name: &[u8]) -> Option<SockAddr> {
    let chosen_or_abstract = name.first().is_none_or(|&first| first == 0);
    // A pathname is passed with its NUL.
    let passed = name.len() + usize::from(!chosen_or_abstract);
    if passed > UNIX_NAME_BYTES {
        return None;
    }
    let len = libc::socklen_t::try_from(UNIX_NAME_OFFSET + passed).ok()?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_un is a plain C struct that fits the storage, which is zeroed.
    let raw = unsafe { storage.view_as::<libc::sockaddr_un>() };
    raw.sun_family = UNIX_FAMILY;
    for (to, &from) in raw.sun_path.iter_mut().zip(name) {
        *to = from.cast_signed() as std::ffi::c_char;
    }
    // SAFETY: the family is set, and the length covers only bytes written or zeroed above.
    Some(unsafe { SockAddr::new(storage, len) })
}

/// Room for an address that the kernel writes.
pub struct AddressBuffer {
    storage: SockAddrStorage,
    len: libc::socklen_t,
}

impl Default for AddressBuffer {
    fn default() -> Self {
        let storage = SockAddrStorage::zeroed();
        let len = storage.size_of();
        Self { storage, len }
    }
}

impl AddressBuffer {
    /// The two pointers that the kernel is given, with the length set to all the room there is.
    pub(crate) fn for_kernel(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        self.len = self.storage.size_of();
        ((&raw mut self.storage).cast(), &raw mut self.len)
    }

    /// Marks the address as absent, for calls that may leave the buffer alone.
    pub fn clear(&mut self) {
        self.storage = SockAddrStorage::zeroed();
        self.len = self.storage.size_of();
    }

    /// What the kernel wrote. It may say that there was more than there was room for: what did
    /// not fit was not written, so the length is clamped before anything is read.
    fn bytes(&self) -> &[u8] {
        bytes_of(&self.storage, self.len)
    }

    /// The address family; AF_UNSPEC if nothing was written.
    #[must_use]
    pub fn family(&self) -> c_int {
        family_of(self.bytes())
    }

    /// The address as a value.
    #[must_use]
    pub fn address(&self) -> Address {
        from_kernel(self.bytes())
    }
}

/// What the kernel wrote of an address that it says is so long.
pub(crate) fn bytes_of(storage: &SockAddrStorage, len: libc::socklen_t) -> &[u8] {
    let len = (len as usize).min(size_of::<SockAddrStorage>());
    // SAFETY: the storage was zeroed when made, so every byte of it is initialised, and `len` does
    // not go beyond it.
    unsafe { slice::from_raw_parts(ptr::from_ref(storage).cast(), len) }
}

/// The family of an address that the kernel wrote as these bytes; AF_UNSPEC for none.
#[must_use]
pub fn family_of(bytes: &[u8]) -> c_int {
    match bytes.first_chunk() {
        Some(family) => c_int::from(libc::sa_family_t::from_ne_bytes(*family)),
        None => libc::AF_UNSPEC,
    }
}

/// The address that the kernel wrote as these bytes.
#[must_use]
pub fn from_kernel(bytes: &[u8]) -> Address {
    if bytes.is_empty() {
        return Address::None;
    }
    match family_of(bytes) {
        libc::AF_INET => v4_from(bytes),
        libc::AF_INET6 => v6_from(bytes),
        libc::AF_UNIX => unix_from(bytes),
        other => Address::Other(other, field(bytes, size_of::<libc::sa_family_t>())),
    }
}

/// `N` bytes of the address from `offset`; what the kernel did not write is zero.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut value = [0; N];
    for (to, from) in value.iter_mut().zip(bytes.iter().skip(offset)) {
        *to = *from;
    }
    value
}

fn v4_from(bytes: &[u8]) -> Address {
    let port = field(bytes, offset_of!(libc::sockaddr_in, sin_port));
    let host: [u8; 4] = field(bytes, offset_of!(libc::sockaddr_in, sin_addr));
    Address::V4(SocketAddrV4::new(host.into(), u16::from_be_bytes(port)))
}

fn v6_from(bytes: &[u8]) -> Address {
    let port = field(bytes, offset_of!(libc::sockaddr_in6, sin6_port));
    let host: [u8; 16] = field(bytes, offset_of!(libc::sockaddr_in6, sin6_addr));
    let flowinfo = field(bytes, offset_of!(libc::sockaddr_in6, sin6_flowinfo));
    let scope_id = field(bytes, offset_of!(libc::sockaddr_in6, sin6_scope_id));
    Address::V6(SocketAddrV6::new(
        host.into(),
        u16::from_be_bytes(port),
        u32::from_be_bytes(flowinfo),
        u32::from_ne_bytes(scope_id),
    ))
}

fn unix_from(bytes: &[u8]) -> Address {
    let name = bytes.get(UNIX_NAME_OFFSET..).unwrap_or_default();
    match name.first() {
        Some(0) => Address::UnixAbstract(name.to_vec()),
        _ => {
            let path = name.split(|&byte| byte == 0).next().unwrap_or_default();
            Address::UnixPath(path.to_vec())
        }
    }
}

/// Dotted quad without the formatter's detours.
#[must_use]
pub fn ipv4_text(address: Ipv4Addr, room: &mut [u8; 15]) -> &str {
    let mut len = 0;
    let mut push = |byte| {
        if let Some(place) = room.get_mut(len) {
            *place = byte;
        }
        len += 1;
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    room.get(..len).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel would have written it.
    fn received(address: &SockAddr) -> Address {
        let mut buffer = AddressBuffer::default();
        let (storage, len) = buffer.for_kernel();
        // SAFETY: both are large enough for any SockAddr.
        unsafe {
            ptr::copy_nonoverlapping(
                address.as_ptr().cast::<u8>(),
                storage.cast::<u8>(),
                address.len() as usize,
            );
            *len = address.len();
        }
        buffer.address()
    }

    #[test]
    fn inet_round_trip() {
        let address = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1), 4242);
        assert_eq!(received(&v4(*address.ip(), 4242)), Address::V4(address));
    }

    #[test]
    fn inet6_keeps_flow_and_scope_in_host_order() {
        let expected = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0xabcde, 7);
        assert_eq!(received(&v6(Ipv6Addr::LOCALHOST, 80, 0xabcde, 7)), Address::V6(expected));
    }

    #[test]
    fn unix_names() {
        let path = b"/tmp/x".as_slice();
        assert_eq!(unix(path).map(|a| received(&a)), Some(Address::UnixPath(path.to_vec())));
        let name = b"\0abstract\0more".as_slice();
        assert_eq!(unix(name).map(|a| received(&a)), Some(Address::UnixAbstract(name.to_vec())));
        assert_eq!(unix(b"").map(|a| received(&a)), Some(Address::UnixPath(vec![])));
    }

    #[test]
    fn unix_lengths() {
        assert!(unix(&[b'a'; UNIX_NAME_BYTES - 1]).is_some());
        assert!(unix(&[b'a'; UNIX_NAME_BYTES]).is_none());
        assert!(unix(&[0; UNIX_NAME_BYTES]).is_some());
        assert!(unix(&[0; UNIX_NAME_BYTES + 1]).is_none());
    }

    #[test]
    fn a_length_beyond_the_buffer_is_clamped() {
        let mut buffer = AddressBuffer::default();
        let (_, len) = buffer.for_kernel();
        // SAFETY: points into `buffer`.
        unsafe { *len = 4096 };
        assert_eq!(buffer.bytes().len(), size_of::<SockAddrStorage>());
    }

    #[test]
    fn absent() {
        let mut buffer = AddressBuffer::default();
        let (_, len) = buffer.for_kernel();
        // SAFETY: points into `buffer`.
        unsafe { *len = 0 };
        assert_eq!(buffer.address(), Address::None);
    }
}
