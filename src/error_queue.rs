//! recverr: what the network says of datagrams that were sent, from the socket's error queue.

use std::ffi::{CStr, c_int};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use rsnet_core::errno::Errno;
use rsnet_core::metadata::{self, Metadata};
use rsnet_core::sockaddr::AddressBuffer;
use rsnet_core::sys::{self, WritableMemory};

use crate::address;
use crate::arguments::{self, Arguments, Signature};
use crate::call;
use crate::errors::{Error, Result, Returned};
use crate::socket::This;

/// One error from a socket's error queue, as `recverr()` gives it.
///
/// errno: the error, ECONNREFUSED for a closed port. origin: 1 this machine, 2 ICMP, 3 ICMPv6, 4 a
/// transmit timestamp. type, code: those of the ICMP message. info: with EMSGSIZE, the path's MTU.
/// offender: the address of whoever sent the ICMP message, or None. destination: the address that
/// the datagram was sent to, or None. data: the beginning of that datagram's payload. timestamp_ns:
/// when the error came, if the socket's `metadata` is on.
///
/// Source: ip(7) and ipv6(7), IP_RECVERR.
///
/// >>> import rsnet
/// >>> rsnet.QueuedError.__module__
/// 'rsnet'
#[pyclass(frozen, get_all, module = "rsnet")]
pub struct QueuedError {
    errno: c_int,
    origin: u8,
    r#type: u8,
    code: u8,
    info: u32,
    offender: Py<PyAny>,
    destination: Py<PyAny>,
    data: Py<PyBytes>,
    timestamp_ns: Option<i64>,
}

#[pymethods]
impl QueuedError {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let text = sys::strerror(Errno(self.errno));
        let (kind, code) = (self.r#type, self.code);
        let destination = self.destination.bind(py).repr()?;
        let offender = self.offender.bind(py).repr()?;
        let origin = match self.origin {
            1 => String::from("local"),
            2 => format!("ICMP type {kind} code {code} from {offender}"),
            3 => format!("ICMPv6 type {kind} code {code} from {offender}"),
            4 => String::from("timestamp"),
            other => format!("origin {other}"),
        };
        Ok(format!("<rsnet.QueuedError {text}: {origin}, sent to {destination}>"))
    }
}

pub const DOC: &CStr = c"recverr($self, /, count=64)
--

Take the errors that wait in the socket's error queue. Never blocks.

count: the most errors to take.

Returns a list of rsnet.QueuedError; an empty one if none wait. Errors are queued once
setsockopt(IPPROTO_IP, IP_RECVERR, 1) is set (IPPROTO_IPV6, IPV6_RECVERR for INET6).

Raises ValueError for a negative count, OSError for what the kernel says.

Source: recvmsg(2), MSG_ERRQUEUE; ip(7), IP_RECVERR.

>>> import rsnet, select
>>> with rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM) as closed:
...     closed.bind(('127.0.0.1', 0))
...     nobody = closed.getsockname()
>>> with rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM) as sock:
...     sock.setsockopt(rsnet.IPPROTO_IP, rsnet.IP_RECVERR, 1)
...     sock.sendto(b'anybody?', nobody)
...     [(error.type, error.code, error.data) for error in sock.recverr()]
8
[(3, 3, b'anybody?')]
";

/// Enough for the datagram of a usual MTU; what is longer is cut.
const PAYLOAD_BYTES: usize = 2048;

pub fn recverr<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    const SIGNATURE: Signature<1> =
        Signature { method: "recverr", names: ["count"], positional: 1, required: 0 };
    const USUAL_COUNT: usize = 64;
    let [count] = SIGNATURE.bind(&given)?;
    let negative = "negative count in recverr";
    let count = count.map_or(Ok(USUAL_COUNT), |count| arguments::size(&count, negative))?;
    let list = PyList::empty(this.py());
    call::brief(this.py(), this.get(), |_| Ok(()))?;
    if this.get().family() == libc::AF_UNIX {
        // There is no such queue: the kernel would give what waits to be received.
        return Ok(list.into_any());
    }
    while list.len() < count {
        let Some(error) = take(this)? else { break };
        list.append(Bound::new(this.py(), error)?)?;
    }
    Ok(list.into_any())
}

/// One error; `None` if there is none.
fn take(this: This<'_, '_>) -> Result<Option<QueuedError>> {
    let py = this.py();
    let mut payload = [0; PAYLOAD_BYTES];
    let part = WritableMemory { start: payload.as_mut_ptr(), len: payload.len() };
    let mut control = vec![0; 2 * metadata::CONTROL_BYTES];
    let mut to = AddressBuffer::default();
    to.clear();
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    let received = call::brief(this.py(), this.get(), |fd| {
        sys::recvmsg(fd, &[part], &mut control, &mut to, flags)
    });
    let received = match received {
        Err(Error::Errno(error)) if error.would_block() => return Ok(None),
        other => other?,
    };
    let control = control.get(..received.control_bytes).unwrap_or_default();
    let Some(error) = metadata::QueuedError::from_control(control) else {
        return Ok(None);
    };
    let data = payload.get(..received.bytes).unwrap_or(&payload);
    Ok(Some(QueuedError {
        errno: error.errno,
        origin: error.origin,
        r#type: error.kind,
        code: error.code,
        info: error.info,
        offender: address::to_python(py, &error.offender)?.unbind(),
        destination: address::to_python(py, &to.address())?.unbind(),
        data: PyBytes::new(py, data).unbind(),
        timestamp_ns: Metadata::from_control(control).timestamp_ns,
    }))
}
