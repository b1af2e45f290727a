//! What control data says about a received datagram: when it came, to which address, through which
//! interface, with which hop limit and traffic class; and what the error queue says of one that was
//! sent.
#![forbid(unsafe_code)]

use std::ffi::c_int;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cmsg::{Item, Message, Messages};
use crate::mmsg::UDP_GRO;
use crate::sockaddr::{self, Address};

/// SO_TIMESTAMPNS as kernels since 5.1 have it where a time_t has 32 bits.
const SO_TIMESTAMPNS_NEW: c_int = 64;

/// The option for the time of arrival: level and name.
pub const TIME: (c_int, c_int) = (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);

/// The options that make the kernel tell all this, by the family of the socket: level and name. `None`
/// for families without.
#[must_use]
pub fn options(family: c_int) -> Option<&'static [(c_int, c_int)]> {
    const IP_TTL: (c_int, c_int) = (libc::IPPROTO_IP, libc::IP_RECVTTL);
    const IP_TOS: (c_int, c_int) = (libc::IPPROTO_IP, libc::IP_RECVTOS);
    match family {
        libc::AF_INET => Some(&[TIME, (libc::IPPROTO_IP, libc::IP_PKTINFO), IP_TTL, IP_TOS]),
        libc::AF_INET6 => Some(&[
            TIME,
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
            // Of IPv4 peers that a dual-stack socket hears.
            IP_TTL,
            IP_TOS,
        ]),
        _ => None,
    }
}

/// Room for the control messages of all these options, and for the size of joined datagrams.
pub const CONTROL_BYTES: usize = 256;

/// What is known of a received datagram; nothing of it unless the socket's options ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// When the kernel received it, since the epoch.
    pub timestamp_ns: Option<i64>,
    /// The address that it was sent to.
    pub destination: Option<IpAddr>,
    /// The interface that it came through.
    pub interface_index: Option<u32>,
    /// What was left of its time to live, or hop limit.
    pub ttl: Option<c_int>,
    /// Type of service, or traffic class: DSCP and ECN.
    pub tos: Option<u8>,
    /// With receive offload: the size of each of the datagrams that are joined here.
    pub segment_bytes: Option<usize>,
}

fn int_at(data: &[u8], offset: usize) -> Option<c_int> {
    Some(c_int::from_ne_bytes(*data.get(offset..)?.first_chunk()?))
}

fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*data.get(offset..)?.first_chunk()?))
}

fn i64_at(data: &[u8], offset: usize) -> Option<i64> {
    Some(i64::from_ne_bytes(*data.get(offset..)?.first_chunk()?))
}

/// A timespec of two 64-bit words, or of two 32-bit ones.
fn timespec_ns(data: &[u8]) -> Option<i64> {
    let (seconds, nanoseconds) = if data.len() >= 16 {
        (i64_at(data, 0)?, i64_at(data, 8)?)
    } else {
        (int_at(data, 0)?.into(), int_at(data, 4)?.into())
    };
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

impl Metadata {
    /// From the control data of one datagram.
    #[must_use]
    pub fn from_control(control: &[u8]) -> Self {
        let mut metadata = Self::default();
        for item in Messages::new(control) {
            if let Item::Whole(message) = item {
                metadata.take_in(&message);
            }
        }
        metadata
    }

    fn take_in(&mut self, message: &Message<'_>) {
        let data = message.data;
        match (message.level, message.kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS | SO_TIMESTAMPNS_NEW) => {
                self.timestamp_ns = timespec_ns(data);
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // The interface, the address of the interface, the header's destination.
                self.interface_index = u32_at(data, 0);
                let address = data.get(8..).and_then(<[u8]>::first_chunk::<4>);
                self.destination = address.map(|address| Ipv4Addr::from(*address).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let address = data.first_chunk::<16>();
                self.destination = address.map(|address| Ipv6Addr::from(*address).into());
                self.interface_index = u32_at(data, 16);
            }
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                self.ttl = int_at(data, 0);
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => self.tos = data.first().copied(),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                self.tos = int_at(data, 0).and_then(|class| u8::try_from(class).ok());
            }
            (libc::SOL_UDP, UDP_GRO) => {
                self.segment_bytes = int_at(data, 0).and_then(|size| usize::try_from(size).ok());
            }
            _ => {}
        }
    }
}

/// Where an error in the queue comes from (SO_EE_ORIGIN_*): the fields of sock_extended_err.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedError {
    /// `ee_errno`.
    pub errno: c_int,
    /// `ee_origin`: 1 local, 2 ICMP, 3 ICMPv6, 4 timestamps.
    pub origin: u8,
    /// `ee_type`: the ICMP type.
    pub kind: u8,
    /// `ee_code`: the ICMP code.
    pub code: u8,
    /// `ee_info`: the path's MTU with EMSGSIZE.
    pub info: u32,
    /// `ee_data`.
    pub data: u32,
    /// SO_EE_OFFENDER: who sent the ICMP message.
    pub offender: Address,
}

impl QueuedError {
    /// From the control data that a receive from the error queue brought.
    #[must_use]
    pub fn from_control(control: &[u8]) -> Option<Self> {
        const FIXED_BYTES: usize = 16;
        const { assert!(FIXED_BYTES == size_of::<libc::sock_extended_err>()) };
        let message = Messages::new(control).find_map(|item| match item {
            Item::Whole(message) | Item::Truncated(message) => Some(message).filter(|message| {
                matches!(
                    (message.level, message.kind),
                    (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
                )
            }),
            Item::Malformed => None,
        })?;
        let data = message.data;
        let &[origin, kind, code, _] = data.get(4..)?.first_chunk()?;
        let offender = match sockaddr::from_kernel(data.get(FIXED_BYTES..).unwrap_or_default()) {
            // AF_UNSPEC: nobody but this machine.
            Address::Other(libc::AF_UNSPEC, _) => Address::None,
            address => address,
        };
        Some(Self {
            errno: int_at(data, 0)?,
            origin,
            kind,
            code,
            info: u32_at(data, 8)?,
            data: u32_at(data, 12)?,
            offender,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmsg;

    #[test]
    fn every_field() {
        let mut control = Vec::new();
        let time: Vec<u8> = [3i64, 7].iter().flat_map(|word| word.to_ne_bytes()).collect();
        cmsg::push(&mut control, libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time);
        let mut info = 2u32.to_ne_bytes().to_vec();
        info.extend([9, 9, 9, 9, 127, 0, 0, 1]);
        cmsg::push(&mut control, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        cmsg::push(&mut control, libc::IPPROTO_IP, libc::IP_TTL, &64i32.to_ne_bytes());
        cmsg::push(&mut control, libc::IPPROTO_IP, libc::IP_TOS, &[0xb8]);
        cmsg::push(&mut control, libc::SOL_UDP, UDP_GRO, &1200i32.to_ne_bytes());
        let expected = Metadata {
            timestamp_ns: Some(3_000_000_007),
            destination: Some(Ipv4Addr::LOCALHOST.into()),
            interface_index: Some(2),
            ttl: Some(64),
            tos: Some(0xb8),
            segment_bytes: Some(1200),
        };
        assert_eq!(Metadata::from_control(&control), expected);
    }

    #[test]
    fn short_control_data_says_nothing() {
        let mut control = Vec::new();
        cmsg::push(&mut control, libc::IPPROTO_IP, libc::IP_PKTINFO, &[1, 0]);
        cmsg::push(&mut control, libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &[1]);
        assert_eq!(Metadata::from_control(&control), Metadata::default());
        assert_eq!(QueuedError::from_control(&control), None);
        let mut error = Vec::new();
        cmsg::push(&mut error, libc::IPPROTO_IP, libc::IP_RECVERR, &[0; 7]);
        assert_eq!(QueuedError::from_control(&error), None);
    }
}
