//! getaddrinfo for numeric hosts, without the resolver.
//!
//! Which (type, protocol) pairs a lookup gives, and in which order, is the C library's affair. It
//! is asked once for each shape of question, about a loopback address; a literal of that shape is
//! then answered with the same pairs around its own address.

use std::collections::HashMap;
use std::ffi::{CString, c_int};
use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyString};
use rsnet_core::resolver;
use rsnet_core::sockaddr::Address;
use rsnet_core::sys::{self, Hints};

use crate::address;
use crate::audit;
use crate::errors::Result;
use crate::instance;

/// Answers `socket.getaddrinfo` for a numeric host and port; None if it takes the resolver.
///
/// Parameters: host, port, family, type, proto, flags as `socket.getaddrinfo` was given them.
///
/// Returns a list of (family, type, proto, canonname, sockaddr), or None for a host or port that
/// is not numeric, for flags that need the resolver, and for questions that it refuses.
///
/// Raises what an audit hook raises.
///
/// Source: getaddrinfo(3), RFC 3493 section 6.1.
///
/// >>> from rsnet import _rsnet
/// >>> len(_rsnet.numeric_addrinfo("127.0.0.1", 80, 0, 1, 0, 0))
/// 1
/// >>> _rsnet.numeric_addrinfo("localhost", 80, 0, 1, 0, 0) is None
/// True
#[pyfunction]
pub fn numeric_addrinfo<'py>(
    py: Python<'py>,
    host: &Bound<'py, PyAny>,
    port: &Bound<'py, PyAny>,
    family: &Bound<'py, PyAny>,
    r#type: &Bound<'py, PyAny>,
    proto: &Bound<'py, PyAny>,
    flags: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyList>>> {
    let (Some(number), Some(family_number), Some(kind), Some(protocol), Some(flag_bits)) =
        (port_number(port), small(family), small(r#type), small(proto), small(flags))
    else {
        return Ok(None);
    };
    let Some(address) = literal(host, number) else {
        return Ok(None);
    };
    let native = match address {
        Address::V4(_) => libc::AF_INET,
        _ => libc::AF_INET6,
    };
    if flag_bits & !HARMLESS_FLAGS != 0 || ![libc::AF_UNSPEC, native].contains(&family_number) {
        return Ok(None);
    }
    let hints = Hints { family: family_number, kind, protocol, flags: flag_bits };
    let question = Question { native, hints, has_service: !port.is_none() };
    let Some(shape) = shape(py, question)? else { return Ok(None) };
    audit::of_lookup(host, port, hints)?;
    let sockaddr = address::to_python(py, &address)?;
    let answer = PyList::empty(py);
    for entry in shape {
        let [family, kind, protocol] = entry.each_ref().map(|part| part.bind(py));
        let canonical_name = PyString::new(py, "");
        answer.append((family, kind, protocol, canonical_name, &sockaddr))?;
    }
    Ok(Some(answer))
}

/// Flags that change nothing in the answer for a numeric host and port.
const HARMLESS_FLAGS: c_int = libc::AI_PASSIVE | libc::AI_NUMERICHOST | libc::AI_NUMERICSERV;

/// A plain integer argument; nothing for what the standard library has to judge.
fn small(argument: &Bound<'_, PyAny>) -> Option<c_int> {
    argument.cast::<PyInt>().ok()?.extract().ok()
}

/// The port as a number, zero for None.
fn port_number(port: &Bound<'_, PyAny>) -> Option<u16> {
    if port.is_none() {
        return Some(0);
    }
    if let Ok(digits) = port.cast_exact::<PyString>() {
        let digits = digits.to_str().ok()?;
        let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        return plain.then(|| digits.parse().ok()).flatten();
    }
    port.cast_exact::<PyInt>().ok()?.extract().ok()
}

/// The address that the host spells out, if it does.
fn literal(host: &Bound<'_, PyAny>, port: u16) -> Option<Address> {
    let text = match host.cast_exact::<PyString>() {
        Ok(text) => text.to_str().ok()?,
        Err(_) => std::str::from_utf8(host.cast_exact::<PyBytes>().ok()?.as_bytes()).ok()?,
    };
    if let Some(address) = resolver::literal_v4(text.as_bytes()) {
        return Some(Address::V4(SocketAddrV4::new(address, port)));
    }
    if !text.contains(':') || text.contains('%') {
        return None;
    }
    let address = Ipv6Addr::from(sys::inet6_pton(&CString::new(text).ok()?)?);
    Some(Address::V6(SocketAddrV6::new(address, port, 0, 0)))
}

/// All that decides which pairs are in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Question {
    native: c_int,
    hints: Hints,
    has_service: bool,
}

/// Family, type and protocol of each entry of an answer.
type Shape = Vec<[Py<PyAny>; 3]>;

/// Programs ask a handful of questions; one that goes through all numbers is not remembered.
const MOST_SHAPES: usize = 256;

/// The C library's answer to such a question, asked when it first comes up; None if it refuses it.
fn shape(py: Python<'_>, question: Question) -> Result<Option<Shape>> {
    static SHAPES: Mutex<Option<HashMap<Question, Shape>>> = Mutex::new(None);
    // Never held while Python runs.
    let known = || SHAPES.lock().unwrap_or_else(PoisonError::into_inner);
    let copied = known().as_ref().and_then(|shapes| shapes.get(&question)).map(|shape| {
        shape.iter().map(|entry| entry.each_ref().map(|part| part.clone_ref(py))).collect()
    });
    if copied.is_some() {
        return Ok(copied);
    }
    let host = if question.native == libc::AF_INET { c"127.0.0.1" } else { c"::1" };
    let service = question.has_service.then_some(c"1");
    let Some(answer) = sys::getaddrinfo_shape(host, service, question.hints) else {
        return Ok(None);
    };
    let shape = answer.into_iter().map(|entry| as_python_has_it(py, entry));
    let shape: Shape = shape.collect::<Result<_>>()?;
    let copy = shape.iter().map(|entry| entry.each_ref().map(|part| part.clone_ref(py))).collect();
    let mut shapes = known();
    let shapes = shapes.get_or_insert_with(HashMap::new);
    if shapes.len() < MOST_SHAPES {
        shapes.entry(question).or_insert(copy);
    }
    Ok(Some(shape))
}

/// Family and type as the standard module's enums have them, numbers where those do not know them.
fn as_python_has_it(py: Python<'_>, entry: (c_int, c_int, c_int)) -> Result<[Py<PyAny>; 3]> {
    let (family, kind, protocol) = entry;
    let member = |class: &str, number: c_int| -> Result<Py<PyAny>> {
        let number = number.into_pyobject(py).map_err(PyErr::from)?.into_any();
        let member = instance::standard_name(py, class)?.call1((&number,));
        Ok(member.unwrap_or(number).unbind())
    };
    let protocol = protocol.into_pyobject(py).map_err(PyErr::from)?.into_any().unbind();
    Ok([member("AddressFamily", family)?, member("SocketKind", kind)?, protocol])
}
