//! What the Python class does beyond one system call when sockets come and go: accepted sockets as
//! objects, and the close that waits for the files made of a socket.

use std::os::fd::IntoRawFd;

use pyo3::exceptions::PyWarning;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::call;
use crate::construct;
use crate::errors::{self, Returned};
use crate::instance::{self, Method};
use crate::options;
use crate::socket::This;
use crate::transfer;

/// `accept()`: the connection as a socket, and the peer's address.
pub fn accept<'py>(this: This<'_, 'py>) -> Returned<'py> {
    let py = this.py();
    if !instance::is_as_made(&this.get_type(), Method::Accept)? {
        return accept_by_override(this);
    }
    let (accepted, address) = transfer::accept_one(this)?;
    let class = instance::class_in_use(py)?;
    let socket = match class.cast::<PyType>() {
        Ok(class) if instance::is_the_class(class) => construct::accepted(this, class, accepted)?,
        _ => {
            let fd = accepted.into_raw_fd().into_pyobject(py)?;
            call_replacement(this, &class, fd.as_any())?
        }
    };
    Ok((socket, address).into_pyobject(py)?.into_any())
}

/// A subclass, or a test that has patched the class, has its own idea of accepting.
#[cold]
fn accept_by_override<'py>(this: This<'_, 'py>) -> Returned<'py> {
    let py = this.py();
    let accepted = this.call_method0(intern!(py, "_accept"))?;
    let (fd, address): (Bound<'py, PyAny>, Bound<'py, PyAny>) = accepted.extract()?;
    let socket = call_replacement(this, &instance::class_in_use(py)?, &fd)?;
    if options::default_timeout_ns(py)? < 0 && this.get().timeout_ns() > 0 {
        // The descriptor may have been left as the listener's is.
        socket.call_method1(intern!(py, "setblocking"), (true,))?;
    }
    Ok((socket, address).into_pyobject(py)?.into_any())
}

/// A test, or a program that wraps sockets, has put something else in the place of the class.
fn call_replacement<'py>(
    this: This<'_, 'py>,
    class: &Bound<'py, PyAny>,
    fd: &Bound<'py, PyAny>,
) -> Returned<'py> {
    let py = this.py();
    let family = this.getattr(intern!(py, "family"))?;
    let kind = this.getattr(intern!(py, "type"))?;
    let proto = this.getattr(intern!(py, "proto"))?;
    let fileno = PyDict::new(py);
    fileno.set_item(intern!(py, "fileno"), fd)?;
    class.call((family, kind, proto), Some(&fileno))
}

/// `close()`: at once, or when the last file made of the socket is closed.
pub fn close<'py>(this: This<'_, 'py>) -> Returned<'py> {
    let py = this.py();
    let socket = this.get();
    socket.set_closed(true);
    construct::made(this, "_io_refs")?;
    if socket.io_refs() <= 0 {
        if instance::is_as_made(&this.get_type(), Method::RealClose)? {
            call::close(py, socket)?;
        } else {
            this.call_method0(intern!(py, "_real_close"))?;
        }
    }
    Ok(py.None().into_bound(py))
}

/// `_decref_socketios()`: a file made of the socket has been closed.
pub fn decref_socketios<'py>(this: This<'_, 'py>) -> Returned<'py> {
    let py = this.py();
    let socket = this.get();
    if socket.io_refs() > 0 {
        socket.set_io_refs(socket.io_refs() - 1);
    }
    if socket.closed() {
        this.call_method0(intern!(py, "close"))?;
    }
    Ok(py.None().into_bound(py))
}

/// What the interpreter calls before an object goes: one that is still open says so, and is closed.
pub fn finalize<'py>(this: This<'_, 'py>) -> Returned<'py> {
    let py = this.py();
    if this.get().descriptor().fd() < 0 {
        return Ok(py.None().into_bound(py));
    }
    // First the warning, so that whoever logs it can still ask the socket for its name.
    let warned = errors::warn_of_unclosed(this.as_any());
    let closed = call::close(py, this.get());
    if let Err(error) = warned
        && error.is_instance_of::<PyWarning>(py)
    {
        // A filter has made an exception of the warning. Anything else that goes wrong with it is
        // left unsaid, as CPython does: the interpreter may be shutting down.
        error.write_unraisable(py, Some(this.as_any()));
    }
    // An error of close(2) has nobody to go to, as in CPython.
    drop(closed);
    Ok(py.None().into_bound(py))
}
