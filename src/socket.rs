//! The native half of the class: what CPython's `_socket.socket` is to `socket.socket`. Here is what
//! it holds. How it comes to be stands in construct.rs, its methods in transfer.rs, message.rs and
//! options.rs, by subject; entry.rs lays them over it.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicU32, Ordering};

use pyo3::prelude::*;
use rsnet_core::descriptor::Descriptor;
use rsnet_core::errno::Errno;
use rsnet_core::timeout::Timeout;

use crate::errors::Result;

/// The families that this class speaks. `rsnet.socket(...)` hands out the standard class for all
/// others.
pub fn is_native(family: c_int) -> bool {
    matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX)
}

/// `self`, as a method has it.
pub type This<'a, 'py> = &'a Bound<'py, Socket>;

/// After so many short waits in vain, one in so many calls waits shortly again.
const MOST_SHORT_WAITS_IN_VAIN: u8 = 4;
const BETWEEN_SHORT_WAITS: u8 = 32;

/// The longest run of calls that are not tried before they wait.
const MOST_UNTRIED: u8 = 32;

/// How many calls are to come that are not tried before they wait, and how many there were to be when
/// this count began: calls in vain make it longer, up to a bound.
#[derive(Default)]
struct Prospect {
    untried: AtomicU8,
    run: AtomicU8,
}

impl Prospect {
    fn is_good(&self) -> bool {
        let untried = self.untried.load(Ordering::Relaxed);
        if untried > 0 {
            self.untried.store(untried - 1, Ordering::Relaxed);
        }
        untried == 0
    }

    fn learn(&self, found_data: bool) {
        let run = self.run.load(Ordering::Relaxed);
        if !found_data {
            let run = (run * 2).clamp(1, MOST_UNTRIED);
            self.run.store(run, Ordering::Relaxed);
            self.untried.store(run, Ordering::Relaxed);
        } else if run != 0 {
            self.run.store(0, Ordering::Relaxed);
        }
    }
}

/// A socket: a descriptor, its timeout, and what it was made as. Programs have tens of thousands: no
/// field is wider than it must be.
#[pyclass(frozen, subclass, name = "socket", module = "_rsnet")]
#[derive(Default)]
pub struct Socket {
    descriptor: Descriptor,
    timeout_ns: AtomicI64,
    family: AtomicI32,
    kind: AtomicI32,
    proto: AtomicI32,
    left_to_kernel: AtomicBool,
    /// What is known of calls after one that had to wait, and after one that found data.
    after_waiting: Prospect,
    after_data: Prospect,
    /// True if the last receiving call found data.
    found_data: AtomicBool,
    /// How often in a row a short wait with the interpreter held was in vain.
    short_waits_in_vain: AtomicU8,
    /// How many bytes the last receive from the stream brought.
    last_received: AtomicU32,
    /// The largest size of a datagram for which the kernel may be asked to cut segments.
    largest_segment: AtomicU32,
    /// An errno that came behind datagrams, for the next batch to tell.
    put_off: AtomicI32,
    /// How many files made by `makefile` are open; they keep the descriptor open.
    io_refs: AtomicI64,
    /// True once `close` or `detach` was called, whether or not files are still open.
    closed: AtomicBool,
}

impl Socket {
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    pub fn timeout(&self) -> Timeout {
        Timeout::from_ns(self.timeout_ns())
    }

    /// The timeout in nanoseconds; negative for none.
    pub fn timeout_ns(&self) -> i64 {
        self.timeout_ns.load(Ordering::Relaxed)
    }

    pub fn set_timeout_ns(&self, timeout_ns: i64) {
        self.timeout_ns.store(timeout_ns, Ordering::Relaxed);
    }

    pub fn family(&self) -> c_int {
        self.family.load(Ordering::Relaxed)
    }

    pub fn kind(&self) -> c_int {
        self.kind.load(Ordering::Relaxed)
    }

    pub fn proto(&self) -> c_int {
        self.proto.load(Ordering::Relaxed)
    }

    pub fn is_stream(&self) -> bool {
        self.kind() == libc::SOCK_STREAM
    }

    pub fn is_udp(&self) -> bool {
        self.kind() == libc::SOCK_DGRAM && self.family() != libc::AF_UNIX
    }

    /// EOPNOTSUPP on a stream, which has no messages: a batch of them could be cut anywhere.
    pub fn refuse_stream(&self) -> Result<()> {
        if self.is_stream() { Err(Errno(libc::EOPNOTSUPP).into()) } else { Ok(()) }
    }

    /// What `family`, `type` and `proto` say. The type is without the flags that socket(2) takes
    /// along with it, so that `sock.type == SOCK_STREAM` works.
    pub fn set_made_as(&self, family: c_int, kind: c_int, proto: c_int) {
        self.family.store(family, Ordering::Relaxed);
        self.kind.store(kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC), Ordering::Relaxed);
        self.proto.store(proto, Ordering::Relaxed);
    }

    /// True if SO_RCVLOWAT is in use, with which a call that is tried first would return too early.
    pub fn is_left_to_kernel(&self) -> bool {
        self.left_to_kernel.load(Ordering::Relaxed)
    }

    fn prospect(&self) -> &Prospect {
        if self.found_data.load(Ordering::Relaxed) { &self.after_data } else { &self.after_waiting }
    }

    /// True if it looks worth while to try a receiving call before waiting for it: not when the last
    /// tries were in vain, as in a ping-pong. Many programs wait for a header and find the body there:
    /// what the call before found is half of the guess.
    pub fn expects_readiness(&self) -> bool {
        let expects = self.prospect().is_good();
        if !expects {
            self.found_data.store(false, Ordering::Relaxed);
        }
        expects
    }

    /// True unless the last short waits were in vain: then only now and then.
    pub fn short_waits_pay(&self) -> bool {
        let in_vain = self.short_waits_in_vain.load(Ordering::Relaxed);
        if in_vain < MOST_SHORT_WAITS_IN_VAIN {
            return true;
        }
        self.short_waits_in_vain.store(in_vain.wrapping_add(1), Ordering::Relaxed);
        in_vain.is_multiple_of(BETWEEN_SHORT_WAITS)
    }

    /// A short wait with the interpreter held is over.
    pub fn waited_shortly(&self, came: bool) {
        if came {
            self.short_waits_in_vain.store(0, Ordering::Relaxed);
        } else {
            self.short_waits_in_vain.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A receiving call was tried.
    pub fn was_tried(&self, found_data: bool) {
        self.prospect().learn(found_data);
        self.found_data.store(found_data, Ordering::Relaxed);
    }

    pub fn io_refs(&self) -> i64 {
        self.io_refs.load(Ordering::Relaxed)
    }

    pub fn set_io_refs(&self, io_refs: i64) {
        self.io_refs.store(io_refs, Ordering::Relaxed);
    }

    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    pub fn last_received(&self) -> usize {
        self.last_received.load(Ordering::Relaxed) as usize
    }

    pub fn set_last_received(&self, bytes: usize) {
        self.last_received.store(u32::try_from(bytes).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// What is known of the kernel's willingness to cut segments on this socket; `None` before it was
    /// asked.
    pub fn largest_segment(&self) -> Option<usize> {
        Some(self.largest_segment.load(Ordering::Relaxed).checked_sub(1)? as usize)
    }

    pub fn set_largest_segment(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.largest_segment.store(bytes.saturating_add(1), Ordering::Relaxed);
    }

    /// Leaves an error for the next batch.
    pub fn put_off(&self, error: Errno) {
        self.put_off.store(error.0, Ordering::Relaxed);
    }

    /// The error that was left, once.
    pub fn take_put_off(&self) -> Result<()> {
        match self.put_off.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            errno => Err(Errno(errno).into()),
        }
    }

    pub fn leave_to_kernel(&self, leave: bool) {
        self.left_to_kernel.store(leave, Ordering::Relaxed);
    }
}
