//! The far end of measurements: UDP echo (RFC 862), and a stateful STAMP Session-Reflector (RFC 8762).
//!
//! It never makes more of what it gets: a reply is as long as its request and goes where it came from,
//! so many a second at most, and never to a well-known port, behind which another echo may be.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockAddr;

use crate::engine::pace::Pace;
use crate::errno::{Errno, Result};
use crate::metadata::{self, CONTROL_BYTES, Metadata};
use crate::sockaddr::AddressBuffer;
use crate::stamp;
use crate::sys::{self, ReadableMemory, WritableMemory};

/// What happened so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Datagrams that came.
    pub received: AtomicU64,
    /// Datagrams that were answered.
    pub answered: AtomicU64,
    /// Datagrams that were not, for the rate or for where they came from.
    pub refused: AtomicU64,
}

/// A reflector that runs; it ends when this is dropped.
#[derive(Debug)]
pub struct Reflector {
    echo: SocketAddr,
    stamp: SocketAddr,
    counts: Arc<Counts>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
    /// Whose thread it is: a forked child has none, and shares the waker.
    process: libc::pid_t,
}

const STOP: Token = Token(0);
const ECHO: Token = Token(1);
const STAMP: Token = Token(2);

/// Datagrams of one socket in a row, before the other gets its turn.
const AT_ONCE: usize = 256;

/// The largest datagram there is.
const MOST_BYTES: usize = 65_536;

/// Below it are well-known ports, which never ask.
const FIRST_ASKING_PORT: u16 = 1024;

/// Senders that are numbered apart; the one that was silent longest makes room for the next.
const MOST_SESSIONS: usize = 4096;

impl Reflector {
    /// Begins to answer on these two addresses, at most `rate` datagrams a second in all.
    ///
    /// # Errors
    /// What bind(2) says, or what is missing for the thread.
    pub fn start(echo: SocketAddr, stamp: SocketAddr, rate: f64) -> Result<Self> {
        let (echo, stamp) = (open(echo)?, open(stamp)?);
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
        for (socket, token) in [(&echo, ECHO), (&stamp, STAMP)] {
            let fd = socket.as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        let counts = Arc::new(Counts::default());
        let addresses = (name(echo.as_raw_fd())?, name(stamp.as_raw_fd())?);
        let answering = Answering {
            start: Instant::now(),
            pace: Pace::new(Some(rate)),
            sessions: HashMap::new(),
            counts: Arc::clone(&counts),
            buffer: vec![0; MOST_BYTES],
        };
        let builder = thread::Builder::new().name("rsnet-reflector".into());
        let thread = builder.spawn(move || answering.run(poll, &echo, &stamp))?;
        Ok(Self {
            echo: addresses.0,
            stamp: addresses.1,
            counts,
            waker,
            thread: Some(thread),
            process: sys::getpid(),
        })
    }

    /// Where UDP is echoed.
    #[must_use]
    pub fn echo(&self) -> SocketAddr {
        self.echo
    }

    /// Where STAMP packets are reflected.
    #[must_use]
    pub fn stamp(&self) -> SocketAddr {
        self.stamp
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        if self.process != sys::getpid() {
            return;
        }
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(address: SocketAddr) -> Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let socket = sys::socket(family, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0)?;
    for &(level, name) in metadata::options(family).unwrap_or_default() {
        // Time and hop limit; an option that a socket has not tells nothing.
        let _ = sys::setsockopt_int(socket.as_raw_fd(), level, name, 1);
    }
    sys::bind(socket.as_raw_fd(), &SockAddr::from(address))?;
    Ok(socket)
}

fn name(fd: RawFd) -> Result<SocketAddr> {
    let mut address = AddressBuffer::default();
    sys::getsockname(fd, &mut address)?;
    address.address().inet().ok_or(Errno(libc::EAFNOSUPPORT))
}

struct Answering {
    start: Instant,
    pace: Pace,
    /// The next number for each sender, and when it last asked.
    sessions: HashMap<SocketAddr, (u32, Instant)>,
    counts: Arc<Counts>,
    buffer: Vec<u8>,
}

impl Answering {
    fn run(mut self, mut poll: Poll, echo: &OwnedFd, stamp: &OwnedFd) {
        let mut events = Events::with_capacity(4);
        loop {
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return,
                Ok(()) => {}
            }
            if events.iter().any(|event| event.token() == STOP) {
                return;
            }
            // What is told once has to be emptied: both in turns until nothing is left.
            while self.answer_some(echo.as_raw_fd(), false)
                | self.answer_some(stamp.as_raw_fd(), true)
            {}
        }
    }

    /// Answers some datagrams; true if there may be more.
    fn answer_some(&mut self, fd: RawFd, is_stamp: bool) -> bool {
        (0..AT_ONCE).all(|_| self.answer_one(fd, is_stamp).is_some())
    }

    fn answer_one(&mut self, fd: RawFd, is_stamp: bool) -> Option<()> {
        let part = WritableMemory { start: self.buffer.as_mut_ptr(), len: self.buffer.len() };
        let mut control = [0; CONTROL_BYTES];
        let mut from = AddressBuffer::default();
        let received = match sys::recvmsg(fd, &[part], &mut control, &mut from, libc::MSG_DONTWAIT)
        {
            Ok(received) => received,
            Err(error) if error.would_block() => return None,
            // What ICMP said of an answer, or a signal.
            Err(_) => return Some(()),
        };
        self.counts.received.fetch_add(1, Ordering::Relaxed);
        let peer = from.address().inet()?;
        if peer.port() < FIRST_ASKING_PORT || self.pace.take(self.now_ns()).is_err() {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Some(());
        }
        let control = control.get(..received.control_bytes).unwrap_or_default();
        if is_stamp && !self.reflect(received.bytes, peer, &Metadata::from_control(control)) {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Some(());
        }
        let reply = ReadableMemory { start: self.buffer.as_ptr(), len: received.bytes };
        if sys::sendto(fd, reply, libc::MSG_DONTWAIT, &SockAddr::from(peer)).is_ok() {
            self.counts.answered.fetch_add(1, Ordering::Relaxed);
        }
        Some(())
    }

    fn reflect(&mut self, bytes: usize, peer: SocketAddr, metadata: &Metadata) -> bool {
        let sequence = self.next_number(peer);
        let Some(packet) = self.buffer.get_mut(..bytes) else { return false };
        let now_ns = wall_ns();
        let ttl = metadata.ttl.and_then(|ttl| u8::try_from(ttl).ok()).unwrap_or(0);
        stamp::reflect(packet, sequence, metadata.timestamp_ns.unwrap_or(now_ns), now_ns, ttl)
    }

    /// A sender's packets are numbered from 0: so it sees on which way one was lost.
    fn next_number(&mut self, peer: SocketAddr) -> u32 {
        let now = Instant::now();
        if !self.sessions.contains_key(&peer) && self.sessions.len() >= MOST_SESSIONS {
            let oldest = self.sessions.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(&oldest) = oldest.map(|(peer, _)| peer) {
                self.sessions.remove(&oldest);
            }
        }
        let session = self.sessions.entry(peer).or_insert((0, now));
        let number = session.0;
        *session = (number.wrapping_add(1), now);
        number
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
