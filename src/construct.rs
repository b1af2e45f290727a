//! How a socket comes to be: made by the kernel, or around a descriptor that is there already.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use rsnet_core::errno::{self, Errno};
use rsnet_core::sockaddr::AddressBuffer;
use rsnet_core::sys;

use crate::arguments;
use crate::audit;
use crate::call;
use crate::errors::{Error, Result};
use crate::instance;
use crate::options;
use crate::recvmmsg;
use crate::socket::{Socket, This, is_native};

/// What a socket is made as.
struct Made {
    family: c_int,
    kind: c_int,
    proto: c_int,
    default_timeout_ns: i64,
    left_to_kernel: bool,
}

#[pymethods]
impl Socket {
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    #[pyo3(text_signature = "(family=-1, type=-1, proto=-1, fileno=None)")]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        let socket = Self::default();
        socket.set_timeout_ns(-1);
        socket
    }

    #[pyo3(signature = (*arguments, **keywords))]
    fn __init__(
        this: This<'_, '_>,
        arguments: &Bound<'_, PyTuple>,
        keywords: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        match Given::from_call(arguments, keywords)? {
            Some(given) => Ok(initialize(this, given)?),
            // The standard class says what is wrong with the shape of the call, in its own words.
            None => {
                let all = [this.as_any().clone()].into_iter().chain(arguments.iter());
                let all = PyTuple::new(this.py(), all.collect::<Vec<_>>())?;
                instance::standard_class(this.py())?
                    .getattr("__init__")?
                    .call(all, keywords)
                    .map(drop)
            }
        }
    }

    #[getter(_io_refs)]
    fn get_io_refs(this: This<'_, '_>) -> PyResult<i64> {
        made(this, "_io_refs")?;
        Ok(this.get().io_refs())
    }

    #[setter(_io_refs)]
    fn py_set_io_refs(&self, io_refs: i64) {
        self.set_io_refs(io_refs);
    }

    #[getter(_closed)]
    fn get_closed(this: This<'_, '_>) -> PyResult<bool> {
        made(this, "_closed")?;
        Ok(this.get().closed())
    }

    #[setter(_closed)]
    fn py_set_closed(&self, closed: bool) {
        self.set_closed(closed);
    }

    /// The socket family.
    #[getter(family)]
    fn get_family(&self) -> c_int {
        self.family()
    }

    /// The socket type.
    #[getter(r#type)]
    fn get_type(&self) -> c_int {
        self.kind()
    }

    /// The socket protocol.
    #[getter(proto)]
    fn get_proto(&self) -> c_int {
        self.proto()
    }

    /// The socket timeout.
    #[getter(timeout)]
    fn get_timeout(&self) -> Option<f64> {
        options::seconds(self.timeout_ns())
    }

    /// Receive offload for recvmmsg(): the kernel joins UDP datagrams of one sender (UDP_GRO).
    #[getter]
    fn get_gro(this: This<'_, '_>) -> PyResult<bool> {
        Ok(recvmmsg::gro(this)?)
    }

    #[setter(gro)]
    fn py_set_gro(this: This<'_, '_>, on: &Bound<'_, PyAny>) -> PyResult<()> {
        Ok(recvmmsg::set_gro(this, on.is_truthy()?)?)
    }

    /// What recvmmsg() tells of each datagram: time, destination, interface, TTL, TOS.
    #[getter]
    fn get_metadata(this: This<'_, '_>) -> PyResult<bool> {
        Ok(recvmmsg::metadata(this)?)
    }

    #[setter(metadata)]
    fn py_set_metadata(this: This<'_, '_>, on: &Bound<'_, PyAny>) -> PyResult<()> {
        Ok(recvmmsg::set_metadata(this, on.is_truthy()?)?)
    }

    fn __repr__(&self) -> String {
        let (fd, family) = (self.descriptor().fd(), self.family());
        let (kind, proto) = (self.get_type(), self.get_proto());
        format!("<socket object, fd={fd}, family={family}, type={kind}, proto={proto}>")
    }
}

/// An object that `__init__` has not seen yet lacks what CPython's `__init__` sets.
pub fn made(this: This<'_, '_>, attribute: &'static str) -> Result<()> {
    // Of the types 0 is one: a descriptor can be adopted as it. Of the class's families it is none.
    if this.get().family() != 0 {
        return Ok(());
    }
    Err(Error::Attribute(arguments::type_name(this.as_any()), attribute))
}

/// The arguments of the constructor.
struct Given<'py> {
    family: Option<Bound<'py, PyAny>>,
    kind: Option<Bound<'py, PyAny>>,
    proto: Option<Bound<'py, PyAny>>,
    fileno: Option<Bound<'py, PyAny>>,
}

impl<'py> Given<'py> {
    const NAMES: [&'static str; 4] = ["family", "type", "proto", "fileno"];

    /// None if there are too many, one is given twice, or one has another name.
    fn from_call(
        arguments: &Bound<'py, PyTuple>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Self>> {
        let mut given = [const { None }; 4];
        if arguments.len() > given.len() {
            return Ok(None);
        }
        for (place, argument) in given.iter_mut().zip(arguments.iter()) {
            *place = Some(argument);
        }
        for (name, value) in keywords.into_iter().flat_map(PyDictMethods::iter) {
            let name = name.cast::<PyString>()?;
            let index = Self::NAMES.iter().position(|known| name == known);
            match index.and_then(|index| given.get_mut(index)) {
                Some(place @ None) => *place = Some(value),
                _ => return Ok(None),
            }
        }
        let [family, kind, proto, fileno] = given;
        let fileno = fileno.filter(|fileno| !fileno.is_none());
        Ok(Some(Self { family, kind, proto, fileno }))
    }

    /// The family, or None if it takes the descriptor or the standard class to know it.
    fn plain_family(&self) -> Option<c_int> {
        match &self.family {
            None => self.fileno.is_none().then_some(libc::AF_INET),
            Some(family) if is_minus_one(family) => self.fileno.is_none().then_some(libc::AF_INET),
            Some(family) => arguments::number(family).ok(),
        }
    }
}

/// As CPython asks it in Python: -1.0 is no integer, and stands for the default all the same.
fn is_minus_one(argument: &Bound<'_, PyAny>) -> bool {
    match arguments::plain_number(argument) {
        Some(number) => number == -1,
        None => argument.eq(-1).unwrap_or(false),
    }
}

fn number_or(argument: Option<&Bound<'_, PyAny>>, default: c_int) -> Result<c_int> {
    if default != -1 && argument.is_some_and(is_minus_one) {
        return Ok(default);
    }
    match argument.map_or(Ok(-1), arguments::number)? {
        -1 => Ok(default),
        number => Ok(number),
    }
}

fn initialize(this: This<'_, '_>, given: Given<'_>) -> Result<()> {
    let py = this.py();
    let socket = this.get();
    let usual =
        if given.fileno.is_none() { [libc::AF_INET, libc::SOCK_STREAM, 0] } else { [-1; 3] };
    let family = number_or(given.family.as_ref(), usual[0])?;
    let kind = number_or(given.kind.as_ref(), usual[1])?;
    let proto = number_or(given.proto.as_ref(), usual[2])?;
    audit::of_socket(this, family, kind, proto)?;
    match &given.fileno {
        Some(fileno) => adopt(py, socket, family, kind, proto, fileno)?,
        None => create(py, socket, family, kind, proto)?,
    }
    socket.set_io_refs(0);
    socket.set_closed(false);
    Ok(())
}

fn create(py: Python<'_>, socket: &Socket, family: c_int, kind: c_int, proto: c_int) -> Result<()> {
    let default_timeout_ns = options::default_timeout_ns(py)?;
    let made = Made { family, kind, proto, default_timeout_ns, left_to_kernel: false };
    let fd = call::in_a_moment(py, || sys::socket(family, kind, proto))?;
    // After the kernel, which may refuse the type or the protocol as it does for CPython.
    refuse_foreign(family)?;
    settle(socket, fd.as_raw_fd(), &made)?;
    socket.descriptor().adopt(fd.into_raw_fd());
    Ok(())
}

fn adopt(
    py: Python<'_>,
    socket: &Socket,
    family: c_int,
    kind: c_int,
    proto: c_int,
    fileno: &Bound<'_, PyAny>,
) -> Result<()> {
    let fd = arguments::descriptor(fileno)?;
    if fd < 0 {
        return Err(Error::Value("negative file descriptor"));
    }
    let made = Made {
        family: family_of(fd, family)?,
        kind: option_unless_given(fd, kind, libc::SO_TYPE)?,
        proto: option_unless_given(fd, proto, libc::SO_PROTOCOL)?,
        default_timeout_ns: options::default_timeout_ns(py)?,
        left_to_kernel: options::has_low_water_mark(fd),
    };
    refuse_foreign(made.family)?;
    settle(socket, fd, &made)?;
    socket.descriptor().adopt(fd);
    Ok(())
}

/// A connection just accepted, as an object of the class: what its constructor would find out is
/// known here.
pub fn accepted<'py>(
    listener: This<'_, 'py>,
    class: &Bound<'py, PyType>,
    fd: OwnedFd,
) -> Result<Bound<'py, PyAny>> {
    let py = listener.py();
    let from = listener.get();
    let this = instance::allocate(class)?;
    let made = Made {
        family: from.family(),
        kind: from.kind(),
        proto: from.proto(),
        default_timeout_ns: options::default_timeout_ns(py)?,
        // Accepted sockets inherit the listener's options.
        left_to_kernel: from.is_left_to_kernel(),
    };
    audit::of_socket(&this, made.family, made.kind, made.proto)?;
    settle(this.get(), fd.as_raw_fd(), &made)?;
    this.get().descriptor().adopt(fd.into_raw_fd());
    Ok(this.into_any())
}

fn settle(socket: &Socket, fd: RawFd, made: &Made) -> errno::Result<()> {
    socket.set_made_as(made.family, made.kind, made.proto);
    socket.leave_to_kernel(made.left_to_kernel);
    if made.kind & libc::SOCK_NONBLOCK != 0 {
        socket.set_timeout_ns(0);
        return Ok(());
    }
    socket.set_timeout_ns(made.default_timeout_ns);
    if made.default_timeout_ns >= 0 { sys::set_nonblocking(fd, true) } else { Ok(()) }
}

/// A subclass of `rsnet.socket` cannot become an instance of the standard class.
fn refuse_foreign(family: c_int) -> Result<()> {
    if is_native(family) { Ok(()) } else { Err(Errno(libc::EAFNOSUPPORT).into()) }
}

/// The family asked for, or the descriptor's own; and that it is a socket's.
fn family_of(fd: RawFd, family: c_int) -> errno::Result<c_int> {
    let mut address = AddressBuffer::default();
    match sys::getsockname(fd, &mut address) {
        Ok(()) if family == -1 => Ok(address.family()),
        Ok(()) => Ok(family),
        // AF_ALG knows no getsockname.
        Err(Errno(error)) if family != -1 && !matches!(error, libc::EBADF | libc::ENOTSOCK) => {
            Ok(family)
        }
        Err(error) => Err(error),
    }
}

fn option_unless_given(fd: RawFd, given: c_int, option: c_int) -> errno::Result<c_int> {
    if given == -1 { sys::getsockopt_int(fd, libc::SOL_SOCKET, option) } else { Ok(given) }
}

/// `socket.__new__`: an instance of the class, or, for families that it does not speak, of the
/// standard class.
///
/// Parameters: cls, the class; then whatever its `__init__` takes.
///
/// Returns an instance. Only the class itself hands out standard sockets, its subclasses do not.
///
/// Raises what the standard class raises for arguments in error.
///
/// Source: CPython's socket.socket.
///
/// >>> import rsnet, socket
/// >>> with rsnet.socket(rsnet.AF_NETLINK, rsnet.SOCK_RAW) as sock:
/// ...     type(sock) is socket.socket
/// True
#[pyfunction]
#[pyo3(signature = (cls, *arguments, **keywords))]
#[pyo3(text_signature = "(cls, family=-1, type=-1, proto=-1, fileno=None)")]
pub fn new_socket<'py>(
    cls: &Bound<'py, PyType>,
    arguments: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = cls.py();
    if instance::is_the_class(cls) && is_foreign(arguments, keywords)? {
        return instance::standard_class(py)?.call(arguments, keywords);
    }
    Ok(instance::allocate(cls)?.into_any())
}

fn is_foreign<'py>(
    arguments: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<bool> {
    let Some(given) = Given::from_call(arguments, keywords)? else {
        return Ok(true);
    };
    Ok(match (given.plain_family(), &given.fileno) {
        (Some(family), _) => !is_native(family),
        (None, Some(fileno)) => !is_native_descriptor(fileno),
        (None, None) => true,
    })
}

/// True if the object is the number of an open socket of a family that the class speaks.
fn is_native_descriptor(fileno: &Bound<'_, PyAny>) -> bool {
    let fd = fileno.extract::<c_int>();
    fd.is_ok_and(|fd| family_of(fd, -1).is_ok_and(is_native))
}
