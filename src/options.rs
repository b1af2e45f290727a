//! Timeouts and socket options.

use std::ffi::c_int;
use std::os::fd::RawFd;

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString};
use rsnet_core::sys::{self, ReadableMemory};

use crate::arguments::{self, Arguments, OptionValue};
use crate::call;
use crate::errors::{Error, Result, Returned};
use crate::socket::This;

const SECOND_NS: i64 = 1_000_000_000;

fn none(py: Python<'_>) -> Bound<'_, PyAny> {
    py.None().into_bound(py)
}

// Timeouts.

/// Seconds as Python has them, of nanoseconds; `None` if negative.
#[allow(clippy::cast_precision_loss, reason = "CPython rounds the same way")]
pub fn seconds(ns: i64) -> Option<f64> {
    match ns {
        ..0 => None,
        _ if ns % SECOND_NS == 0 => Some((ns / SECOND_NS) as f64),
        _ => Some(ns as f64 / 1e9),
    }
}

/// A timeout argument in nanoseconds, negative for None. Rounded up: a tiny timeout is not none.
pub fn timeout_ns(argument: &Bound<'_, PyAny>) -> Result<i64> {
    // Nine billion seconds in nanoseconds still fit; more is left to the interpreter to refuse.
    const MOST_S: f64 = 9e9;
    if argument.is_none() {
        return Ok(-1);
    }
    let seconds = if let Ok(float) = argument.cast::<PyFloat>() {
        float.value()
    } else if let Ok(int) = argument.cast_exact::<PyInt>()
        && let Ok(int) = int.extract::<u32>()
    {
        return Ok(i64::from(int) * SECOND_NS);
    } else {
        return unusual_timeout_ns(argument);
    };
    if !(0.0..MOST_S).contains(&seconds) {
        return unusual_timeout_ns(argument);
    }
    #[allow(clippy::cast_possible_truncation, reason = "in range, as just seen")]
    Ok((seconds * 1e9).ceil() as i64)
}

/// A timeout of an unusual kind is judged by the standard class, on an object of its own that has
/// no descriptor: its errors and its rounding are the interpreter's.
#[cold]
fn unusual_timeout_ns(argument: &Bound<'_, PyAny>) -> Result<i64> {
    let judge = judge_of(argument, intern!(argument.py(), "settimeout"))?;
    let seconds: Option<f64> =
        judge.call_method0(intern!(argument.py(), "gettimeout"))?.extract()?;
    #[allow(clippy::cast_possible_truncation, reason = "the judge took it: it fits, or saturates")]
    Ok(seconds.map_or(-1, |seconds| (seconds * 1e9).ceil() as i64))
}

/// An object of the standard class that has taken the argument of `method`, or its error.
fn judge_of<'py>(
    argument: &Bound<'py, PyAny>,
    method: &Bound<'py, PyString>,
) -> Result<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = argument.py();
    let class = CLASS.import(py, "_socket", "socket")?;
    let judge = class.call_method1(intern!(py, "__new__"), (class,))?;
    match judge.call_method1(method, (argument,)) {
        // The argument is accepted; that there is no descriptor to set anything on is no matter. An
        // error of the judge's own has not passed through any Python code.
        Err(error) if error.is_instance_of::<PyOSError>(py) && error.traceback(py).is_none() => {
            Ok(judge)
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(judge),
    }
}

/// A flag of another kind than bool: whether its truth counts or its number differs between the
/// versions of Python.
#[cold]
fn unusual_flag(argument: &Bound<'_, PyAny>) -> Result<bool> {
    let judge = judge_of(argument, intern!(argument.py(), "setblocking"))?;
    Ok(judge.call_method0(intern!(argument.py(), "getblocking"))?.is_truthy()?)
}

/// The process's default timeout, which the standard module keeps: it is one for both.
pub fn default_timeout_ns(py: Python<'_>) -> Result<i64> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let default = GET.import(py, "_socket", "getdefaulttimeout")?.call0()?;
    timeout_ns(&default)
}

fn set_timeout(this: This<'_, '_>, timeout_ns: i64) -> Result<()> {
    let socket = this.get();
    socket.set_timeout_ns(timeout_ns);
    // Also from one timeout to another: whoever shares the descriptor may have changed its mode, and
    // connect(2) would then block without a deadline.
    call::brief(this.py(), socket, |fd| sys::set_nonblocking(fd, timeout_ns >= 0))
}

pub fn settimeout<'py>(this: This<'_, 'py>, argument: &Bound<'py, PyAny>) -> Returned<'py> {
    let timeout_ns = timeout_ns(argument)?;
    set_timeout(this, timeout_ns)?;
    Ok(none(this.py()))
}

pub fn gettimeout<'py>(this: This<'_, 'py>) -> Returned<'py> {
    Ok(seconds(this.get().timeout_ns()).into_pyobject(this.py())?)
}

pub fn setblocking<'py>(this: This<'_, 'py>, argument: &Bound<'py, PyAny>) -> Returned<'py> {
    let blocking = match argument.cast_exact::<PyBool>() {
        Ok(flag) => flag.is_true(),
        Err(_) => unusual_flag(argument)?,
    };
    set_timeout(this, if blocking { -1 } else { 0 })?;
    Ok(none(this.py()))
}

pub fn getblocking<'py>(this: This<'_, 'py>) -> Returned<'py> {
    let blocking = this.get().timeout_ns() != 0;
    Ok(PyBool::new(this.py(), blocking).to_owned().into_any())
}

// Options.

/// True if SO_RCVLOWAT is set on the descriptor (by whoever had it before).
pub fn has_low_water_mark(fd: RawFd) -> bool {
    sys::getsockopt_int(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT).is_ok_and(|mark| mark > 1)
}

pub fn setsockopt<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let (level, name, value) = arguments::option(&given)?;
    let set =
        |memory| call::brief(this.py(), this.get(), |fd| sys::setsockopt(fd, level, name, memory));
    match &value {
        OptionValue::Number(number) => {
            let bytes = number.to_ne_bytes();
            set(ReadableMemory { start: bytes.as_ptr(), len: bytes.len() })?;
        }
        OptionValue::Null(len) => {
            set(ReadableMemory { start: std::ptr::null(), len: *len as usize })?;
        }
        OptionValue::Bytes(buffer) => set(buffer.memory())?,
    }
    if level == libc::SOL_SOCKET && name == libc::SO_RCVLOWAT {
        let socket = this.get();
        let has = call::brief(this.py(), socket, |fd| Ok(has_low_water_mark(fd)))?;
        socket.leave_to_kernel(has);
    }
    Ok(none(this.py()))
}

pub fn getsockopt<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    const MOST_BYTES: c_int = 1024;
    let (level, name, len) = arguments::two_or_three_numbers(&given, c"ii|i:getsockopt")?;
    let py = this.py();
    if len == 0 {
        let number = call::brief(this.py(), this.get(), |fd| sys::getsockopt_int(fd, level, name))?;
        return Ok(number.into_pyobject(py)?.into_any());
    }
    if !(1..=MOST_BYTES).contains(&len) {
        return Err(Error::OsText("getsockopt buflen out of range").into());
    }
    let mut value = vec![0; usize::try_from(len).unwrap_or(0)];
    let filled =
        call::brief(this.py(), this.get(), |fd| sys::getsockopt(fd, level, name, &mut value))?;
    value.truncate(filled);
    Ok(PyBytes::new(py, &value).into_any())
}
