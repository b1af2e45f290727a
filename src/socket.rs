//! The native half of the class: what CPython's `_socket.socket` is to `socket.socket`. Its methods
//! stand in transfer.rs, message.rs and options.rs, by subject, and are laid over it by entry.rs.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use rsnet_core::descriptor::Descriptor;
use rsnet_core::errno::{self, Errno};
use rsnet_core::sockaddr::AddressBuffer;
use rsnet_core::sys;
use rsnet_core::timeout::Timeout;

use crate::arguments;
use crate::call;
use crate::errors::{Error, Result};
use crate::options;

/// The families that this class speaks. `rsnet.socket(...)` hands out the standard class for all
/// others.
pub fn is_native(family: c_int) -> bool {
    matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX)
}

/// A socket: a descriptor, its timeout, and what it was made as.
#[pyclass(frozen, subclass, name = "socket", module = "_rsnet")]
#[derive(Default)]
pub struct Socket {
    descriptor: Descriptor,
    timeout_ns: AtomicI64,
    family: AtomicI32,
    kind: AtomicI32,
    proto: AtomicI32,
    left_to_kernel: AtomicBool,
}

impl Socket {
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    pub fn timeout(&self) -> Timeout {
        Timeout::from_ns(self.timeout_ns())
    }

    /// The timeout in nanoseconds; negative for none.
    pub fn timeout_ns(&self) -> i64 {
        self.timeout_ns.load(Ordering::Relaxed)
    }

    pub fn set_timeout_ns(&self, timeout_ns: i64) {
        self.timeout_ns.store(timeout_ns, Ordering::Relaxed);
    }

    pub fn family(&self) -> c_int {
        self.family.load(Ordering::Relaxed)
    }

    pub fn is_stream(&self) -> bool {
        self.kind.load(Ordering::Relaxed) == libc::SOCK_STREAM
    }

    /// True if the kernel's own timeouts are in use on the descriptor, so that blocking calls are
    /// made as they are.
    pub fn is_left_to_kernel(&self) -> bool {
        self.left_to_kernel.load(Ordering::Relaxed)
    }

    pub fn leave_to_kernel(&self, leave: bool) {
        self.left_to_kernel.store(leave, Ordering::Relaxed);
    }

    fn settle(&self, fd: RawFd, made: &Made) -> errno::Result<()> {
        self.family.store(made.family, Ordering::Relaxed);
        let kind = made.kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
        self.kind.store(kind, Ordering::Relaxed);
        self.proto.store(made.proto, Ordering::Relaxed);
        self.leave_to_kernel(made.left_to_kernel);
        if made.kind & libc::SOCK_NONBLOCK != 0 {
            self.set_timeout_ns(0);
        } else {
            self.set_timeout_ns(made.default_timeout_ns);
            if made.default_timeout_ns >= 0 {
                sys::set_nonblocking(fd, true)?;
            }
        }
        Ok(())
    }
}

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
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        let socket = Self::default();
        socket.set_timeout_ns(-1);
        socket
    }

    #[pyo3(signature = (family = -1, r#type = -1, proto = -1, fileno = None))]
    fn __init__(
        this: &Bound<'_, Self>,
        family: c_int,
        r#type: c_int,
        proto: c_int,
        fileno: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        audit(this.py(), "socket.__new__", (this, family, r#type, proto))?;
        match fileno {
            Some(fileno) => adopt(this, family, r#type, proto, fileno)?,
            None => create(this, family, r#type, proto)?,
        }
        Ok(())
    }

    /// The socket family.
    #[getter(family)]
    fn get_family(&self) -> c_int {
        self.family()
    }

    /// The socket type.
    #[getter(r#type)]
    fn get_type(&self) -> c_int {
        self.kind.load(Ordering::Relaxed)
    }

    /// The socket protocol.
    #[getter(proto)]
    fn get_proto(&self) -> c_int {
        self.proto.load(Ordering::Relaxed)
    }

    /// The socket timeout.
    #[getter(timeout)]
    fn get_timeout(&self) -> Option<f64> {
        options::seconds(self.timeout_ns())
    }

    fn __repr__(&self) -> String {
        let (fd, family) = (self.descriptor.fd(), self.family());
        let (kind, proto) = (self.get_type(), self.get_proto());
        format!("<socket object, fd={fd}, family={family}, type={kind}, proto={proto}>")
    }
}

/// Raises an audit event (PEP 578) with CPython's name and arguments.
pub fn audit<'py>(
    py: Python<'py>,
    event: &str,
    arguments: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> PyResult<()> {
    static AUDIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let audit = AUDIT.import(py, "sys", "audit")?;
    let arguments = arguments.into_pyobject(py)?;
    let mut all = vec![event.into_pyobject(py)?.into_any()];
    all.extend(arguments.iter());
    audit.call1(PyTuple::new(py, all)?).map(drop)
}

fn create(this: &Bound<'_, Socket>, family: c_int, kind: c_int, proto: c_int) -> Result<()> {
    let default = |value, usual| if value == -1 { usual } else { value };
    let made = Made {
        family: default(family, libc::AF_INET),
        kind: default(kind, libc::SOCK_STREAM),
        proto: default(proto, 0),
        default_timeout_ns: options::default_timeout_ns(this.py())?,
        left_to_kernel: false,
    };
    refuse_foreign(made.family)?;
    let work = || sys::socket(made.family, made.kind, made.proto);
    let fd = call::without_interpreter(this.py(), work)?;
    let socket = this.get();
    socket.settle(fd.as_raw_fd(), &made)?;
    socket.descriptor.adopt(fd.into_raw_fd());
    Ok(())
}

fn adopt(
    this: &Bound<'_, Socket>,
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
        default_timeout_ns: options::default_timeout_ns(this.py())?,
        left_to_kernel: options::has_kernel_timeouts(fd),
    };
    refuse_foreign(made.family)?;
    let socket = this.get();
    socket.settle(fd, &made)?;
    socket.descriptor.adopt(fd);
    Ok(())
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

/// True if a `fileno` argument names an open socket of a family that this class speaks.
///
/// Parameters: fileno, any object.
///
/// Returns a bool; False for everything that is no such descriptor, whatever the reason.
///
/// Raises nothing.
///
/// Source: getsockname(2).
///
/// >>> from rsnet import _rsnet
/// >>> _rsnet.is_native_descriptor(-1)
/// False
#[pyfunction]
pub fn is_native_descriptor(fileno: &Bound<'_, PyAny>) -> bool {
    let fd = fileno.extract::<c_int>();
    fd.is_ok_and(|fd| family_of(fd, -1).is_ok_and(is_native))
}
