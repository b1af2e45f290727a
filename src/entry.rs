//! How Python enters: the method table of the class.
//!
//! pyo3's own method entry costs about 170 instructions a call, as much as all the rest of a small
//! `recv` outside the kernel. These entries are what a C extension has: METH_FASTCALL functions
//! that cast `self`, call the Rust method, and turn its result into a pointer or an exception.
//! They are laid over the class as method descriptors when the module is made; a method descriptor
//! checks that `self` is an instance before it calls.
//!
//! The doc strings and signatures are the running interpreter's own.

use std::ffi::{CStr, CString};
use std::panic::{self, AssertUnwindSafe};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::arguments::Arguments;
use crate::errors::{self, Returned};
use crate::instance;
use crate::socket::Socket;
use crate::{error_queue, file, lifetime, message, options, recvmmsg, sendmmsg, transfer};

/// Runs a method for the interpreter.
///
/// # Safety
/// The interpreter is held, and `this` is an instance of `T`'s class that stays alive meanwhile.
unsafe fn enter<T>(
    this: *mut ffi::PyObject,
    method: impl for<'py> FnOnce(&Bound<'py, T>) -> Returned<'py>,
) -> *mut ffi::PyObject {
    // SAFETY: as the caller promises.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: as the caller promises; the method descriptor has checked the type.
    let this = unsafe { Borrowed::<PyAny>::from_ptr(py, this).cast_unchecked::<T>() };
    errors::to_interpreter(py, panic::catch_unwind(AssertUnwindSafe(|| method(&this))))
}

/// A method as the class's table has it.
struct Entry {
    name: &'static CStr,
    function: ffi::PyMethodDefPointer,
    flags: std::ffi::c_int,
    /// For a method that the standard class does not have: what its own would be, signature first.
    doc: Option<&'static CStr>,
}

/// A METH_NOARGS entry.
macro_rules! plain {
    ($name:literal, $method:path) => {{
        unsafe extern "C" fn entry(
            this: *mut ffi::PyObject,
            _: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject {
            // SAFETY: called by the interpreter for a method descriptor of the class.
            unsafe { enter(this, |socket| $method(socket)) }
        }
        Entry {
            name: $name,
            function: ffi::PyMethodDefPointer { PyCFunction: entry },
            flags: ffi::METH_NOARGS,
            doc: None,
        }
    }};
}

/// A METH_O entry.
macro_rules! single {
    ($name:literal, $method:path) => {{
        unsafe extern "C" fn entry(
            this: *mut ffi::PyObject,
            argument: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject {
            // SAFETY: called by the interpreter for a method descriptor of the class, with one
            // argument that stays alive until the method returns.
            unsafe {
                enter(this, |socket| {
                    let argument = Borrowed::<PyAny>::from_ptr(socket.py(), argument);
                    $method(socket, &argument)
                })
            }
        }
        Entry {
            name: $name,
            function: ffi::PyMethodDefPointer { PyCFunction: entry },
            flags: ffi::METH_O,
            doc: None,
        }
    }};
}

/// A METH_FASTCALL entry.
macro_rules! positional {
    ($name:literal, $method:path) => {{
        unsafe extern "C" fn entry(
            this: *mut ffi::PyObject,
            start: *mut *mut ffi::PyObject,
            count: ffi::Py_ssize_t,
        ) -> *mut ffi::PyObject {
            // SAFETY: called by the interpreter for a method descriptor of the class, with its
            // arguments as METH_FASTCALL has them.
            unsafe {
                enter(this, |socket| {
                    let py = socket.py();
                    $method(socket, Arguments::from_fastcall(py, start, count, ptr::null_mut()))
                })
            }
        }
        Entry {
            name: $name,
            function: ffi::PyMethodDefPointer { PyCFunctionFast: entry },
            flags: ffi::METH_FASTCALL,
            doc: None,
        }
    }};
}

/// A METH_FASTCALL | METH_KEYWORDS entry.
macro_rules! keywords {
    ($name:literal, $method:path) => {{
        unsafe extern "C" fn entry(
            this: *mut ffi::PyObject,
            start: *const *mut ffi::PyObject,
            count: ffi::Py_ssize_t,
            names: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject {
            // SAFETY: called by the interpreter for a method descriptor of the class, with its
            // arguments as METH_FASTCALL | METH_KEYWORDS has them.
            unsafe {
                enter(this, |socket| {
                    let py = socket.py();
                    $method(socket, Arguments::from_fastcall(py, start, count, names))
                })
            }
        }
        Entry {
            name: $name,
            function: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: entry },
            flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            doc: None,
        }
    }};
}

/// A METH_FASTCALL | METH_KEYWORDS entry that the standard class does not have.
macro_rules! own {
    ($name:literal, $method:path, $doc:path) => {
        Entry { doc: Some($doc), ..keywords!($name, $method) }
    };
}

fn entries() -> Vec<Entry> {
    vec![
        plain!(c"__del__", lifetime::finalize),
        plain!(c"_accept", transfer::accept_descriptor),
        plain!(c"_decref_socketios", lifetime::decref_socketios),
        single!(c"bind", transfer::bind),
        plain!(c"close", transfer::close),
        single!(c"connect", transfer::connect),
        single!(c"connect_ex", transfer::connect_ex),
        plain!(c"detach", transfer::detach),
        plain!(c"fileno", transfer::fileno),
        plain!(c"getblocking", options::getblocking),
        plain!(c"getpeername", transfer::getpeername),
        plain!(c"getsockname", transfer::getsockname),
        positional!(c"getsockopt", options::getsockopt),
        plain!(c"gettimeout", options::gettimeout),
        positional!(c"listen", transfer::listen),
        positional!(c"recv", transfer::recv),
        keywords!(c"recv_into", transfer::recv_into),
        own!(c"recverr", error_queue::recverr, error_queue::DOC),
        positional!(c"recvfrom", transfer::recvfrom),
        keywords!(c"recvfrom_into", transfer::recvfrom_into),
        own!(c"recvmmsg", recvmmsg::recvmmsg, recvmmsg::DOC),
        own!(c"recvmmsg_into", recvmmsg::recvmmsg_into, recvmmsg::INTO_DOC),
        positional!(c"recvmsg", message::recvmsg),
        positional!(c"recvmsg_into", message::recvmsg_into),
        positional!(c"send", transfer::send),
        positional!(c"sendall", transfer::sendall),
        own!(c"sendmmsg", sendmmsg::sendmmsg, sendmmsg::DOC),
        positional!(c"sendmsg", message::sendmsg),
        keywords!(c"sendmsg_afalg", message::sendmsg_afalg),
        positional!(c"sendto", transfer::sendto),
        single!(c"setblocking", options::setblocking),
        positional!(c"setsockopt", options::setsockopt),
        single!(c"settimeout", options::settimeout),
        single!(c"shutdown", transfer::shutdown),
    ]
}

/// What the Python class has in the place of CPython's Python methods of the same names.
fn entries_of_the_python_class() -> Vec<Entry> {
    vec![
        plain!(c"accept", lifetime::accept),
        plain!(c"close", lifetime::close),
        plain!(c"detach", transfer::detach),
    ]
}

/// What the class of raw files has in the place of CPython's Python methods of the same names.
fn entries_of_files() -> Vec<Entry> {
    vec![single!(c"readinto", file::readinto), single!(c"write", file::write)]
}

/// Lays the entries over the native class.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let standard = py.import("_socket")?.getattr("socket")?;
    let native = py.get_type::<Socket>();
    lay_over(&native, entries(), &native, &standard)
}

/// Tells the native half which Python class stands over it, and lays the class's entries over it.
///
/// Parameters: cls, the class; namespace, the dict in which programs find it under the name
/// `socket`; standard, the standard `socket` module.
///
/// Returns None.
///
/// Raises ImportError in a second interpreter of the process.
///
/// Source: own.
///
/// >>> import rsnet, socket, types
/// >>> rsnet._rsnet.use_class(rsnet.socket, {}, types.ModuleType("socket", "of another"))
/// Traceback (most recent call last):
/// ...
/// AttributeError: module 'socket' has no attribute 'socket'
#[pyfunction]
pub fn use_class(
    cls: &Bound<'_, PyType>,
    namespace: Bound<'_, PyDict>,
    standard: &Bound<'_, PyAny>,
) -> PyResult<()> {
    instance::register(cls, namespace, standard)?;
    let native = cls.py().get_type::<Socket>();
    lay_over(cls, entries_of_the_python_class(), &native, &standard.getattr("socket")?)
}

/// Lays the native methods of raw files over their Python class.
///
/// Parameters: cls, the class; standard, the standard library's SocketIO, which it derives from.
///
/// Returns None.
///
/// Source: own.
///
/// >>> import rsnet
/// >>> rsnet._rsnet.use_file_class(rsnet.SocketIO, rsnet.SocketIO.__base__)
#[pyfunction]
pub fn use_file_class(cls: &Bound<'_, PyType>, standard: &Bound<'_, PyType>) -> PyResult<()> {
    file::stands_before(standard);
    lay_over(cls, entries_of_files(), cls, standard)
}

/// `takes` is the class whose instances the functions cast `self` to; the descriptors check for it,
/// whichever class they are on.
fn lay_over(
    class: &Bound<'_, PyType>,
    entries: Vec<Entry>,
    takes: &Bound<'_, PyType>,
    standard: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let py = class.py();
    for entry in entries {
        let name = entry.name.to_string_lossy();
        let doc = match entry.doc {
            Some(doc) => Some(doc.to_owned()),
            None => documentation(standard, &name)?,
        };
        let definition = ffi::PyMethodDef {
            ml_name: entry.name.as_ptr(),
            ml_meth: entry.function,
            ml_flags: entry.flags,
            // Both live as long as the process, as the class does.
            ml_doc: doc.map_or(ptr::null(), |doc| CString::into_raw(doc).cast_const()),
        };
        let definition = Box::into_raw(Box::new(definition));
        // SAFETY: a type and a definition that are never freed; the function's signature is the
        // one that the flags announce. The result is a new object or an exception.
        let descriptor = unsafe {
            let descriptor = ffi::PyDescr_NewMethod(takes.as_type_ptr(), definition);
            Bound::from_owned_ptr_or_err(py, descriptor)?
        };
        class.setattr(name.as_ref(), descriptor)?;
    }
    Ok(())
}

/// The doc string of CPython's own method, with its signature in front if it has one, in the form
/// in which method definitions carry both.
fn documentation(standard: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<CString>> {
    let Some(method) = standard.getattr_opt(name)? else {
        return Ok(None);
    };
    let signature: Option<String> = match method.getattr_opt("__text_signature__")? {
        Some(signature) => signature.extract()?,
        None => Some(signature_of_function(&method)?),
    };
    let mut doc: Option<String> = method.getattr("__doc__")?.extract()?;
    if doc.is_none()
        && let Some(overridden) = standard.getattr("__base__")?.getattr_opt(name)?
    {
        // Not documented again by the class that overrides it.
        doc = overridden.getattr("__doc__")?.extract()?;
    }
    let Some(doc) = doc else {
        return Ok(None);
    };
    let text = signature.map_or(doc.clone(), |given| format!("{name}{given}\n--\n\n{doc}"));
    Ok(CString::new(text).ok())
}

/// A Python function has no text signature, but the names of what it takes.
fn signature_of_function(function: &Bound<'_, PyAny>) -> PyResult<String> {
    let code = function.getattr("__code__")?;
    let names: Vec<String> = code.getattr("co_varnames")?.extract()?;
    let count: usize = code.getattr("co_argcount")?.extract()?;
    let names: Vec<_> = names.iter().take(count).skip(1).map(|name| format!(", {name}")).collect();
    let slash = if names.is_empty() { "" } else { ", /" };
    Ok(format!("($self{}{slash})", names.concat()))
}
