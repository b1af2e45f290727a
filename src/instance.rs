//! The Python class over the native half, as native code needs it: to make instances of it without
//! a detour through Python, and to know whether the class at hand is it.

use std::sync::{PoisonError, RwLock};

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::errors::{Error, Result};
use crate::socket::Socket;

/// What the package tells the native half when it is imported.
struct Package {
    class: Py<PyType>,
    namespace: Py<PyDict>,
    standard_class: Py<PyAny>,
    standard: Py<PyAny>,
    /// The methods that native code calls without looking them up, as long as they are there.
    methods: [Py<PyAny>; METHODS.len()],
    interpreter: i64,
}

/// A method that others may override or replace.
#[derive(Clone, Copy)]
pub enum Method {
    Accept,
    RealClose,
    RecvInto,
    Send,
}

const METHODS: [&str; 4] = ["_accept", "_real_close", "recv_into", "send"];

/// Leaked at every import: there is one in a process, or a few where a program imports anew.
static PACKAGE: RwLock<Option<&'static Package>> = RwLock::new(None);

/// Makes the class known; the namespace in which programs find it under the name `socket` (or what
/// they have put there in its place); and what is needed of the standard module, which may have
/// been replaced by rsnet itself when it comes to be used.
pub fn register(
    class: &Bound<'_, PyType>,
    namespace: Bound<'_, PyDict>,
    standard: &Bound<'_, PyAny>,
) -> Result<()> {
    let mut methods = [const { None }; METHODS.len()];
    for (place, name) in methods.iter_mut().zip(METHODS) {
        *place = Some(class.getattr(name)?.unbind());
    }
    let methods = methods.map(|method| method.unwrap_or_else(|| class.py().None()));
    let package = Package {
        class: class.clone().unbind(),
        namespace: namespace.unbind(),
        standard_class: standard.getattr("socket")?.unbind(),
        standard: standard.clone().unbind(),
        methods,
        // SAFETY: the interpreter is held, so that there is a present one.
        interpreter: unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) },
    };
    let mut known = PACKAGE.write().unwrap_or_else(PoisonError::into_inner);
    if known.is_some_and(|known| known.interpreter != package.interpreter) {
        // Another interpreter has objects of its own, which must not be shared with it.
        return Err(Error::Import("rsnet does not support subinterpreters: import it in one only"));
    }
    *known = Some(Box::leak(Box::new(package)));
    Ok(())
}

fn package() -> Result<&'static Package> {
    let known = *PACKAGE.read().unwrap_or_else(PoisonError::into_inner);
    known.ok_or(Error::Import("the package rsnet is not imported"))
}

/// The standard library's class, for the families that are not native.
pub fn standard_class(py: Python<'_>) -> Result<&Bound<'_, PyAny>> {
    Ok(package()?.standard_class.bind(py))
}

/// A name of the standard module that nobody replaces: an enum, say.
pub fn standard_name<'py>(py: Python<'py>, name: &str) -> Result<Bound<'py, PyAny>> {
    Ok(package()?.standard.bind(py).getattr(name)?)
}

/// True for the class itself; subclasses are not it.
pub fn is_the_class(class: &Bound<'_, PyType>) -> bool {
    package().is_ok_and(|package| package.class.is(class))
}

/// True if the class is the class itself and has the method that it was made with: neither a subclass
/// nor whoever patched the class has another.
pub fn is_as_made(class: &Bound<'_, PyType>, method: Method) -> Result<bool> {
    let py = class.py();
    let package = package()?;
    if !package.class.is(class) {
        return Ok(false);
    }
    let (name, made_with) = match method {
        Method::Accept => (intern!(py, METHODS[0]), &package.methods[0]),
        Method::RealClose => (intern!(py, METHODS[1]), &package.methods[1]),
        Method::RecvInto => (intern!(py, METHODS[2]), &package.methods[2]),
        Method::Send => (intern!(py, METHODS[3]), &package.methods[3]),
    };
    Ok(class.getattr(name)?.is(made_with))
}

/// What programs find under the name `socket`: the class, or what they have put in its place.
pub fn class_in_use<'py>(py: Python<'py>) -> Result<Bound<'py, PyAny>> {
    let package = package()?;
    let found = package.namespace.bind(py).get_item(intern!(py, "socket"))?;
    Ok(found.unwrap_or_else(|| package.class.bind(py).clone().into_any()))
}

/// A new instance of a class derived from `Socket`, without its `__init__`.
pub fn allocate<'py>(class: &Bound<'py, PyType>) -> Result<Bound<'py, Socket>> {
    let py = class.py();
    let native = py.get_type::<Socket>();
    // SAFETY: two types that are alive.
    if unsafe { ffi::PyType_IsSubtype(class.as_type_ptr(), native.as_type_ptr()) } == 0 {
        return Err(Error::Type(format!("{} is not a class of sockets", class.repr()?)));
    }
    let arguments = PyTuple::empty(py);
    // SAFETY: the slot of a type that pyo3 made is its `tp_new`, which is never null for a class
    // with a constructor and makes an instance of any subclass (which `class` is, as just seen), as Python itself would call it;
    // it gives a new object or an exception.
    unsafe {
        let slot = ffi::PyType_GetSlot(native.as_type_ptr(), ffi::Py_tp_new);
        let new: ffi::newfunc = std::mem::transmute(slot);
        let object = new(class.as_type_ptr(), arguments.as_ptr(), std::ptr::null_mut());
        Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
    }
}
