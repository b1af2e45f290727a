//! Audit events (PEP 578), with CPython's names and arguments.
//!
//! `sys.audit` would do, at the price of a tuple for every datagram sent. `PySys_Audit` looks for
//! hooks first. It is part of the stable ABI since 3.13; 3.11 and 3.12 export it all the same.

use std::ffi::{CStr, c_char, c_int};

use pyo3::prelude::*;
use rsnet_core::sys::Hints;

use crate::socket::This;

unsafe extern "C" {
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

fn outcome(py: Python<'_>, result: c_int) -> PyResult<()> {
    if result == 0 { Ok(()) } else { Err(PyErr::fetch(py)) }
}

/// An event about a socket and an address (or None).
pub fn of_address(event: &CStr, this: This<'_, '_>, address: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: the interpreter is held; two objects that are alive, as the format says.
    let result =
        unsafe { PySys_Audit(event.as_ptr(), c"OO".as_ptr(), this.as_ptr(), address.as_ptr()) };
    outcome(this.py(), result)
}

/// The event of a new socket.
pub fn of_socket(this: This<'_, '_>, family: c_int, kind: c_int, proto: c_int) -> PyResult<()> {
    // SAFETY: the interpreter is held; an object that is alive and three ints, as the format says.
    let result = unsafe {
        let event = c"socket.__new__".as_ptr();
        PySys_Audit(event, c"Oiii".as_ptr(), this.as_ptr(), family, kind, proto)
    };
    outcome(this.py(), result)
}

/// The event of a name lookup.
pub fn of_lookup(host: &Bound<'_, PyAny>, port: &Bound<'_, PyAny>, hints: Hints) -> PyResult<()> {
    // SAFETY: the interpreter is held; two objects that are alive and three ints, as the format
    // says.
    let result = unsafe {
        let event = c"socket.getaddrinfo".as_ptr();
        let (host, port) = (host.as_ptr(), port.as_ptr());
        let Hints { family, kind, protocol, .. } = hints;
        PySys_Audit(event, c"OOiii".as_ptr(), host, port, family, kind, protocol)
    };
    outcome(host.py(), result)
}
