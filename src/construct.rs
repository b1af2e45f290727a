//! How a socket comes to be: made by the kernel, or around a descriptor that is there already.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rsnet_core::errno::{self, Errno};
use rsnet_core::sockaddr::AddressBuffer;
use rsnet_core::sys;

use crate::arguments;
use crate::audit::audit;
use crate::call;
use crate::errors::{Error, Result};
use crate::options;
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
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        let socket = Self::default();
        socket.set_timeout_ns(-1);
        socket
    }

    #[pyo3(signature = (family = -1, r#type = -1, proto = -1, fileno = None))]
    fn __init__(
        this: This<'_, '_>,
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

    fn __repr__(&self) -> String {
        let (fd, family) = (self.descriptor().fd(), self.family());
        let (kind, proto) = (self.get_type(), self.get_proto());
        format!("<socket object, fd={fd}, family={family}, type={kind}, proto={proto}>")
    }
}

fn create(this: This<'_, '_>, family: c_int, kind: c_int, proto: c_int) -> Result<()> {
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
    settle(socket, fd.as_raw_fd(), &made)?;
    socket.descriptor().adopt(fd.into_raw_fd());
    Ok(())
}

fn adopt(
    this: This<'_, '_>,
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
    settle(socket, fd, &made)?;
    socket.descriptor().adopt(fd);
    Ok(())
}

fn settle(socket: &Socket, fd: RawFd, made: &Made) -> errno::Result<()> {
    socket.set_made_as(made.family, made.kind, made.proto);
    socket.leave_to_kernel(made.left_to_kernel);
    if made.kind & libc::SOCK_NONBLOCK != 0 {
        socket.set_timeout_ns(0);
        return Ok(());
    }
    socket.set_timeout_ns(made.default_timeout_ns);
    if made.default_timeout_ns >= 0 {
        sys::set_nonblocking(fd, true)
    } else {
        Ok(())
    }
}

/// A subclass of `rsnet.socket` cannot become an instance of the standard class.
fn refuse_foreign(family: c_int) -> Result<()> {
    if is_native(family) {
        Ok(())
    } else {
        Err(Errno(libc::EAFNOSUPPORT).into())
    }
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
    if given == -1 {
        sys::getsockopt_int(fd, libc::SOL_SOCKET, option)
    } else {
        Ok(given)
    }
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
