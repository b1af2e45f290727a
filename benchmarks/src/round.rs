//! What a workload is, and what one round of it took.

use std::io;
use std::time::Duration;

/// Something that is done again and again.
pub trait Workload {
    /// Does `amount` operations and says how long one took.
    fn round(&mut self, amount: usize) -> io::Result<Round>;
}

/// The figures of one round, in nanoseconds per operation.
pub struct Round {
    ns: f64,
    p99_ns: Option<f64>,
}

impl Round {
    /// From the time that all operations took together.
    pub fn mean(total: Duration, operations: usize) -> Self {
        Self { ns: nanoseconds(total) / operations.max(1) as f64, p99_ns: None }
    }

    /// From the time of each operation: the median, which a stolen time slice does not move, and
    /// the 99th percentile, which it does.
    pub fn each(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: usize| {
            times.get(times.len().saturating_sub(1) * share / 100).copied().unwrap_or_default()
        };
        Self { ns: nanoseconds(at(50)), p99_ns: Some(nanoseconds(at(99))) }
    }

    pub fn to_json(&self) -> String {
        match self.p99_ns {
            Some(p99_ns) => format!("{{\"ns\": {:.2}, \"p99_ns\": {p99_ns:.2}}}", self.ns),
            None => format!("{{\"ns\": {:.2}}}", self.ns),
        }
    }
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}
