//! How fast questions leave: a token bucket, and how many may be open at a time.

use std::time::Duration;

use crate::errno::Errno;
use crate::sys;

/// A token bucket: so many a second on average, and a few at once after a pause.
#[derive(Debug)]
pub struct Pace {
    interval_ns: f64,
    /// How far the schedule may lag behind the clock, to be caught up at once.
    slack_ns: f64,
    next_ns: f64,
}

/// What a pause may give at once: as long as the loop sleeps at least.
const SLACK: Duration = Duration::from_millis(10);

impl Pace {
    /// `rate` a second, a positive number; without one there is no limit.
    #[must_use]
    pub fn new(rate: Option<f64>) -> Self {
        let interval_ns = rate.map_or(0.0, |rate| 1e9 / rate);
        Self { interval_ns, slack_ns: SLACK.as_nanos() as f64, next_ns: 0.0 }
    }

    /// Takes a token, or says how long there is none.
    ///
    /// # Errors
    /// The time to wait.
    pub fn take(&mut self, now_ns: u64) -> Result<(), Duration> {
        if self.interval_ns == 0.0 {
            return Ok(());
        }
        let now_ns = now_ns as f64;
        if self.next_ns > now_ns {
            let wait_s = (self.next_ns - now_ns) / 1e9;
            return Err(Duration::try_from_secs_f64(wait_s).unwrap_or(Duration::MAX));
        }
        self.next_ns = self.next_ns.max(now_ns - self.slack_ns) + self.interval_ns;
        Ok(())
    }
}

/// How many descriptors may be open at a time. It learns what the system has not got, and tries
/// again later.
#[derive(Debug)]
pub struct Room {
    most: usize,
    allowed: usize,
    /// Until when nothing is to be opened.
    pause_end_ns: u64,
    pause: Duration,
    /// Since when nothing could be opened.
    since_ns: Option<u64>,
}

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// After so long without a single success, a shortage is a fact: what keeps ports busy longest is
/// TIME_WAIT, for 60 s.
const SHORTAGE: Duration = Duration::from_secs(65);

impl Room {
    /// At most `most` at a time.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, allowed: most, pause_end_ns: 0, pause: FIRST_PAUSE, since_ns: None }
    }

    /// Whether one more may be opened beside `open` others; if not, for how long not, and for ever
    /// until one of them is closed if that is not known.
    ///
    /// # Errors
    /// The time to wait.
    pub fn for_one_more(&self, open: usize, now_ns: u64) -> Result<(), Option<Duration>> {
        if open >= self.allowed {
            return Err(None);
        }
        match self.pause_end_ns.checked_sub(now_ns) {
            None | Some(0) => Ok(()),
            Some(left_ns) => Err(Some(Duration::from_nanos(left_ns))),
        }
    }

    /// Something was missing for one more beside `open` others. True if it has been for so long that
    /// to wait longer is in vain.
    pub fn ran_out(&mut self, open: usize, now_ns: u64) -> bool {
        self.allowed = open.max(1).min(self.allowed);
        let pause_ns = u64::try_from(self.pause.as_nanos()).unwrap_or(u64::MAX);
        self.pause_end_ns = now_ns.saturating_add(pause_ns);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let since_ns = *self.since_ns.get_or_insert(now_ns);
        u128::from(now_ns - since_ns) > SHORTAGE.as_nanos()
    }

    /// One more was opened.
    #[inline]
    pub fn found_some(&mut self) {
        self.pause = FIRST_PAUSE;
        self.since_ns = None;
        // Slowly back to what was asked for: somebody else may have closed what was in the way.
        if self.allowed < self.most {
            self.allowed += 1;
        }
    }
}

/// The process's limit of descriptors, raised as far as it may be for as long as this lives.
#[derive(Debug)]
pub struct RaisedLimit {
    before: Option<(u64, u64)>,
}

impl RaisedLimit {
    /// Raises the soft limit so that `wanted` descriptors fit beside those that are open, if it
    /// has to be and as far as the hard limit lets it.
    #[must_use]
    pub fn to_hold(wanted: usize) -> Self {
        let before = raise(wanted).ok().flatten();
        Self { before }
    }
}

fn raise(wanted: usize) -> Result<Option<(u64, u64)>, Errno> {
    /// What the process has open itself, and may open meanwhile.
    const OTHERS: u64 = 1024;
    let (soft, hard) = sys::descriptor_limits()?;
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(OTHERS);
    if soft >= needed || soft >= hard {
        return Ok(None);
    }
    sys::set_descriptor_limits(needed.min(hard), hard)?;
    Ok(Some((soft, hard)))
}

impl Drop for RaisedLimit {
    fn drop(&mut self) {
        if let Some((soft, hard)) = self.before {
            // What is open above the limit stays open.
            let _ = sys::set_descriptor_limits(soft, hard);
        }
    }
}

/// Timers of this thread as exact as the kernel can, for as long as this lives: they are 50 us late
/// otherwise, so that the kernel can wake several threads at once.
#[derive(Debug)]
pub struct PreciseTimers(Option<u64>);

impl Default for PreciseTimers {
    fn default() -> Self {
        Self::new()
    }
}

impl PreciseTimers {
    /// Makes them so.
    #[must_use]
    pub fn new() -> Self {
        let before = sys::timer_slack_ns().ok();
        Self(before.filter(|_| sys::set_timer_slack_ns(1).is_ok()))
    }
}

impl Drop for PreciseTimers {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            let _ = sys::set_timer_slack_ns(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_a_pause_not_caught_up() {
        let mut pace = Pace::new(Some(1000.0));
        let mut taken = 0;
        for now_ns in (0..1_000_000_000).step_by(100_000) {
            taken += u32::from(pace.take(now_ns).is_ok());
        }
        assert!((1000..=1011).contains(&taken), "{taken}");
        // A pause of a second gives 10 ms of it at once.
        let at_once = (0..1000).filter(|_| pace.take(2_000_000_000).is_ok()).count();
        assert!((10..=12).contains(&at_once), "{at_once}");
    }

    #[test]
    fn room_shrinks_and_comes_back() {
        let mut room = Room::new(100);
        assert_eq!(room.for_one_more(99, 0), Ok(()));
        assert_eq!(room.for_one_more(100, 0), Err(None));
        assert!(!room.ran_out(50, 0));
        assert_eq!(room.for_one_more(50, 0), Err(None));
        assert_eq!(room.for_one_more(49, 0), Err(Some(FIRST_PAUSE)));
        assert_eq!(room.for_one_more(49, 1_000_000), Ok(()));
        for _ in 0..50 {
            room.found_some();
        }
        assert_eq!(room.for_one_more(99, 2_000_000), Ok(()));
    }

    #[test]
    fn a_shortage_of_more_than_a_minute_is_a_fact() {
        let mut room = Room::new(10);
        assert!(!room.ran_out(0, 0));
        assert!(!room.ran_out(0, 60_000_000_000));
        assert!(room.ran_out(0, 66_000_000_000));
    }
}
