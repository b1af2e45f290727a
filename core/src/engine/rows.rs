//! What came of each question, in a few bytes.

use std::net::SocketAddr;

use crate::errno::Errno;

use super::names::Answer;

/// What an attempt to connect found out: nmap's port states, refined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The handshake was completed.
    Open,
    /// The host said no.
    Refused,
    /// No answer in time, or a prohibition by ICMP.
    Filtered,
    /// The network said that there is no such host or network.
    Unreachable,
    /// Something went wrong here: no address, no permission, no descriptor.
    Error,
}

impl State {
    /// All, in the order of their numbers.
    pub const NAMES: [&'static str; 5] = ["open", "refused", "filtered", "unreachable", "error"];

    /// What an error of connect(2) means. A prohibition looks as if the host were out of reach; the
    /// socket's error queue tells them apart.
    #[must_use]
    pub fn of(error: Errno) -> Self {
        match error.0 {
            0 => Self::Open,
            libc::ECONNREFUSED | libc::ECONNRESET => Self::Refused,
            libc::ETIMEDOUT => Self::Filtered,
            libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT => Self::Unreachable,
            _ => Self::Error,
        }
    }
}

/// How a dialogue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// What was waited for came.
    Complete,
    /// The peer closed the connection before.
    Closed,
    /// It took too long.
    TimedOut,
    /// There were as many bytes as are kept.
    Full,
    /// The connection broke.
    Broken,
}

impl Ending {
    /// All, in the order of their numbers.
    pub const NAMES: [&'static str; 5] = ["complete", "closed", "timed out", "full", "broken"];
}

/// One target's row. What only some of them have is in `More`.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The target's position in the order of the run.
    pub position: u64,
    /// When its last attempt began, from the run's beginning on.
    pub started_ns: u64,
    /// From connect(2) to the completed handshake; `NONE_NS` without one.
    pub connect_ns: u64,
    /// The system's error, 0 without one.
    pub errno: i16,
    /// What was found out.
    pub state: State,
    /// The number of attempts.
    pub attempt: u8,
    pub(super) more: u32,
}

/// No time.
pub const NONE_NS: u64 = u64::MAX;
const NO_MORE: u32 = u32::MAX;

/// What only rows with a name or a dialogue have.
#[derive(Clone, Debug, Default)]
pub struct More {
    /// The name's address, or why there is none.
    pub answer: Option<Answer>,
    /// What was said.
    pub dialogue: Option<Said>,
}

/// One dialogue.
#[derive(Clone, Debug)]
pub struct Said {
    /// What the peer sent.
    pub response: Box<[u8]>,
    /// From the request's last byte written to the first byte read; `NONE_NS` without one.
    pub first_byte_ns: u64,
    /// From connect(2) to the end.
    pub total_ns: u64,
    /// How it ended.
    pub ending: Ending,
}

/// Rows as they come.
#[derive(Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
    more: Vec<More>,
    tally: Tally,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows by their state.
    pub by_state: [u64; 5],
}

impl Tally {
    /// All rows.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.by_state.iter().sum()
    }
}

impl Rows {
    /// Adds a row, with what it has more.
    pub fn push(&mut self, mut row: Row, more: Option<More>) {
        row.more = NO_MORE;
        if let Some(more) = more
            && let Ok(at) = u32::try_from(self.more.len())
        {
            row.more = at;
            self.more.push(more);
        }
        if let Some(count) = self.tally.by_state.get_mut(row.state as usize) {
            *count += 1;
        }
        self.rows.push(row);
    }

    /// Puts the rows in the order of their places.
    pub fn sort_by_place(&mut self, place: impl Fn(&Row) -> u128) {
        match self.dense_order(&place) {
            // Of a whole run there is a row for each place: nothing needs to be compared.
            Some(order) => {
                let rows = &self.rows;
                let sorted = order.iter().filter_map(|&at| rows.get(at as usize).copied());
                self.rows = sorted.collect();
            }
            None => self.rows.sort_by_cached_key(place),
        }
    }

    /// Where the row of each place is, if the places are the first numbers, each once.
    fn dense_order(&self, place: impl Fn(&Row) -> u128) -> Option<Vec<u32>> {
        const NONE: u32 = u32::MAX;
        let mut order = vec![NONE; self.rows.len()];
        for (row, at) in self.rows.iter().zip(0_u32..NONE) {
            let entry = order.get_mut(usize::try_from(place(row)).ok()?)?;
            if *entry != NONE {
                return None;
            }
            *entry = at;
        }
        (!order.contains(&NONE)).then_some(order)
    }

    /// The rows.
    #[must_use]
    pub fn as_slice(&self) -> &[Row] {
        &self.rows
    }

    /// What a row has more.
    #[must_use]
    pub fn more(&self, row: &Row) -> Option<&More> {
        self.more.get(row.more as usize)
    }

    /// How many there are of each state.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

/// A row without `more`.
#[must_use]
pub fn row(position: u64, attempt: u8, started_ns: u64, error: Errno) -> Row {
    Row {
        position,
        started_ns,
        connect_ns: NONE_NS,
        errno: i16::try_from(error.0).unwrap_or(i16::MAX),
        state: State::of(error),
        attempt,
        more: NO_MORE,
    }
}

/// The peer's address of a row with a name.
#[must_use]
pub fn resolved(more: Option<&More>) -> Option<SocketAddr> {
    more?.answer?.found.ok()
}
