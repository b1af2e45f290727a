//! What a connection's errors mean, beyond their number.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::RawFd;

use crate::errno::Errno;
use crate::metadata::{CONTROL_BYTES, QueuedError};
use crate::sockaddr::AddressBuffer;
use crate::sys;

use super::rows::State;

/// True for what is missing now and may be there later.
#[must_use]
pub fn is_shortage(error: Errno, peer: SocketAddr) -> bool {
    match error.0 {
        libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN => true,
        // All ports towards this peer may be taken; or no address here can reach it, as a socket that
        // takes no port would find as well.
        libc::EADDRNOTAVAIL => can_be_reached(peer),
        _ => false,
    }
}

fn can_be_reached(peer: SocketAddr) -> bool {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    UdpSocket::bind(any).is_ok_and(|socket| socket.connect(peer).is_ok())
}

/// A connection to a port of our own that nobody listens on may find itself.
#[must_use]
pub fn is_connected_to_itself(fd: RawFd, peer: SocketAddr) -> bool {
    let mut ours = AddressBuffer::default();
    sys::getsockname(fd, &mut ours).is_ok() && ours.address().inet() == Some(peer)
}

/// What a router or the host said by ICMP, and the error that the kernel makes of it: a prohibition
/// (RFC 792 and RFC 1812: codes 9, 10 and 13; RFC 4443: 1, 5 and 6; and no such port, which TCP itself
/// says by a reset) or that nobody is there.
#[must_use]
pub fn of_icmp(fd: RawFd) -> Option<(State, Errno)> {
    const ICMP: u8 = 2;
    const ICMP6: u8 = 3;
    let mut control = [0; CONTROL_BYTES];
    let mut to = AddressBuffer::default();
    to.clear();
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    let received = sys::recvmsg(fd, &[], &mut control, &mut to, flags).ok()?;
    let control = control.get(..received.control_bytes).unwrap_or_default();
    let error = QueuedError::from_control(control)?;
    let state = match (error.origin, error.kind, error.code) {
        (ICMP, 3, 3 | 9 | 10 | 13) | (ICMP6, 1, 1 | 4 | 5 | 6) => State::Filtered,
        (ICMP, 3, _) | (ICMP6, 1, _) => State::Unreachable,
        _ => return None,
    };
    Some((state, Errno(error.errno)))
}
