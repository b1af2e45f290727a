//! How long a call may take: the socket's timeout, and the deadline it becomes when a call
//! starts to wait.

use std::time::{Duration, Instant};

/// A socket's timeout, the three modes of `settimeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// `None`: as long as it takes.
    Block,
    /// `0`: not at all.
    NonBlock,
    /// A positive number of nanoseconds.
    After(u64),
}

impl Timeout {
    /// From the representation that fits an atomic: negative blocks, zero does not.
    #[must_use]
    pub fn from_ns(ns: i64) -> Self {
        match u64::try_from(ns) {
            Err(_) => Self::Block,
            Ok(0) => Self::NonBlock,
            Ok(ns) => Self::After(ns),
        }
    }
}

/// The moment a call gives up; `None` never comes.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// A deadline `timeout` from now. A timeout beyond what the clock can hold never comes.
    #[must_use]
    pub fn after(timeout: Timeout) -> Self {
        Self(match timeout {
            Timeout::Block => None,
            Timeout::NonBlock => Some(Instant::now()),
            Timeout::After(ns) => Instant::now().checked_add(Duration::from_nanos(ns)),
        })
    }

    /// What is left of it; `None` for ever, zero once it has passed.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_modes() {
        assert_eq!(Timeout::from_ns(-1), Timeout::Block);
        assert_eq!(Timeout::from_ns(0), Timeout::NonBlock);
        assert_eq!(Timeout::from_ns(1), Timeout::After(1));
    }

    #[test]
    fn deadlines() {
        assert_eq!(Deadline::after(Timeout::Block).left(), None);
        assert_eq!(Deadline::after(Timeout::NonBlock).left(), Some(Duration::ZERO));
        let long = Deadline::after(Timeout::After(60_000_000_000)).left();
        assert!(long.is_some_and(|left| left > Duration::from_secs(59)));
        // 584 years: representable or for ever, never in the past.
        let longest = Deadline::after(Timeout::After(u64::MAX)).left();
        assert!(longest.is_none_or(|left| left > Duration::from_secs(60)));
    }
}
