//! One call whose data is there already.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::round::{Round, Workload};
use crate::sys;

const MESSAGE: [u8; 64] = [b'x'; 64];
const LARGE_BYTES: usize = 256 * 1024;
/// As many as fit into the smallest usual buffer of a Unix socket.
const BATCH: usize = 128;

fn tcp_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    far.set_nodelay(true)?;
    Ok((near.into(), far.into()))
}

/// Messages of 64 bytes, received one by one.
pub struct Ready {
    near: OwnedFd,
    far: OwnedFd,
    /// Sent in one piece where the socket keeps no boundaries, so that one call feeds a batch.
    whole: bool,
}

impl Ready {
    pub fn tcp() -> io::Result<Self> {
        let (near, far) = tcp_pair()?;
        Ok(Self { near, far, whole: true })
    }

    pub fn unix() -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        Ok(Self { near: near.into(), far: far.into(), whole: false })
    }

    fn feed(&self) -> io::Result<()> {
        if self.whole {
            return sys::feed(&self.far, &[b'x'; MESSAGE.len() * BATCH]).map(drop);
        }
        (0..BATCH).try_for_each(|_| sys::feed(&self.far, &MESSAGE).map(drop))
    }
}

impl Workload for Ready {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let batches = amount.div_ceil(BATCH);
        let mut total = Duration::ZERO;
        let mut buffer = [0; 64];
        for _ in 0..batches {
            self.feed()?;
            let started = Instant::now();
            for _ in 0..BATCH {
                sys::recv(&self.near, &mut buffer)?;
            }
            total += started.elapsed();
        }
        Ok(Round::mean(total, batches * BATCH))
    }
}

/// recv of 256 KiB that gets 100 bytes.
pub struct LargeRecv {
    near: OwnedFd,
    far: OwnedFd,
    buffer: Vec<u8>,
}

impl LargeRecv {
    pub fn tcp() -> io::Result<Self> {
        let (near, far) = tcp_pair()?;
        Ok(Self { near, far, buffer: vec![0; LARGE_BYTES] })
    }

    pub fn unix() -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        Ok(Self { near: near.into(), far: far.into(), buffer: vec![0; LARGE_BYTES] })
    }
}

impl Workload for LargeRecv {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let mut total = Duration::ZERO;
        for _ in 0..amount {
            sys::feed(&self.far, &[b'x'; 100])?;
            let started = Instant::now();
            sys::recv(&self.near, &mut self.buffer)?;
            total += started.elapsed();
        }
        Ok(Round::mean(total, amount))
    }
}

/// send and recv of 64 bytes over a Unix pair.
pub struct Pair {
    near: UnixStream,
    far: UnixStream,
}

impl Pair {
    pub fn open() -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        Ok(Self { near, far })
    }
}

impl Workload for Pair {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let mut buffer = [0; 1024];
        let started = Instant::now();
        for _ in 0..amount {
            sys::send(&self.near, &MESSAGE)?;
            sys::recv(&self.far, &mut buffer)?;
        }
        Ok(Round::mean(started.elapsed(), amount))
    }
}

/// A UDP socket that sends to itself.
pub struct UdpSelf {
    socket: OwnedFd,
    address: sys::Address,
}

impl UdpSelf {
    pub fn open() -> io::Result<Self> {
        let socket = sys::socket(libc::SOCK_DGRAM, 0)?;
        sys::bind(&socket, &sys::loopback(0))?;
        let address = sys::loopback(sys::local_port(&socket)?);
        Ok(Self { socket, address })
    }
}

impl Workload for UdpSelf {
    fn round(&mut self, amount: usize) -> io::Result<Round> {
        let mut buffer = [0; 1024];
        let started = Instant::now();
        for _ in 0..amount {
            sys::sendto(&self.socket, &MESSAGE, &self.address)?;
            sys::recvfrom(&self.socket, &mut buffer)?;
        }
        Ok(Round::mean(started.elapsed(), amount))
    }
}
