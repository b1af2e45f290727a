//! sendmsg, recvmsg, recvmsg_into: gathered and scattered buffers with control data. Everything is
//! collected from Python first; nothing that Python can still change is used after.

use std::ffi::c_int;
use std::os::fd::{IntoRawFd, OwnedFd};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::Py_ssize_t;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList};
use rsnet_core::cmsg::{self, Item, Message, Messages};
use rsnet_core::sockaddr::AddressBuffer;
use rsnet_core::sys::{self, ReadableMemory, Received, WritableMemory};

use crate::address;
use crate::arguments::{self, Arguments};
use crate::audit;
use crate::buffer::{Buffer, UnfinishedBytes};
use crate::call::{self, receiving, sending};
use crate::errors::{self, Error, Result, Returned};
use crate::socket::This;

/// CPython's bound on control data: what a socklen_t holds for certain.
const MOST_CONTROL_BYTES: usize = 0x7fff_ffff;

/// The items of any iterable; `error` if it is none.
pub fn iterate<'py>(iterable: &Bound<'py, PyAny>, error: &str) -> Result<Bound<'py, PyIterator>> {
    iterable.try_iter().map_err(|raised| {
        if raised.is_instance_of::<PyTypeError>(iterable.py()) {
            Error::Type(error.to_owned())
        } else {
            Error::Raised(raised)
        }
    })
}

/// The same, all of them, held by us.
pub fn collect<'py>(iterable: &Bound<'py, PyAny>, error: &str) -> Result<Vec<Bound<'py, PyAny>>> {
    Ok(iterate(iterable, error)?.collect::<PyResult<_>>()?)
}

pub fn sendmsg<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let py = this.py();
    let given = arguments::message(&given)?;
    let to = match &given.address {
        Some(address) => Some(address::argument(this.get().family(), address, "sendmsg")?),
        None => None,
    };
    let none = py.None().into_bound(py);
    audit::of_address(c"socket.sendmsg", this, given.address.as_ref().unwrap_or(&none))?;
    let buffers = collect(&given.buffers, "sendmsg() argument 1 must be an iterable")?
        .iter()
        .map(Buffer::readable)
        .collect::<PyResult<Vec<_>>>()?;
    let control = match &given.ancdata {
        Some(ancdata) => control_data(ancdata, "sendmsg() argument 2 must be an iterable")?,
        None => Vec::new(),
    };
    let parts: Vec<ReadableMemory> = buffers.iter().map(Buffer::memory).collect();
    let len = parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len));
    let flags = given.flags;
    let sent = call::send(py, this.get(), sending(len, flags), |fd, added, gone| match gone {
        0 => sys::sendmsg(fd, &parts, &control, to.as_ref(), flags | added),
        // The control data went with the first byte.
        _ => sys::sendmsg(fd, &after(&parts, gone), &[], to.as_ref(), flags | added),
    })?;
    Ok(sent.into_pyobject(py)?.into_any())
}

/// What is left of the parts after `gone` bytes.
fn after(parts: &[ReadableMemory], mut gone: usize) -> Vec<ReadableMemory> {
    let mut rest = Vec::with_capacity(parts.len());
    for part in parts {
        if gone < part.len {
            rest.push(part.after(gone));
        }
        gone = gone.saturating_sub(part.len);
    }
    rest
}

pub fn control_data(ancdata: &Bound<'_, PyAny>, error: &str) -> Result<Vec<u8>> {
    let items = collect(ancdata, error)?;
    let mut control = Vec::new();
    for item in items {
        let (level, kind, data) = arguments::ancillary_item(&item)?;
        let room = cmsg::space(data.len()).filter(|&room| room <= MOST_CONTROL_BYTES);
        let Some(room) = room else {
            return Err(Error::OsText("ancillary data item too large"));
        };
        if control.len() + room > MOST_CONTROL_BYTES {
            return Err(Error::OsText("too much ancillary data"));
        }
        control.try_reserve(room).map_err(|_| Error::Memory)?;
        cmsg::push(&mut control, level, kind, &data.to_vec()?);
    }
    Ok(control)
}

pub fn sendmsg_afalg<'py>(_this: This<'_, 'py>, _given: Arguments<'_, 'py>) -> Returned<'py> {
    // AF_ALG sockets are the standard class's; of any other, this is what it says.
    Err(Error::OsText("algset is only supported for AF_ALG").into())
}

pub fn recvmsg<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let (wanted, room, flags) = arguments::two_sizes_and_flags(&given, c"n|ni:recvmsg")?;
    let wanted =
        usize::try_from(wanted).map_err(|_| Error::Value("negative buffer size in recvmsg()"))?;
    let bytes = UnfinishedBytes::for_flags(this.py(), wanted, flags)?;
    let arrived = receive(this, &[bytes.memory(0)], room, flags)?;
    let bytes = bytes.finish(arrived.received.bytes);
    arrived.into_python(this.py(), bytes.into_any())
}

pub fn recvmsg_into<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let (buffers, room, flags) = arguments::object_size_and_flags(&given, c"O|ni:recvmsg_into")?;
    let buffers = collect(&buffers, "recvmsg_into() argument 1 must be an iterable")?
        .iter()
        .map(arguments::writable_item)
        .collect::<Result<Vec<_>>>()?;
    let parts: Vec<WritableMemory> =
        buffers.iter().map(|buffer| buffer.memory_to_write(buffer.len())).collect();
    let arrived = receive(this, &parts, room, flags)?;
    let count = arrived.received.bytes.into_pyobject(this.py())?;
    arrived.into_python(this.py(), count.into_any())
}

/// A received message, before Python has it.
struct Arrived {
    received: Received,
    control: Vec<u8>,
    /// What came with SCM_RIGHTS: closed unless Python gets to know of it.
    descriptors: Vec<OwnedFd>,
    from: AddressBuffer,
}

fn receive(
    this: This<'_, '_>,
    parts: &[WritableMemory],
    room: Py_ssize_t,
    flags: c_int,
) -> Result<Arrived> {
    let room = usize::try_from(room)
        .ok()
        .filter(|&room| room <= MOST_CONTROL_BYTES)
        .ok_or(Error::Value("invalid ancillary data buffer length"))?;
    let mut control = sys::zeroed(room).ok_or(Error::Memory)?;
    let mut from = AddressBuffer::default();
    let len = parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len));
    let received = call::attempt(this.py(), this.get(), receiving(len, flags), |fd, added| {
        from.clear();
        sys::recvmsg(fd, parts, &mut control, &mut from, flags | added)
    })?;
    control.truncate(received.control_bytes);
    let descriptors = sys::adopt_descriptors(&control);
    Ok(Arrived { received, control, descriptors, from })
}

impl Arrived {
    /// `(data, ancdata, msg_flags, address)`.
    fn into_python<'py>(self, py: Python<'py>, data: Bound<'py, PyAny>) -> Returned<'py> {
        let ancdata = PyList::empty(py);
        for item in Messages::new(&self.control) {
            if item.is_cut_short() {
                errors::warn_of_truncated_ancillary_data(py)?;
            }
            if let Item::Whole(message) | Item::Truncated(message) = item {
                ancdata.append(to_tuple(py, &message)?)?;
            }
        }
        let from = address::to_python(py, &self.from.address())?;
        let result = (data, ancdata, self.received.flags, from).into_pyobject(py)?;
        for descriptor in self.descriptors {
            // Python has the number now.
            let _ = descriptor.into_raw_fd();
        }
        Ok(result.into_any())
    }
}

fn to_tuple<'py>(py: Python<'py>, message: &Message<'_>) -> Returned<'py> {
    let data = PyBytes::new(py, message.data);
    Ok((message.level, message.kind, data).into_pyobject(py)?.into_any())
}
