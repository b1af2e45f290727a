//! What the replies to numbered probes say of the way there and back: variation, order, loss.
#![forbid(unsafe_code)]

/// IP packet delay variation of each probe against the one before it (RFC 3393, consecutive packets):
/// negative where it was faster. `None` where one of both has no reply.
#[must_use]
pub fn ipdv_ns(rtts_ns: &[Option<u64>]) -> Vec<Option<i64>> {
    let before = std::iter::once(&None).chain(rtts_ns);
    before.zip(rtts_ns).map(|(before, now)| difference(*now, (*before)?)).collect()
}

/// Packet delay variation against the fastest (RFC 5481 section 4.2).
#[must_use]
pub fn pdv_ns(rtts_ns: &[Option<u64>]) -> Vec<Option<i64>> {
    let fastest = rtts_ns.iter().flatten().copied().min();
    rtts_ns.iter().map(|now| difference(*now, fastest?)).collect()
}

fn difference(now: Option<u64>, before: u64) -> Option<i64> {
    i64::try_from(i128::from(now?) - i128::from(before)).ok()
}

/// Interarrival jitter (RFC 3550 section 6.4.1) of such differences: a sixteenth of each new one is
/// taken. It begins with the first pair's; a gap in the sequence is no pair.
#[must_use]
pub fn jitter_ns(differences: &[Option<i64>]) -> Option<f64> {
    const GAIN: f64 = 16.0;
    differences.iter().flatten().fold(None, |jitter, difference| {
        let size = difference.unsigned_abs() as f64;
        Some(jitter.map_or(size, |jitter: f64| jitter + (size - jitter) / GAIN))
    })
}

/// By how much each arrival is out of order (RFC 4737 section 4.2.2): 0 in order, otherwise the
/// distance to the first arrival before it that it should have come before.
#[must_use]
pub fn reorder_extents(sequences: &[u32]) -> Vec<u32> {
    // The largest so far, where it got larger: sorted by both, for a search.
    let mut records: Vec<(u32, usize)> = Vec::new();
    let mut extents = Vec::with_capacity(sequences.len());
    for (at, &sequence) in sequences.iter().enumerate() {
        let first_larger = records.partition_point(|&(record, _)| record < sequence);
        let extent = records.get(first_larger).map_or(0, |&(_, place)| at - place);
        extents.push(u32::try_from(extent).unwrap_or(u32::MAX));
        if extent == 0 {
            records.push((sequence, at));
        }
    }
    extents
}

/// How many of the probes between the first and the last reply were lost on the way there and on the
/// way back, by the reflector's numbers: pairs of the probe's number and the reply's, in the order of
/// the probes. Those lost before the first and after the last reply may have been lost on either.
#[must_use]
pub fn lost_by_direction(numbered: &[(u32, u32)]) -> Option<(u32, u32)> {
    let sequences = numbered.iter().map(|&(sequence, _)| sequence);
    let asked = 1 + sequences.clone().max()? - sequences.min()?;
    let replies = numbered.iter().map(|&(_, reply)| reply);
    let reflected = (replies.clone().max()? - replies.min()?).saturating_add(1);
    let received = u32::try_from(numbered.len()).ok()?;
    Some((asked.saturating_sub(reflected), reflected.min(asked).saturating_sub(received)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variation_is_of_neighbours_only() {
        let rtts = [Some(10), Some(14), None, Some(9), Some(8), Some(8)];
        assert_eq!(ipdv_ns(&rtts), [None, Some(4), None, None, Some(-1), Some(0)]);
        assert_eq!(pdv_ns(&rtts), [Some(2), Some(6), None, Some(1), Some(0), Some(0)]);
        assert_eq!(pdv_ns(&[None, None]), [None, None]);
    }

    #[test]
    fn jitter_begins_with_the_first_pair() {
        assert_eq!(jitter_ns(&[None]), None);
        assert_eq!(jitter_ns(&[None, Some(-16)]), Some(16.0));
        assert_eq!(jitter_ns(&[None, Some(-16), Some(0)]), Some(15.0));
        assert_eq!(jitter_ns(&[None, Some(16), None, None, Some(32)]), Some(17.0));
    }

    #[test]
    fn reordering_as_in_the_examples_of_the_rfc() {
        // RFC 4737 section 10: tables 1 to 3.
        assert_eq!(
            reorder_extents(&[1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11]),
            [0, 0, 0, 0, 0, 0, 0, 4, 5, 6, 0]
        );
        assert_eq!(
            reorder_extents(&[1, 2, 3, 4, 5, 6, 8, 7, 9, 10]),
            [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]
        );
        assert_eq!(reorder_extents(&[]), [0; 0]);
    }

    #[test]
    fn loss_by_direction() {
        assert_eq!(lost_by_direction(&[]), None);
        assert_eq!(lost_by_direction(&[(0, 0), (1, 1)]), Some((0, 0)));
        // The second never arrived: the reflector's numbers go on.
        assert_eq!(lost_by_direction(&[(0, 0), (2, 1)]), Some((1, 0)));
        // The reply to the second was lost.
        assert_eq!(lost_by_direction(&[(0, 5), (2, 7)]), Some((0, 1)));
        assert_eq!(lost_by_direction(&[(3, 9), (9, 12), (5, 11)]), Some((3, 1)));
    }
}
