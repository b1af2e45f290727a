//! From a host as text to an address, the way a socket's address tuples mean it: special names
//! first, then literals, and only then the C library's resolver.

use std::ffi::{CStr, c_int};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::errno::Errno;
use crate::sys::{self, LookupError};

/// Why a host has no address.
#[derive(Debug, PartialEq, Eq)]
pub enum HostError {
    /// The resolver's own code (EAI_*).
    Resolver(c_int),
    /// The resolver met a system error.
    System(Errno),
    /// A broadcast address was asked of another family than INET.
    FamilyMismatch,
    /// The resolver answered in a family nobody asked for.
    UnknownFamily,
}

impl From<LookupError> for HostError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Code(code) => Self::Resolver(code),
            LookupError::System(errno) => Self::System(errno),
            LookupError::Family => Self::UnknownFamily,
        }
    }
}

/// Hosts that need no resolver: the wildcard, broadcast, literals. `None` for names, and for
/// literals with a scope, whose interface name only the C library can look up.
///
/// # Errors
/// `FamilyMismatch`.
pub fn literal(host: &CStr, family: c_int) -> Result<Option<IpAddr>, HostError> {
    let text = host.to_bytes();
    if text.is_empty() {
        return Ok(Some(wildcard(family)));
    }
    if text == b"255.255.255.255" || text == b"<broadcast>" {
        return match family {
            libc::AF_INET => Ok(Some(IpAddr::V4(Ipv4Addr::BROADCAST))),
            _ => Err(HostError::FamilyMismatch),
        };
    }
    Ok(match family {
        libc::AF_INET => literal_v4(text).map(IpAddr::V4),
        _ if text.contains(&b'%') => None,
        _ => sys::inet6_pton(host).map(|address| IpAddr::V6(address.into())),
    })
}

/// A dotted quad, as inet_pton(3) accepts it.
#[must_use]
pub fn literal_v4(text: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn wildcard(family: c_int) -> IpAddr {
    match family {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Asks the C library, which may take as long as it likes.
///
/// The scope of `fe80::1%eth0` is left out: a Python address tuple has a field of its own for it,
/// which wins even when it is zero.
///
/// # Errors
/// What the resolver says.
pub fn resolve(host: &CStr, family: c_int) -> Result<IpAddr, HostError> {
    Ok(sys::getaddrinfo(host, family)?.ip())
}
