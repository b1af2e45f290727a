//! Megabytes through one TCP connection, to a far end on the other core.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::Cores;
use crate::far_end::FarEnd;
use crate::round::{Round, Workload};
use crate::sys;

const MEBIBYTE: usize = 1 << 20;

fn connection(kind: &str, cores: Cores) -> io::Result<(OwnedFd, FarEnd)> {
    let far_end = FarEnd::start(kind, cores.far)?;
    let socket = sys::socket(libc::SOCK_STREAM, 0)?;
    sys::connect(&socket, &sys::loopback(far_end.port))?;
    Ok((socket, far_end))
}

/// Sends; an operation is a mebibyte.
pub struct Sendall {
    socket: OwnedFd,
    _far_end: FarEnd,
    data: Vec<u8>,
}

impl Sendall {
    pub fn open(cores: Cores) -> io::Result<Self> {
        let (socket, far_end) = connection("sink", cores)?;
        Ok(Self { socket, _far_end: far_end, data: vec![b'x'; MEBIBYTE] })
    }
}

impl Workload for Sendall {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let started = Instant::now();
        for _ in 0..amount {
            let mut rest = self.data.as_slice();
            while !rest.is_empty() {
                let sent = sys::send(&self.socket, rest)?;
                rest = rest.get(sent..).unwrap_or_default();
            }
        }
        let taken = started.elapsed();
        // What is under way would otherwise keep the other core busy during somebody else's round.
        while sys::unsent_bytes(&self.socket)? > 0 {}
        Ok(Round::mean(taken, amount))
    }
}

/// Receives into a buffer of 256 KiB; an operation is a mebibyte.
pub struct RecvInto {
    socket: OwnedFd,
    _far_end: FarEnd,
    buffer: Vec<u8>,
}

impl RecvInto {
    pub fn open(cores: Cores) -> io::Result<Self> {
        let (socket, far_end) = connection("source", cores)?;
        Ok(Self { socket, _far_end: far_end, buffer: vec![0; MEBIBYTE / 4] })
    }
}

impl Workload for RecvInto {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let mut missing = amount * MEBIBYTE;
        let started = Instant::now();
        while missing > 0 {
            let received = sys::recv(&self.socket, &mut self.buffer)?;
            missing = missing.saturating_sub(received.max(1));
        }
        Ok(Round::mean(started.elapsed(), amount))
    }
}
