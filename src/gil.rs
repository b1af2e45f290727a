//! Whether a call is tried with the interpreter held. Letting go of it and getting it back costs
//! as much as a small system call, and beside a busy thread up to its switch interval.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Larger transfers copy for so long that other threads should run meanwhile.
const MOST_BYTES: usize = 64 * 1024;

/// How many calls go by between two looks at whether other threads exist: a look costs about as
/// much as it saves.
const CALLS_BETWEEN_LOOKS: u32 = 32;

static CALLS: AtomicU32 = AtomicU32::new(0);
static ALONE: AtomicBool = AtomicBool::new(false);

/// True if the interpreter may be kept while a call of `len` bytes is tried: nobody waits for it.
pub fn is_held_for(py: Python<'_>, len: usize) -> bool {
    len <= MOST_BYTES && is_alone(py)
}

/// True if this is the only thread that Python has started, as of a short while ago.
fn is_alone(py: Python<'_>) -> bool {
    if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(CALLS_BETWEEN_LOOKS) {
        ALONE.store(count_threads(py).is_ok_and(|count| count == 0), Ordering::Relaxed);
    }
    ALONE.load(Ordering::Relaxed)
}

/// How many threads Python has started that still run.
fn count_threads(py: Python<'_>) -> PyResult<usize> {
    static COUNT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    COUNT.import(py, "_thread", "_count")?.call0()?.extract()
}
