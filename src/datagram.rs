//! `rsnet.Datagram`: one received datagram as one light object, its bytes inline.
//!
//! A tuple of bytes and address is three objects for each datagram; at the speed of recvmmsg(2) they
//! cost more than the kernel's share. This object is one allocation: a header, and the payload right
//! behind it. Everything else (the address as a tuple, the fields of the control data) is made when
//! it is asked for. pyo3 has no classes of variable size, hence the table of slots here.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "a method of `Datagram<'a>` is not general enough over 'a"
)]

use std::ffi::{CStr, c_int, c_void};
use std::mem::size_of;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyType};
use rsnet_core::cmsg::{Item, Messages};
use rsnet_core::metadata::Metadata;
use rsnet_core::sockaddr;

use crate::address;
use crate::errors::{self, Error, Result, Returned};

/// The longest address that stands in the header itself: INET6's. Longer names are UNIX's.
const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// What only some datagrams have. Datagrams that the kernel had joined share it.
#[derive(Default)]
pub struct Details {
    pub metadata: Metadata,
    /// Control data as it came, for whoever asked for it.
    pub control: Vec<u8>,
    /// An address that does not fit the header.
    pub long_name: Vec<u8>,
}

/// What stands before the payload.
#[repr(C)]
struct Header {
    object: ffi::PyVarObject,
    /// From `Arc::into_raw`, or null.
    details: *const Details,
    flags: c_int,
    /// As the kernel wrote it; zeros for none, or for one in the details.
    name: [u8; NAME_BYTES],
}

/// True for the names of INET and INET6, whose length goes without saying; UNIX's are kept elsewhere.
pub fn fits_header(name: &[u8]) -> bool {
    name.is_empty()
        || name.len() <= NAME_BYTES
            && matches!(sockaddr::family_of(name), libc::AF_INET | libc::AF_INET6)
}

/// Makes datagrams.
pub struct Maker<'py> {
    class: &'py Bound<'py, PyType>,
}

/// What there is to say of a datagram beside its payload.
#[derive(Clone, Copy)]
pub struct About<'a> {
    pub flags: c_int,
    /// The sender's address as the header has it.
    name: [u8; NAME_BYTES],
    details: Option<&'a Arc<Details>>,
}

impl<'a> About<'a> {
    /// `name` is the sender's address as the kernel wrote it.
    pub fn new(flags: c_int, name: &[u8], details: Option<&'a Arc<Details>>) -> Self {
        let mut kept = [0; NAME_BYTES];
        if fits_header(name) {
            kept[..name.len()].copy_from_slice(name);
        }
        Self { flags, name: kept, details }
    }
}

impl<'py> Maker<'py> {
    pub fn new(py: Python<'py>) -> Result<Self> {
        Ok(Self { class: class(py)? })
    }

    /// A datagram with a copy of `data`.
    pub fn make(&self, data: &[u8], about: &About<'_>) -> Result<Bound<'py, PyAny>> {
        let len = ffi::Py_ssize_t::try_from(data.len()).map_err(|_| Error::Memory)?;
        let size = size_of::<Header>().checked_add(data.len()).ok_or(Error::Memory)?;
        let details =
            about.details.map_or(ptr::null(), |details| Arc::into_raw(Arc::clone(details)));
        // SAFETY: the memory is `size` bytes from Python's object allocator, aligned for any object:
        // the header, then room for all of `data`. Every field of the header is set before anybody
        // sees the object, its object part by `PyObject_InitVar`, which takes a reference to the
        // class as `dealloc` gives one back. The class is alive: it is never freed.
        unsafe {
            let header = ffi::PyObject_Malloc(size).cast::<Header>();
            if header.is_null() {
                drop((!details.is_null()).then(|| Arc::from_raw(details)));
                return Err(Error::Memory);
            }
            (&raw mut (*header).details).write(details);
            (&raw mut (*header).flags).write(about.flags);
            (&raw mut (*header).name).write(about.name);
            let payload = header.add(1).cast::<u8>();
            ptr::copy_nonoverlapping(data.as_ptr(), payload, data.len());
            let object = ffi::PyObject_InitVar(header.cast(), self.class.as_type_ptr(), len);
            Ok(Bound::from_owned_ptr(self.class.py(), object.cast()))
        }
    }
}

/// A datagram that is alive, as its slots are handed it.
#[derive(Clone, Copy)]
struct Datagram<'a> {
    header: &'a Header,
    payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// # Safety
    /// `object` is an instance of the class that stays alive for `'a`.
    unsafe fn from_ptr(object: *mut ffi::PyObject) -> Self {
        let start = object.cast::<Header>();
        // SAFETY: instances come from `Maker::make` alone (the class cannot be called or derived
        // from): a header, then as many bytes as the object's size says. Neither ever changes.
        unsafe {
            let len = usize::try_from((*start).object.ob_size).unwrap_or(0);
            let payload = std::slice::from_raw_parts(start.add(1).cast::<u8>(), len);
            Self { header: &*start, payload }
        }
    }

    fn details(self) -> Option<&'a Details> {
        // SAFETY: null, or from `Arc::into_raw`, whose count this object holds a share of.
        unsafe { self.header.details.as_ref() }
    }

    fn metadata<T>(self, field: impl FnOnce(&Metadata) -> Option<T>) -> Option<T> {
        self.details().and_then(|details| field(&details.metadata))
    }

    fn data<'py>(self, py: Python<'py>) -> Returned<'py> {
        Ok(PyBytes::new(py, self.payload).into_any())
    }

    fn address<'py>(self, py: Python<'py>) -> Returned<'py> {
        let name = match self.details() {
            Some(details) if !details.long_name.is_empty() => &details.long_name,
            _ => self.short_name(),
        };
        Ok(address::to_python(py, &sockaddr::from_kernel(name))?)
    }

    fn short_name(self) -> &'a [u8] {
        if self.header.name.iter().all(|&byte| byte == 0) { &[] } else { &self.header.name }
    }

    fn ancdata<'py>(self, py: Python<'py>) -> Returned<'py> {
        let list = PyList::empty(py);
        for item in Messages::new(self.details().map_or(&[], |details| &details.control)) {
            if let Item::Whole(message) | Item::Truncated(message) = item {
                list.append((message.level, message.kind, PyBytes::new(py, message.data)))?;
            }
        }
        Ok(list.into_any())
    }

    fn text<'py>(self, py: Python<'py>) -> Returned<'py> {
        let (count, address) = (self.payload.len(), self.address(py)?.repr()?);
        let text = format!("<rsnet.Datagram of {count} bytes from {address}>");
        Ok(text.into_pyobject(py)?.into_any())
    }

    fn pair<'py>(self, py: Python<'py>) -> Returned<'py> {
        let pair = (self.data(py)?, self.address(py)?).into_pyobject(py)?;
        Ok(pair.try_iter()?.into_any())
    }
}

/// Runs `read` for the interpreter.
///
/// # Safety
/// The interpreter is held, and `object` is an instance of the class that stays alive meanwhile.
unsafe fn enter(
    object: *mut ffi::PyObject,
    read: impl for<'a, 'py> FnOnce(Datagram<'a>, Python<'py>) -> Returned<'py>,
) -> *mut ffi::PyObject {
    // SAFETY: as the caller promises.
    let (py, datagram) = unsafe { (Python::assume_attached(), Datagram::from_ptr(object)) };
    errors::to_interpreter(py, panic::catch_unwind(AssertUnwindSafe(|| read(datagram, py))))
}

/// An attribute: name, doc string, and what it reads.
macro_rules! attribute {
    ($name:literal, $doc:literal, $read:expr) => {{
        unsafe extern "C" fn get(this: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
            // SAFETY: called by the interpreter for an instance of the class.
            unsafe { enter(this, $read) }
        }
        ffi::PyGetSetDef {
            name: $name.as_ptr(),
            get: Some(get),
            set: None,
            doc: $doc.as_ptr(),
            closure: ptr::null_mut(),
        }
    }};
}

fn object_of<'py, T: IntoPyObjectExt<'py>>(py: Python<'py>, value: T) -> Returned<'py> {
    value.into_bound_py_any(py)
}

fn attributes() -> Vec<ffi::PyGetSetDef> {
    vec![
        attribute!(c"data", c"The payload, as bytes.", |it, py| it.data(py)),
        attribute!(c"nbytes", c"The length of the payload in bytes.", |it, py| {
            object_of(py, it.payload.len())
        }),
        attribute!(c"address", c"The sender's address, as recvfrom() gives it.", |it, py| {
            it.address(py)
        }),
        attribute!(c"flags", c"MSG_TRUNC and the like, as recvmsg() gives them.", |it, py| {
            object_of(py, it.header.flags)
        }),
        attribute!(
            c"ancdata",
            c"The control messages, as recvmsg() gives them; [] without ancbufsize.",
            |it, py| it.ancdata(py)
        ),
        attribute!(
            c"timestamp_ns",
            c"When the kernel received it, in ns since the epoch; None unless asked for.",
            |it, py| object_of(py, it.metadata(|metadata| metadata.timestamp_ns))
        ),
        attribute!(
            c"destination",
            c"The address it was sent to, as str; None unless asked for.",
            |it, py| {
                let address = it.metadata(|metadata| metadata.destination);
                object_of(py, address.map(|address| address.to_string()))
            }
        ),
        attribute!(
            c"interface_index",
            c"The interface it came through (see if_indextoname); None unless asked for.",
            |it, py| object_of(py, it.metadata(|metadata| metadata.interface_index))
        ),
        attribute!(
            c"ttl",
            c"What was left of its time to live or hop limit; None unless asked for.",
            |it, py| object_of(py, it.metadata(|metadata| metadata.ttl))
        ),
        attribute!(
            c"tos",
            c"Type of service or traffic class, DSCP and ECN; None unless asked for.",
            |it, py| object_of(py, it.metadata(|metadata| metadata.tos))
        ),
        attribute!(
            c"ecn",
            c"Explicit congestion notification, 0 to 3 (RFC 3168); None unless asked for.",
            |it, py| object_of(py, it.metadata(|metadata| metadata.tos.map(|tos| tos & 3)))
        ),
    ]
}

unsafe extern "C" fn dealloc(this: *mut ffi::PyObject) {
    // SAFETY: called by the interpreter once, for an instance that nobody refers to any more. The
    // share of the details and the reference to the class are the instance's own.
    unsafe {
        let details = (*this.cast::<Header>()).details;
        drop((!details.is_null()).then(|| Arc::from_raw(details)));
        let class = ffi::Py_TYPE(this);
        ffi::PyObject_Free(this.cast());
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn repr(this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter for an instance of the class.
    unsafe { enter(this, |it, py| it.text(py)) }
}

unsafe extern "C" fn iter(this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter for an instance of the class.
    unsafe { enter(this, |it, py| it.pair(py)) }
}

unsafe extern "C" fn getbuffer(
    this: *mut ffi::PyObject,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> c_int {
    const READ_ONLY: c_int = 1;
    // SAFETY: called by the interpreter for an instance of the class, which the view keeps alive;
    // the payload is read only.
    unsafe {
        let payload = Datagram::from_ptr(this).payload;
        let start = payload.as_ptr().cast_mut().cast();
        let len = (*this.cast::<Header>()).object.ob_size;
        ffi::PyBuffer_FillInfo(view, this, start, len, READ_ONLY, flags)
    }
}

const DOC: &CStr = c"One received datagram, as recvmmsg() gives it.

Its bytes are read through the buffer protocol (memoryview(datagram), sendto(datagram, ...)) or as
`data`; `data, address = datagram` unpacks it as recvfrom() does. The fields that tell when, whence
and how it came are None unless the socket's `metadata` is on.

Source: recvmmsg(2), recvmsg(2), ip(7), ipv6(7), socket(7).

>>> import rsnet
>>> a, b = rsnet.socketpair(rsnet.AF_UNIX, rsnet.SOCK_DGRAM)
>>> a.sendmmsg([b'one', b'two'])
2
>>> [datagram.data for datagram in b.recvmmsg(16, 2048)]
[b'one', b'two']
>>> a.close(), b.close()
(None, None)
";

/// The class, made when it is first needed and never freed.
pub fn class(py: Python<'_>) -> Result<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    Ok(CLASS.get_or_try_init(py, || make_class(py))?.bind(py))
}

fn make_class(py: Python<'_>) -> PyResult<Py<PyType>> {
    let mut attributes = attributes();
    // SAFETY: all zeros end the table.
    attributes.push(unsafe { std::mem::zeroed() });
    let attributes = Box::leak(attributes.into_boxed_slice());
    let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_iter, iter as *mut c_void),
        slot(ffi::Py_bf_getbuffer, getbuffer as *mut c_void),
        slot(ffi::Py_tp_getset, attributes.as_mut_ptr().cast()),
        slot(ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"rsnet.Datagram".as_ptr(),
        basicsize: c_int::try_from(size_of::<Header>()).unwrap_or(c_int::MAX),
        itemsize: 1,
        flags: FLAGS,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: a spec whose name, slots and tables are valid; the name, the attributes and the doc
    // string are never freed. Each function has its slot's signature. The result is a new type or
    // an exception.
    unsafe {
        let made = ffi::PyType_FromSpec(&raw mut spec);
        Ok(Bound::from_owned_ptr_or_err(py, made)?.cast_into_unchecked().unbind())
    }
}

/// Not to be called, derived from or changed: every instance is one of ours.
#[allow(clippy::cast_possible_truncation, reason = "the flags are 32 bits by definition")]
const FLAGS: std::ffi::c_uint = (ffi::Py_TPFLAGS_DEFAULT
    | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION
    | ffi::Py_TPFLAGS_IMMUTABLETYPE) as std::ffi::c_uint;
