//! Whether a call is tried with the interpreter held.
//!
//! Letting go of the interpreter and getting it back costs as much as a small system call. Beside a
//! thread that computes it costs up to that thread's switch interval, 5 ms, in every call (CPython
//! issue 7946): a thread that does I/O then makes 200 calls a second.
//!
//! So: with no other thread, calls are tried with the interpreter held. With others they are made
//! without it, and the way back is timed. When it takes long, the next tenth of a second of calls
//! is tried with the interpreter held, which is short: the try does not wait. Threads that
//! compute lose nothing by it, since they get the interpreter at every switch interval as ever.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use rsnet_core::{errno, sys};

use crate::errors::{Error, Result};

/// True if calls let go of the interpreter whatever it costs.
static ALWAYS_RELEASE: AtomicBool = AtomicBool::new(false);

/// Tells or sets how calls on sockets go about the global interpreter lock.
///
/// Parameters: policy, "adaptive" (let go of it only when that is cheap or when a call has to wait:
/// the default), "release" (let go of it around every system call, as the standard library does), or
/// None to leave it as it is.
///
/// Returns the policy before the call, a str.
///
/// Raises ValueError for another policy.
///
/// Source: CPython issue 7946.
///
/// >>> import rsnet
/// >>> rsnet.gil_policy("release")
/// 'adaptive'
/// >>> rsnet.gil_policy("adaptive")
/// 'release'
/// >>> rsnet.gil_policy()
/// 'adaptive'
#[pyfunction]
#[pyo3(signature = (policy=None))]
pub fn gil_policy(policy: Option<&str>) -> PyResult<&'static str> {
    let before = if ALWAYS_RELEASE.load(Ordering::Relaxed) { "release" } else { "adaptive" };
    match policy {
        None => {}
        Some("adaptive") => ALWAYS_RELEASE.store(false, Ordering::Relaxed),
        Some("release") => {
            ALWAYS_RELEASE.store(true, Ordering::Relaxed);
            ALONE.store(false, Ordering::Relaxed);
        }
        Some(_) => return Err(Error::Value("policy must be 'adaptive' or 'release'").into()),
    }
    Ok(before)
}

/// Larger transfers copy for so long that other threads should run meanwhile.
const MOST_BYTES: usize = 64 * 1024;

/// How many calls go by between two looks at whether other threads exist: a look costs about as
/// much as it saves.
const CALLS_BETWEEN_LOOKS: u32 = 32;

/// A way back that takes longer than this was waited for behind a thread that computes: threads
/// that do I/O let go of the interpreter after microseconds, one that computes after 5 ms.
const LONG_WAY_BACK_NS: u64 = 3_000_000;

/// How many calls are timed in earnest once a way back may have been long.
const CALLS_TIMED: u32 = 16;
static TO_BE_TIMED: AtomicU32 = AtomicU32::new(0);

/// How long calls are then tried with the interpreter held.
const CREDIT_NS: u64 = 100_000_000;

/// With so many threads on their way back, a long way is no sign of a thread that computes.
const MANY_ON_THE_WAY: u32 = 4;

static CALLS: AtomicU32 = AtomicU32::new(0);
static ALONE: AtomicBool = AtomicBool::new(false);
/// When the credit ends, in nanoseconds since `START`.
static CREDIT_END_NS: AtomicU64 = AtomicU64::new(0);
/// How many calls were tried with the interpreter held on credit: one that is waited for by others
/// must not give rise to more of its kind.
static HELD_ON_CREDIT: AtomicU32 = AtomicU32::new(0);
static ON_THE_WAY_BACK: AtomicU32 = AtomicU32::new(0);
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now_ns() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// How a call is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Without the interpreter.
    Release,
    /// With it: nobody else could use it.
    Alone,
    /// With it, and, if the try is in vain, for a short wait as well: getting it back takes long.
    Credit,
}

/// How a call of `len` bytes is tried.
#[inline]
pub fn hold_for(py: Python<'_>, len: usize) -> Hold {
    if len > MOST_BYTES {
        return Hold::Release;
    }
    if is_alone(py) {
        return Hold::Alone;
    }
    hold_beside_others()
}

fn hold_beside_others() -> Hold {
    if ALWAYS_RELEASE.load(Ordering::Relaxed) {
        return Hold::Release;
    }
    let credit_end_ns = CREDIT_END_NS.load(Ordering::Relaxed);
    if credit_end_ns == 0 {
        return Hold::Release;
    }
    if now_ns() >= credit_end_ns {
        CREDIT_END_NS.store(0, Ordering::Relaxed);
        // The thread that computes is likely to be there still.
        TO_BE_TIMED.store(CALLS_TIMED, Ordering::Relaxed);
        return Hold::Release;
    }
    HELD_ON_CREDIT.fetch_add(1, Ordering::Relaxed);
    Hold::Credit
}

/// How long a call on credit waits with the interpreter held: longer than a reply takes on
/// loopback or a local network, much shorter than the switch interval.
const SHORT_WAIT: Duration = Duration::from_micros(100);

/// Tries again for a short while, the core being everybody else's in between: the one who is to answer
/// may need it. poll(2) would wait for as long, but a timer that is the next to go off costs 16 us on a
/// virtual machine, where setting it takes the hypervisor; request and response beside a thread that
/// computes are then 41 us instead of 25.
pub fn try_shortly<T>(mut attempt: impl FnMut() -> errno::Result<T>) -> errno::Result<T> {
    let end = Instant::now() + SHORT_WAIT;
    loop {
        thread::yield_now();
        match attempt() {
            Err(error) if error.would_block() && Instant::now() < end => {}
            result => return result,
        }
    }
}

/// True if no other of our threads waits for the interpreter.
pub fn is_nobody_on_the_way() -> bool {
    ON_THE_WAY_BACK.load(Ordering::Relaxed) == 0
}

/// Runs `work` without the interpreter, and times the way back.
///
/// The clock that ticks every few milliseconds costs next to nothing, and between two of its ticks
/// there is no long way back. Only when one has passed are the next calls timed in earnest.
pub fn without<T: Send>(py: Python<'_>, work: impl Send + FnOnce() -> T) -> T {
    if ALONE.load(Ordering::Relaxed) {
        return py.detach(work);
    }
    if TO_BE_TIMED.load(Ordering::Relaxed) > 0 {
        return timed_without(py, work);
    }
    let (value, done) = py.detach(|| {
        let value = work();
        (value, sys::coarse_ticks())
    });
    if sys::coarse_ticks() != done {
        TO_BE_TIMED.store(CALLS_TIMED, Ordering::Relaxed);
    }
    value
}

/// Runs `work` without the interpreter; a long way back gives credit.
#[cold]
fn timed_without<T: Send>(py: Python<'_>, work: impl Send + FnOnce() -> T) -> T {
    let (value, done_ns, held, on_the_way) = py.detach(|| {
        let value = work();
        let held = HELD_ON_CREDIT.load(Ordering::Relaxed);
        let on_the_way = ON_THE_WAY_BACK.fetch_add(1, Ordering::Relaxed);
        (value, now_ns(), held, on_the_way)
    });
    ON_THE_WAY_BACK.fetch_sub(1, Ordering::Relaxed);
    // A count that several threads lower at once may miss one; it only says how long to be careful.
    let left = TO_BE_TIMED.load(Ordering::Relaxed);
    TO_BE_TIMED.store(left.saturating_sub(1), Ordering::Relaxed);
    let now_ns = now_ns();
    if now_ns.saturating_sub(done_ns) > LONG_WAY_BACK_NS
        && on_the_way < MANY_ON_THE_WAY
        && held == HELD_ON_CREDIT.load(Ordering::Relaxed)
    {
        CREDIT_END_NS.store(now_ns + CREDIT_NS, Ordering::Relaxed);
    }
    value
}

/// To be called once: the threads that were on their way back when the process forked are not in the
/// child.
pub fn prepare_for_forks() -> Result<()> {
    extern "C" fn nothing() {}
    extern "C" fn in_child() {
        ON_THE_WAY_BACK.store(0, Ordering::Relaxed);
    }
    Ok(sys::at_fork(nothing, nothing, in_child)?)
}

/// True if this is the only thread that Python has started, as of a short while ago, and the policy
/// lets that count.
#[inline]
fn is_alone(py: Python<'_>) -> bool {
    // Not an atomic addition: it costs as much as all the rest, and a lost count does no harm.
    let calls = CALLS.load(Ordering::Relaxed);
    CALLS.store(calls.wrapping_add(1), Ordering::Relaxed);
    if calls.is_multiple_of(CALLS_BETWEEN_LOOKS) {
        look_for_others(py);
    }
    ALONE.load(Ordering::Relaxed)
}

#[cold]
fn look_for_others(py: Python<'_>) {
    let alone = count_threads(py).is_ok_and(|count| count == 0);
    ALONE.store(alone && !ALWAYS_RELEASE.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// How many threads Python has started that still run.
fn count_threads(py: Python<'_>) -> PyResult<usize> {
    static COUNT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    COUNT.import(py, "_thread", "_count")?.call0()?.extract()
}
