//! The packets of the Simple Two-Way Active Measurement Protocol, unauthenticated mode (RFC 8762
//! section 4), and how to tell a reflector's from an echo.
#![forbid(unsafe_code)]

/// How long the packets of both sides are; longer ones are filled up behind (RFC 8762 section 4.2.1).
pub const PACKET_BYTES: usize = 44;

/// From 1900, where NTP's seconds begin, to 1970.
const NTP_EPOCH_S: i64 = 2_208_988_800;
const SECOND_NS: i64 = 1_000_000_000;

/// An error estimate of a clock that nobody said is synchronised: S and Z zero, the multiplier not,
/// which it must not be (RFC 4656 section 4.1.2).
const ERROR_ESTIMATE: [u8; 2] = [0, 1];

/// A time of NTP's 64-bit format: seconds, and 2**-32 of one.
fn ntp(since_epoch_ns: i64) -> [u8; 8] {
    let seconds = since_epoch_ns.div_euclid(SECOND_NS) + NTP_EPOCH_S;
    // Rounded up, so that the way back gives the same nanosecond.
    let fraction =
        ((i128::from(since_epoch_ns.rem_euclid(SECOND_NS)) << 32) + i128::from(SECOND_NS) - 1)
            / i128::from(SECOND_NS);
    // The seconds' eras of 2**32 begin anew in 2036; the middle is the present one.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "eras, as said")]
    let bits = ((seconds as u64) << 32) | (fraction as u64 & 0xffff_ffff);
    bits.to_be_bytes()
}

/// Nanoseconds since 1970, in the era that is nearest to the present.
fn since_epoch_ns(ntp: [u8; 8]) -> i64 {
    let bits = u64::from_be_bytes(ntp);
    let fraction_ns = ((bits & 0xffff_ffff) * 1_000_000_000) >> 32;
    let mut seconds = i64::try_from(bits >> 32).unwrap_or_default() - NTP_EPOCH_S;
    if seconds < 0 {
        seconds += 1 << 32;
    }
    seconds * SECOND_NS + i64::try_from(fraction_ns).unwrap_or_default()
}

/// A sender's packet.
#[must_use]
pub fn request(sequence: u32, sent_ns: i64) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    put(&mut packet, 0, &sequence.to_be_bytes());
    put(&mut packet, 4, &ntp(sent_ns));
    put(&mut packet, 12, &ERROR_ESTIMATE);
    packet
}

/// What a sender's packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The sender's sequence number.
    pub sequence: u32,
    /// When it was sent, by the sender's clock.
    pub sent_ns: i64,
}

impl Request {
    /// Reads one; `None` if it is too short.
    #[must_use]
    pub fn from_bytes(packet: &[u8]) -> Option<Self> {
        (packet.len() >= PACKET_BYTES).then_some(())?;
        let sequence = u32::from_be_bytes(take(packet, 0)?);
        Some(Self { sequence, sent_ns: since_epoch_ns(take(packet, 4)?) })
    }
}

/// Makes a reflector's packet of a sender's, in its place and as long as it; false, and nothing done,
/// for one that is too short.
pub fn reflect(packet: &mut [u8], sequence: u32, received_ns: i64, sent_ns: i64, ttl: u8) -> bool {
    let Some(of_sender) = packet.first_chunk::<14>().copied() else { return false };
    if packet.len() < PACKET_BYTES {
        return false;
    }
    put(packet, 0, &sequence.to_be_bytes());
    put(packet, 4, &ntp(sent_ns));
    put(packet, 12, &ERROR_ESTIMATE);
    put(packet, 14, &[0; 2]);
    put(packet, 16, &ntp(received_ns));
    // Sequence number, timestamp and error estimate of the sender, as they came.
    put(packet, 24, &of_sender);
    put(packet, 38, &[0; 2]);
    put(packet, 40, &[ttl, 0, 0, 0]);
    true
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The packet itself.
    Echo(Request),
    /// A reflector's.
    Reflected {
        /// What was sent.
        request: Request,
        /// The reflector's own sequence number.
        sequence: u32,
        /// When the packet arrived there, by the reflector's clock.
        received_ns: i64,
        /// When the reply left, by the reflector's clock.
        sent_ns: i64,
    },
}

impl Reply {
    /// Reads a reply; `None` if it is none.
    #[must_use]
    pub fn from_bytes(packet: &[u8]) -> Option<Self> {
        let outer = Request::from_bytes(packet)?;
        let of_sender: [u8; 14] = take(packet, 24)?;
        if of_sender == [0; 14] {
            // A sender leaves this room empty, a reflector never does: times are not zero.
            return Some(Self::Echo(outer));
        }
        let sequence = u32::from_be_bytes(take(packet, 24)?);
        let request = Request { sequence, sent_ns: since_epoch_ns(take(packet, 28)?) };
        let received_ns = since_epoch_ns(take(packet, 16)?);
        Some(Self::Reflected {
            request,
            sequence: outer.sequence,
            received_ns,
            sent_ns: outer.sent_ns,
        })
    }

    /// The packet that was answered.
    #[must_use]
    pub fn request(&self) -> Request {
        match self {
            Self::Echo(request) | Self::Reflected { request, .. } => *request,
        }
    }
}

fn put(packet: &mut [u8], offset: usize, bytes: &[u8]) {
    for (to, from) in packet.iter_mut().skip(offset).zip(bytes) {
        *to = *from;
    }
}

fn take<const N: usize>(packet: &[u8], offset: usize) -> Option<[u8; N]> {
    packet.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_NS: i64 = 1_795_478_400_123_456_789;

    #[test]
    fn times_are_exact() {
        for ns in [NOW_NS, 0, 1, 999_999_999, 1_000_000_000, NOW_NS + 1, 4_000_000_000_000_000_000]
        {
            assert_eq!(since_epoch_ns(ntp(ns)), ns);
        }
        // RFC 5905: the epoch of UNIX, and the era that begins in 2036.
        assert_eq!(ntp(0), [0x83, 0xaa, 0x7e, 0x80, 0, 0, 0, 0]);
        assert_eq!(ntp(2_085_978_496 * SECOND_NS), [0; 8]);
    }

    #[test]
    fn a_reply_tells_of_its_request() {
        let mut packet = request(7, NOW_NS);
        assert_eq!(
            Reply::from_bytes(&packet),
            Some(Reply::Echo(Request { sequence: 7, sent_ns: NOW_NS }))
        );
        assert!(reflect(&mut packet, 3, NOW_NS + 10, NOW_NS + 20, 64));
        let expected = Reply::Reflected {
            request: Request { sequence: 7, sent_ns: NOW_NS },
            sequence: 3,
            received_ns: NOW_NS + 10,
            sent_ns: NOW_NS + 20,
        };
        assert_eq!(Reply::from_bytes(&packet), Some(expected));
        // RFC 8762 figure 4.
        assert_eq!((packet[40], &packet[41..]), (64, &[0; 3][..]));
    }

    #[test]
    fn padding_stays() {
        let mut packet = request(1, NOW_NS).to_vec();
        packet.extend([0xaa; 100]);
        assert!(reflect(&mut packet, 0, 1, 2, 3));
        assert_eq!((packet.len(), &packet[44..]), (144, &[0xaa; 100][..]));
    }

    #[test]
    fn what_is_too_short_is_none() {
        assert!(!reflect(&mut [1; 43], 0, 1, 2, 3));
        assert_eq!(Reply::from_bytes(&[1; 43]), None);
    }
}
