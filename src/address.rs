//! Addresses between Python's tuples, strings and bytes, and the kernel's structures.

use std::ffi::{CString, c_int};
use std::net::IpAddr;

use pyo3::exceptions::PyOverflowError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyInt, PyString, PyTuple};
use rsnet_core::resolver;
use rsnet_core::sockaddr::{self, Address};
use rsnet_core::sys;
use socket2::SockAddr;

use crate::arguments;
use crate::call;
use crate::errors::{self, Error, Result};

/// The address argument of `caller` (a method's name, for the error's text), for a socket of
/// `family`.
pub fn argument(family: c_int, object: &Bound<'_, PyAny>, caller: &str) -> Result<SockAddr> {
    from_python(family, object, caller).map_err(|error| match error {
        Error::Host(_) => names_peer(error, caller, object),
        other => other,
    })
}

/// The error with a note that says what was being done, and with whom.
pub fn names_peer(error: Error, doing: &str, peer: &Bound<'_, PyAny>) -> Error {
    errors::noted(peer.py(), error, || {
        let peer = peer.repr().map_or_else(|_| String::from("?"), |repr| repr.to_string());
        format!("{doing} {peer}")
    })
}

fn from_python(family: c_int, object: &Bound<'_, PyAny>, caller: &str) -> Result<SockAddr> {
    match family {
        libc::AF_INET => inet(object, caller),
        libc::AF_INET6 => inet6(object, caller),
        libc::AF_UNIX => unix(object),
        // An object that `__init__` has not reached, or whose `__init__` refused the family.
        _ => Err(Error::OsMessage(format!("{caller}(): bad family"))),
    }
}

/// An address as CPython gives it: None, `(host, port)`, `(host, port, flowinfo, scope_id)`, a
/// path as str, an abstract name as bytes, or `(family, bytes)` for what nobody knows.
pub fn to_python<'py>(py: Python<'py>, address: &Address) -> Result<Bound<'py, PyAny>> {
    let object = match address {
        Address::None => py.None().into_bound(py),
        Address::V4(address) => last::received(py, *address, || {
            let mut room = [0; 15];
            PyString::new(py, sockaddr::ipv4_text(*address.ip(), &mut room)).into_any()
        })?,
        Address::V6(address) => {
            let host = sys::inet6_ntop(&address.ip().octets());
            (PyString::new(py, &host), address.port(), address.flowinfo(), address.scope_id())
                .into_pyobject(py)?
                .into_any()
        }
        Address::UnixPath(path) => decode_path(py, path)?,
        Address::UnixAbstract(name) => PyBytes::new(py, name).into_any(),
        Address::Other(family, data) => {
            (family, PyBytes::new(py, data)).into_pyobject(py)?.into_any()
        }
    };
    Ok(object)
}

/// Programs mostly talk to the address that they talked to last. Each thread remembers one in each
/// direction; an address tuple, and all that is in it, never changes.
mod last {
    use std::cell::RefCell;
    use std::net::SocketAddrV4;

    use pyo3::prelude::*;
    use pyo3::types::PyTuple;
    use socket2::SockAddr;

    use crate::errors::Result;

    thread_local! {
        static RECEIVED: RefCell<Option<(SocketAddrV4, Py<PyTuple>)>> = const { RefCell::new(None) };
        static GIVEN: RefCell<Option<(Py<PyTuple>, SockAddr)>> = const { RefCell::new(None) };
    }

    /// What the last address has in common with this one.
    enum Again<'py> {
        All(Bound<'py, PyTuple>),
        Host(Bound<'py, PyAny>),
        Nothing,
    }

    /// The tuple for an address: the last one if it is the same again, with the last one's host if
    /// that is (a server's clients are often of one machine).
    pub fn received<'py>(
        py: Python<'py>,
        address: SocketAddrV4,
        text_of_host: impl FnOnce() -> Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyAny>> {
        let again = RECEIVED.try_with(|last| match &*last.borrow() {
            Some((known, tuple)) if *known == address => Again::All(tuple.bind(py).clone()),
            Some((known, tuple)) if known.ip() == address.ip() => {
                tuple.bind(py).get_item(0).map_or(Again::Nothing, Again::Host)
            }
            _ => Again::Nothing,
        });
        // A thread whose destructors run remembers nothing.
        let host = match again.unwrap_or(Again::Nothing) {
            Again::All(tuple) => return Ok(tuple.into_any()),
            Again::Host(host) => host,
            Again::Nothing => text_of_host(),
        };
        let tuple = (host, address.port()).into_pyobject(py)?;
        let entry = (address, tuple.clone().unbind());
        if let Ok(Some((_, former))) = RECEIVED.try_with(|last| last.replace(Some(entry))) {
            release(py, former);
        }
        Ok(tuple.into_any())
    }

    /// The address of a tuple: the last one if it is the same tuple again.
    pub fn given(
        tuple: &Bound<'_, PyTuple>,
        parse: impl FnOnce(&Bound<'_, PyTuple>) -> Option<SockAddr>,
    ) -> Option<SockAddr> {
        let again = GIVEN.try_with(|last| match &*last.borrow() {
            Some((known, address)) if known.is(tuple) => Some(address.clone()),
            _ => None,
        });
        if let Ok(Some(address)) = again {
            return Some(address);
        }
        let address = parse(tuple)?;
        let entry = (tuple.clone().unbind(), address.clone());
        if let Ok(Some((former, _))) = GIVEN.try_with(|last| last.replace(Some(entry))) {
            release(tuple.py(), former);
        }
        Some(address)
    }

    /// Lets go of a tuple at once. A method entry is not pyo3's own, which would put it off.
    fn release(py: Python<'_>, tuple: Py<PyTuple>) {
        drop(tuple.into_bound(py));
    }
}

/// A path by the filesystem encoding, with surrogateescape (PEP 383).
fn decode_path<'py>(py: Python<'py>, path: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    use std::os::unix::ffi::OsStrExt;
    Ok(std::ffi::OsStr::from_bytes(path).into_pyobject(py)?.into_any())
}

fn tuple_of<'a, 'py>(
    object: &'a Bound<'py, PyAny>,
    caller: &str,
    family: &str,
) -> Result<&'a Bound<'py, PyTuple>> {
    object.cast::<PyTuple>().map_err(|_| {
        let given = arguments::type_name(object);
        Error::Type(format!("{caller}(): {family} address must be tuple, not {given}"))
    })
}

fn inet(object: &Bound<'_, PyAny>, caller: &str) -> Result<SockAddr> {
    let tuple = tuple_of(object, caller, "AF_INET")?;
    // A subclass may hold anything, which must not be kept alive.
    if tuple.is_exact_instance_of::<PyTuple>()
        && let Some(address) = last::given(tuple, literal_inet)
    {
        return Ok(address);
    }
    let mut host = None;
    let members = arguments::inet_members(tuple, |object| {
        host = Some(host_name(object)?);
        Ok(())
    })
    .map_err(|error| port_range_error(object.py(), error, caller))?;
    let host = match host {
        Some(host) => host,
        None => host_name(&members.host)?,
    };
    let IpAddr::V4(host) = find(object.py(), host, libc::AF_INET)? else {
        return Err(Error::OsText("unknown address family"));
    };
    Ok(sockaddr::v4(host, port(members.port, caller)?))
}

/// The common shape, `("192.0.2.1", 80)`, read at once; anything else goes the long way.
fn literal_inet(tuple: &Bound<'_, PyTuple>) -> Option<SockAddr> {
    if tuple.len() != 2 {
        return None;
    }
    let host = tuple.get_borrowed_item(0).ok()?;
    let port = tuple.get_borrowed_item(1).ok()?;
    let host = resolver::literal_v4(host.cast_exact::<PyString>().ok()?.to_str().ok()?.as_bytes())?;
    let port = port.cast_exact::<PyInt>().ok()?.extract::<u16>().ok()?;
    Some(sockaddr::v4(host, port))
}

fn inet6(object: &Bound<'_, PyAny>, caller: &str) -> Result<SockAddr> {
    let tuple = tuple_of(object, caller, "AF_INET6")?;
    let mut host = None;
    let members = arguments::inet6_members(tuple, |object| {
        host = Some(host_name(object)?);
        Ok(())
    })
    .map_err(|error| port_range_error(object.py(), error, caller))?;
    let host = match host {
        Some(host) => host,
        None => host_name(&members.host)?,
    };
    let IpAddr::V6(host) = find(object.py(), host, libc::AF_INET6)? else {
        return Err(Error::OsText("unknown address family"));
    };
    let port = port(members.port, caller)?;
    if members.flowinfo > 0xf_ffff {
        return Err(Error::Overflow(format!("{caller}(): flowinfo must be 0-1048575.")));
    }
    Ok(sockaddr::v6(host, port, members.flowinfo, members.scope_id))
}

fn port(port: c_int, caller: &str) -> Result<u16> {
    u16::try_from(port).map_err(|_| port_out_of_range(caller))
}

fn port_out_of_range(caller: &str) -> Error {
    Error::Overflow(format!("{caller}(): port must be 0-65535."))
}

/// Any overflow in an address tuple is reported as the port's, as CPython does.
fn port_range_error(py: Python<'_>, error: Error, caller: &str) -> Error {
    match error {
        Error::Raised(error) if error.is_instance_of::<PyOverflowError>(py) => {
            port_out_of_range(caller)
        }
        other => other,
    }
}

/// The longest host that IDNA is asked to encode, in characters. A DNS name has at most 253; the
/// codec takes quadratic time on some longer ones.
const IDNA_CHARACTERS: usize = 1024;

/// The host of an address tuple as the C library wants it.
fn host_name(object: &Bound<'_, PyAny>) -> Result<CString> {
    let bytes = if let Ok(bytes) = object.cast::<PyBytes>() {
        bytes.as_bytes().to_vec()
    } else if let Ok(bytes) = object.cast::<PyByteArray>() {
        bytes.to_vec()
    } else if let Ok(text) = object.cast::<PyString>() {
        host_text(text)?
    } else {
        let given = arguments::type_name(object);
        return Err(Error::Type(format!("str, bytes or bytearray expected, not {given}")));
    };
    CString::new(bytes)
        .map_err(|_| Error::Type("host name must not contain null character".to_owned()))
}

fn host_text(text: &Bound<'_, PyString>) -> Result<Vec<u8>> {
    if let Ok(ascii) = text.to_str()
        && ascii.is_ascii()
    {
        return Ok(ascii.as_bytes().to_vec());
    }
    let refused = || Error::Type("encoding of hostname failed".to_owned());
    if text.len()? > IDNA_CHARACTERS {
        return Err(refused());
    }
    let encoded =
        text.call_method1(intern!(text.py(), "encode"), ("idna",)).map_err(|_| refused())?;
    Ok(encoded.cast::<PyBytes>().map_err(|_| refused())?.as_bytes().to_vec())
}

/// The host's address: at once for literals, from the resolver (without the interpreter) for names.
fn find(py: Python<'_>, host: CString, family: c_int) -> Result<IpAddr> {
    match resolver::literal(&host, family)? {
        Some(host) => Ok(host),
        None => Ok(call::without_interpreter(py, || resolver::resolve(&host, family))?),
    }
}

fn unix(object: &Bound<'_, PyAny>) -> Result<SockAddr> {
    let too_long = Error::OsText("AF_UNIX path too long");
    if let Ok(path) = object.cast::<PyString>() {
        return sockaddr::unix(arguments::encoded_path(path)?.as_bytes()).ok_or(too_long);
    }
    let path = arguments::bytes_like(object)?;
    if path.len() > sockaddr::UNIX_NAME_BYTES {
        return Err(too_long);
    }
    sockaddr::unix(&path.to_vec()?).ok_or(too_long)
}
