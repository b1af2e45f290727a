//! The only place where Python exceptions are made.

use std::any::Any;
use std::ptr;

use pyo3::exceptions::{
    PyAttributeError, PyImportError, PyMemoryError, PyOSError, PyOverflowError, PyResourceWarning,
    PyRuntimeWarning, PySystemError, PyTimeoutError, PyTypeError, PyValueError,
};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use rsnet_core::errno::Errno;
use rsnet_core::resolver::HostError;
use rsnet_core::sys;

/// Everything that can go wrong in a call, before Python hears of it.
pub enum Error {
    /// The kernel said no: `OSError(errno, strerror)`, from which Python picks the subclass.
    Errno(Errno),
    /// `TimeoutError("timed out")`.
    TimedOut,
    /// A host without an address.
    Host(HostError),
    /// An `OSError` of one text and no errno, as CPython raises for what it finds out itself.
    OsText(&'static str),
    /// The same with a text of its own.
    OsMessage(String),
    Type(String),
    Value(&'static str),
    /// A ValueError with a text of its own.
    ValueMessage(String),
    Overflow(String),
    Import(&'static str),
    /// The name of a type, and of an attribute that its object lacks.
    Attribute(String, &'static str),
    Memory,
    /// An exception that is one already: an argument's `__index__`, a signal handler's.
    Raised(PyErr),
}

/// What the rooms below the class give.
pub type Result<T> = std::result::Result<T, Error>;

/// What a method gives to Python.
pub type Returned<'py> = PyResult<Bound<'py, PyAny>>;

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

impl From<PyErr> for Error {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<Error> for PyErr {
    #[cold]
    fn from(error: Error) -> Self {
        match error {
            Error::Errno(errno) => os_error(errno),
            Error::TimedOut => PyTimeoutError::new_err("timed out"),
            Error::Host(error) => host_error(error),
            Error::OsText(text) => PyOSError::new_err(text),
            Error::OsMessage(text) => PyOSError::new_err(text),
            Error::Type(text) => PyTypeError::new_err(text),
            Error::Value(text) => PyValueError::new_err(text),
            Error::ValueMessage(text) => PyValueError::new_err(text),
            Error::Overflow(text) => PyOverflowError::new_err(text),
            Error::Attribute(of, name) => {
                PyAttributeError::new_err(format!("'{of}' object has no attribute '{name}'"))
            }
            Error::Import(text) => PyImportError::new_err(text),
            Error::Memory => PyMemoryError::new_err(()),
            Error::Raised(error) => error,
        }
    }
}

fn os_error(errno: Errno) -> PyErr {
    PyOSError::new_err((errno.0, sys::strerror(errno)))
}

fn host_error(error: HostError) -> PyErr {
    match error {
        HostError::Resolver(code) => {
            let text = sys::gai_strerror(code);
            let made = Python::try_attach(|py| match gaierror(py) {
                Ok(class) => PyErr::from_type(class.clone(), (code, text.clone())),
                Err(error) => error,
            });
            made.unwrap_or_else(|| PyOSError::new_err((code, text)))
        }
        HostError::System(errno) => os_error(errno),
        HostError::FamilyMismatch => PyOSError::new_err("address family mismatched"),
        HostError::UnknownFamily => PyOSError::new_err("unknown address family"),
    }
}

/// The standard library's own class, so that `except socket.gaierror` finds it.
fn gaierror(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "_socket", "gaierror")
}

/// The error with a note (PEP 678) that says what rsnet knows more than the arguments tell, and
/// that leaves the arguments alone. An errno that only says "not yet" is left without: whoever
/// polls on it has no use for a note.
#[cold]
pub fn noted(py: Python<'_>, error: Error, note: impl FnOnce() -> String) -> Error {
    if let Error::Errno(Errno(libc::EAGAIN | libc::EINPROGRESS | libc::EALREADY)) = error {
        return error;
    }
    let exception = PyErr::from(error);
    let value = exception.value(py);
    // A note that cannot be added (no memory) must not hide the error itself.
    let _ = value.call_method1(intern!(py, "add_note"), (note(),));
    Error::Raised(exception)
}

/// The error of a `sendall` that stopped half-way: a note and an attribute say how far it came.
#[cold]
pub fn sent_in_part(py: Python<'_>, error: Error, sent: usize, of: usize) -> Error {
    let note = || format!("sent {sent} of {of} bytes");
    let exception = PyErr::from(noted(py, error, note));
    let value = exception.value(py);
    if value.is_instance_of::<PyOSError>() {
        let _ = value.setattr(intern!(py, "bytes_sent"), sent);
    }
    Error::Raised(exception)
}

/// What a function that the interpreter calls gives back to it: a new reference, or null with the
/// exception set. A panic must not cross into C; what it could leave half-done is behind atomics.
#[inline]
pub fn to_interpreter(
    py: Python<'_>,
    result: std::thread::Result<Returned<'_>>,
) -> *mut ffi::PyObject {
    match result {
        Ok(Ok(value)) => value.into_ptr(),
        Ok(Err(error)) => raise(py, error),
        Err(payload) => raise(py, panicked(&*payload)),
    }
}

#[cold]
fn raise(py: Python<'_>, error: PyErr) -> *mut ffi::PyObject {
    // Attached as pyo3 has it, which such a function is not: references that errors let go of are
    // then given back here and not put off until pyo3 is next entered.
    let mut error = Some(error);
    let _ = Python::try_attach(|py| error.take().map(|error: PyErr| error.restore(py)));
    if let Some(error) = error {
        // The interpreter shuts down: nobody will count references any more.
        error.restore(py);
    }
    ptr::null_mut()
}

/// The error of a batch that stopped: a note and an attribute say how many datagrams went, and which
/// one it stopped at.
#[cold]
pub fn messages_sent(py: Python<'_>, error: Error, sent: usize, note: String) -> Error {
    let exception = PyErr::from(error);
    let value = exception.value(py);
    let _ = value.call_method1(intern!(py, "add_note"), (note,));
    if value.is_instance_of::<PyOSError>() {
        let _ = value.setattr(intern!(py, "messages_sent"), sent);
    }
    Error::Raised(exception)
}

/// A panic is a bug of ours: an ordinary exception, which `except Exception` can hold.
#[cold]
fn panicked(payload: &(dyn Any + Send)) -> PyErr {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    PySystemError::new_err(format!("internal error in rsnet: {text}"))
}

/// Warns as CPython does when the kernel had no room for all the control data.
pub fn warn_of_truncated_ancillary_data(py: Python<'_>) -> PyResult<()> {
    let category = py.get_type::<PyRuntimeWarning>();
    PyErr::warn(py, &category, c"received malformed or improperly-truncated ancillary data", 1)
}

/// The ResourceWarning for a socket that nobody closed, with the socket as its source.
pub fn warn_of_unclosed(socket: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = socket.py();
    let text = format!("unclosed {}", socket.repr()?);
    let category = py.get_type::<PyResourceWarning>();
    warn(py)?.call1((text, category, 1, socket)).map(drop)
}

/// `warnings.warn`, fetched while modules can still be imported: sockets are often forgotten until
/// the interpreter shuts down.
fn warn(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static WARN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    WARN.import(py, "_warnings", "warn")
}

/// To be called while the module is made.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    warn(py).map(drop)
}
