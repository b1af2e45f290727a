//! struct tcp_info, as much of it as the kernel returned. It grows from version to version; a field is
//! there if the kernel wrote all of it.
#![forbid(unsafe_code)]

/// A field: where it begins, how wide it is, and which of its bits.
#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    offset: usize,
    bytes: usize,
    shift: u32,
    bits: u32,
}

const fn field(name: &'static str, offset: usize, bytes: usize) -> Field {
    Field { name, offset, bytes, shift: 0, bits: u64::BITS }
}

const fn part(name: &'static str, offset: usize, shift: u32, bits: u32) -> Field {
    Field { name, offset, bytes: 1, shift, bits }
}

/// Linux's include/uapi/linux/tcp.h, without the `tcpi_` in front and with the unit behind.
const FIELDS: [Field; FIELD_COUNT] = [
    field("state", 0, 1),
    field("ca_state", 1, 1),
    field("retransmits", 2, 1),
    field("probes", 3, 1),
    field("backoff", 4, 1),
    field("options", 5, 1),
    part("snd_wscale", 6, 0, 4),
    part("rcv_wscale", 6, 4, 4),
    part("delivery_rate_app_limited", 7, 0, 1),
    part("fastopen_client_fail", 7, 1, 2),
    field("rto_us", 8, 4),
    field("ato_us", 12, 4),
    field("snd_mss_bytes", 16, 4),
    field("rcv_mss_bytes", 20, 4),
    field("unacked", 24, 4),
    field("sacked", 28, 4),
    field("lost", 32, 4),
    field("retrans", 36, 4),
    field("fackets", 40, 4),
    field("last_data_sent_ms", 44, 4),
    field("last_ack_sent_ms", 48, 4),
    field("last_data_recv_ms", 52, 4),
    field("last_ack_recv_ms", 56, 4),
    field("pmtu_bytes", 60, 4),
    field("rcv_ssthresh_bytes", 64, 4),
    field("rtt_us", 68, 4),
    field("rttvar_us", 72, 4),
    field("snd_ssthresh", 76, 4),
    field("snd_cwnd", 80, 4),
    field("advmss_bytes", 84, 4),
    field("reordering", 88, 4),
    field("rcv_rtt_us", 92, 4),
    field("rcv_space_bytes", 96, 4),
    field("total_retrans", 100, 4),
    field("pacing_rate_bytes_per_s", 104, 8),
    field("max_pacing_rate_bytes_per_s", 112, 8),
    field("acked_bytes", 120, 8),
    field("received_bytes", 128, 8),
    field("segs_out", 136, 4),
    field("segs_in", 140, 4),
    field("notsent_bytes", 144, 4),
    field("min_rtt_us", 148, 4),
    field("data_segs_in", 152, 4),
    field("data_segs_out", 156, 4),
    field("delivery_rate_bytes_per_s", 160, 8),
    field("busy_time_us", 168, 8),
    field("rwnd_limited_us", 176, 8),
    field("sndbuf_limited_us", 184, 8),
    field("delivered", 192, 4),
    field("delivered_ce", 196, 4),
    field("sent_bytes", 200, 8),
    field("retrans_bytes", 208, 8),
    field("dsack_dups", 216, 4),
    field("reord_seen", 220, 4),
    field("rcv_ooopack", 224, 4),
    field("snd_wnd_bytes", 228, 4),
    field("rcv_wnd_bytes", 232, 4),
    field("rehash", 236, 4),
    field("total_rto", 240, 2),
    field("total_rto_recoveries", 242, 2),
    field("total_rto_time_ms", 244, 4),
];

/// How many fields are known here.
pub const FIELD_COUNT: usize = 61;

/// More than the kernel has to say so far.
pub const ROOM_BYTES: usize = 512;

/// The fields' names.
pub fn names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|field| field.name)
}

/// The fields' values; `None` for what the kernel did not return.
#[must_use]
pub fn values(returned: &[u8]) -> [Option<u64>; FIELD_COUNT] {
    FIELDS.map(|field| {
        let bytes = returned.get(field.offset..field.offset + field.bytes)?;
        let value = if cfg!(target_endian = "little") {
            bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        } else {
            bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        };
        let mask = u64::MAX >> (u64::BITS - field.bits);
        Some(value >> field.shift & mask)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_one_behind_the_other() {
        let mut end = 0;
        for field in FIELDS {
            assert!(field.offset == end || (field.offset + 1 == end && field.bits < 64));
            assert_eq!(field.offset % field.bytes, 0, "{}", field.name);
            end = field.offset + field.bytes;
        }
    }

    #[test]
    fn what_was_not_returned_is_not_made_up() {
        let known = |len: usize| values(&vec![0xff; len]).iter().flatten().count();
        assert_eq!(known(0), 0);
        assert_eq!(known(7), 8);
        // Half a field is none.
        assert_eq!((known(11), known(12)), (10, 11));
        assert_eq!(known(248), FIELD_COUNT);
        assert_eq!(known(ROOM_BYTES), FIELD_COUNT);
    }

    #[test]
    fn bits_and_bytes() {
        let mut returned = [0; 248];
        returned[6] = 0x7a;
        returned[7] = 0b101;
        returned[68..72].copy_from_slice(&25_000_u32.to_ne_bytes());
        returned[120..128].copy_from_slice(&(1_u64 << 40).to_ne_bytes());
        let found = values(&returned);
        let of = |name| found[names().position(|known| known == name).unwrap()].unwrap();
        assert_eq!((of("snd_wscale"), of("rcv_wscale")), (10, 7));
        assert_eq!((of("delivery_rate_app_limited"), of("fastopen_client_fail")), (1, 2));
        assert_eq!((of("rtt_us"), of("acked_bytes")), (25_000, 1 << 40));
    }
}
