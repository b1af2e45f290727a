//! The raw file behind `makefile`: what CPython's SocketIO does in Python for every read and write.
//!
//! Only the common case is here: a file of the class itself, open, over a socket of the class itself.
//! Anything else is left to the Python methods that these stand before.

use pyo3::exceptions::PyTimeoutError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};
use rsnet_core::errno::Errno;

use crate::buffer::Buffer;
use crate::call;
use crate::errors::{Error, Result, Returned};
use crate::instance::{self, Method};
use crate::socket::Socket;
use crate::transfer;

/// A file, as a method has it.
type File<'a, 'py> = &'a Bound<'py, PyAny>;

/// CPython's class, whose methods do what is not done here.
static STANDARD: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// To be called when the class is made.
pub fn stands_before(standard: &Bound<'_, PyType>) {
    let _ = STANDARD.set(standard.py(), standard.clone().unbind());
}

/// The socket of a file that is open for `mode` ("_reading" or "_writing"), if it is one whose own
/// methods would do no more than is done here.
fn plain_socket<'py>(
    file: File<'_, 'py>,
    mode: &Bound<'py, PyString>,
    method: Method,
) -> PyResult<Option<Bound<'py, Socket>>> {
    // None once the file is closed.
    let socket = file.getattr(intern!(file.py(), "_sock"))?;
    if !instance::is_as_made(&socket.get_type(), method)? || !file.getattr(mode)?.is_truthy()? {
        return Ok(None);
    }
    Ok(socket.cast_into::<Socket>().ok())
}

fn by_python<'py>(
    file: File<'_, 'py>,
    method: &Bound<'py, PyString>,
    argument: &Bound<'py, PyAny>,
) -> Returned<'py> {
    let py = file.py();
    let standard = STANDARD.get(py).ok_or(Error::Memory)?;
    standard.bind(py).call_method1(method, (file, argument))
}

/// None for what only means "not now", as raw files have it.
fn unless_blocked<'py>(py: Python<'py>, result: Result<usize>) -> Returned<'py> {
    match result {
        Ok(count) => Ok(count.into_pyobject(py)?.into_any()),
        Err(Error::Errno(Errno(libc::EAGAIN))) => Ok(py.None().into_bound(py)),
        Err(error) => Err(error.into()),
    }
}

/// `readinto(b)`
pub fn readinto<'py>(file: File<'_, 'py>, buffer: &Bound<'py, PyAny>) -> Returned<'py> {
    let py = file.py();
    let timed_out = intern!(py, "_timeout_occurred");
    // The files above this one read on and on in C, a line without an end for example: nobody else
    // there looks whether a signal came.
    call::look_for_signals(py)?;
    match plain_socket(file, intern!(py, "_reading"), Method::RecvInto)? {
        Some(socket) if !file.getattr(timed_out)?.is_truthy()? => {
            let Ok(memory) = Buffer::writable(buffer) else {
                // The error is the interpreter's own argument parser's.
                return by_python(file, intern!(file.py(), "readinto"), buffer);
            };
            let received = unless_blocked(py, transfer::receive_into(&socket, &memory));
            if received.as_ref().is_err_and(|error| error.is_instance_of::<PyTimeoutError>(py)) {
                // What was read into the buffered file above is lost: no more reads.
                file.setattr(timed_out, true)?;
            }
            received
        }
        _ => by_python(file, intern!(file.py(), "readinto"), buffer),
    }
}

/// `write(b)`
pub fn write<'py>(file: File<'_, 'py>, data: &Bound<'py, PyAny>) -> Returned<'py> {
    let py = file.py();
    call::look_for_signals(py)?;
    match plain_socket(file, intern!(py, "_writing"), Method::Send)? {
        Some(socket) => match Buffer::readable(data) {
            Ok(memory) => unless_blocked(py, transfer::send_some(&socket, &memory)),
            Err(_) => by_python(file, intern!(file.py(), "write"), data),
        },
        None => by_python(file, intern!(file.py(), "write"), data),
    }
}
