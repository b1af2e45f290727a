//! Names, connections and data: the methods that stand for one system call each.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use pyo3::ffi::Py_ssize_t;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rsnet_core::errno::{self, Errno};
use rsnet_core::sockaddr::AddressBuffer;
use rsnet_core::sys::{self, ReadableMemory, WritableMemory};

use crate::address::{self, names_peer};
use crate::arguments::{self, Arguments};
use crate::audit;
use crate::buffer::{self, Buffer, UnfinishedBytes};
use crate::call::{self, receiving, sending};
use crate::errors::{self, Error, Result, Returned};
use crate::socket::This;

fn none(py: Python<'_>) -> Bound<'_, PyAny> {
    py.None().into_bound(py)
}

fn count(py: Python<'_>, count: usize) -> Returned<'_> {
    Ok(count.into_pyobject(py)?.into_any())
}

// Names.

pub fn fileno<'py>(this: This<'_, 'py>) -> Returned<'py> {
    Ok(this.get().descriptor().fd().into_pyobject(this.py())?.into_any())
}

pub fn getsockname<'py>(this: This<'_, 'py>) -> Returned<'py> {
    name(this, sys::getsockname)
}

pub fn getpeername<'py>(this: This<'_, 'py>) -> Returned<'py> {
    name(this, sys::getpeername)
}

fn name<'py>(
    this: This<'_, 'py>,
    get: fn(c_int, &mut AddressBuffer) -> errno::Result<()>,
) -> Returned<'py> {
    let mut address = AddressBuffer::default();
    call::brief(this.py(), this.get(), |fd| get(fd, &mut address))?;
    Ok(address::to_python(this.py(), &address.address())?)
}

pub fn bind<'py>(this: This<'_, 'py>, argument: &Bound<'py, PyAny>) -> Returned<'py> {
    let py = this.py();
    let socket = this.get();
    let to = address::argument(this.get().family(), argument, "bind")?;
    audit::of_address(c"socket.bind", this, argument)?;
    call::prompt(py, socket, |fd| sys::bind(fd, &to))
        .map_err(|error| names_peer(error, "bind to", argument))?;
    Ok(none(py))
}

// Connections.

pub fn listen<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    const USUAL_BACKLOG: c_int = 128;
    let backlog = arguments::optional_number(&given, c"|i:listen", USUAL_BACKLOG)?.max(0);
    call::prompt(this.py(), this.get(), |fd| sys::listen(fd, backlog))?;
    Ok(none(this.py()))
}

pub fn accept_descriptor<'py>(this: This<'_, 'py>) -> Returned<'py> {
    let (accepted, address) = accept_one(this)?;
    let pair = (accepted.as_raw_fd(), address).into_pyobject(this.py())?;
    // Python has the number now.
    let _ = accepted.into_raw_fd();
    Ok(pair.into_any())
}

/// One connection and its peer's address.
pub fn accept_one<'py>(this: This<'_, 'py>) -> Result<(OwnedFd, Bound<'py, PyAny>)> {
    let mut from = AddressBuffer::default();
    let accepted = call::accept(this.py(), this.get(), &mut from)?;
    Ok((accepted, address::to_python(this.py(), &from.address())?))
}

pub fn connect<'py>(this: This<'_, 'py>, argument: &Bound<'py, PyAny>) -> Returned<'py> {
    let py = this.py();
    let to = address::argument(this.get().family(), argument, "connect")?;
    audit::of_address(c"socket.connect", this, argument)?;
    call::connect(py, this.get(), &to)
        .map_err(|error| names_peer(error, "connect to", argument))?;
    Ok(none(py))
}

pub fn connect_ex<'py>(this: This<'_, 'py>, argument: &Bound<'py, PyAny>) -> Returned<'py> {
    let py = this.py();
    let to = address::argument(this.get().family(), argument, "connect_ex")?;
    audit::of_address(c"socket.connect", this, argument)?;
    let errno = match call::connect(py, this.get(), &to) {
        Ok(()) => 0,
        Err(Error::Errno(Errno(errno))) => errno,
        Err(Error::TimedOut) => libc::EWOULDBLOCK,
        Err(error) => return Err(error.into()),
    };
    Ok(errno.into_pyobject(py)?.into_any())
}

pub fn shutdown<'py>(this: This<'_, 'py>, how: &Bound<'py, PyAny>) -> Returned<'py> {
    let how = arguments::number(how)?;
    call::prompt(this.py(), this.get(), |fd| sys::shutdown(fd, how))?;
    Ok(none(this.py()))
}

pub fn close<'py>(this: This<'_, 'py>) -> Returned<'py> {
    call::close(this.py(), this.get())?;
    Ok(none(this.py()))
}

pub fn detach<'py>(this: This<'_, 'py>) -> Returned<'py> {
    this.get().set_closed(true);
    Ok(this.get().descriptor().detach().into_pyobject(this.py())?.into_any())
}

// Receiving.

/// How many bytes to receive, or the error for a negative number of them.
fn size(size: Py_ssize_t, error: &'static str) -> Result<usize> {
    usize::try_from(size).map_err(|_| Error::Value(error))
}

pub fn recv<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let (wanted, flags) = arguments::size_and_flags(&given, c"n|i:recv")?;
    let wanted = size(wanted, "negative buffersize in recv")?;
    let receive = |memory: WritableMemory, expected| {
        let transfer = receiving(expected, flags);
        call::attempt(this.py(), this.get(), transfer, |fd, added| {
            sys::recv(fd, memory, flags | added)
        })
    };
    if wanted == 0 {
        // CPython makes no system call for nothing.
        return Ok(PyBytes::new(this.py(), b"").into_any());
    }
    let is_stream = this.get().is_stream() && flags == 0 && wanted <= MOST_WITHOUT_MEMORY;
    Ok(received(this, wanted, flags, is_stream, receive)?.into_any())
}

/// Results up to this size are received into the scratch memory and copied: cheaper than to make a
/// bytes object of the size asked for and shrink it.
const SMALL_BYTES: usize = 8 * 1024;

/// The most that is asked of a stream without having the memory for all of it: what nobody has memory
/// for is an error.
const MOST_WITHOUT_MEMORY: usize = 1 << 30;

/// The allocator has this much at hand; more may be mapped anew in every call.
const MIDDLING_BYTES: usize = 64 * 1024;

/// Receives up to `wanted` bytes into a bytes object of just that size, by one system call: two would
/// splice what other readers come between. `receive` is given the memory to fill and how much of it
/// is likely to be filled, and says how much of it was; of a stream, where nothing but data is asked for,
/// it may not be asked.
fn received<'py>(
    this: This<'_, 'py>,
    wanted: usize,
    flags: c_int,
    is_stream: bool,
    mut receive: impl FnMut(WritableMemory, usize) -> Result<usize>,
) -> Result<Bound<'py, PyBytes>> {
    let py = this.py();
    // With MSG_TRUNC the kernel may write nothing: see `for_flags`.
    let Some(scratch) = buffer::scratch().filter(|_| flags & libc::MSG_TRUNC == 0) else {
        return received_whole(py, wanted, flags, receive);
    };
    let last = if is_stream { this.get().last_received() } else { 0 };
    let bytes = if wanted <= scratch.len && last <= SMALL_BYTES {
        let expected = if is_stream { wanted.min(SMALL_BYTES) } else { wanted };
        let count = receive(WritableMemory { len: wanted, ..scratch }, expected)?;
        buffer::bytes_from_scratch(py, count)
    } else if !is_stream {
        // Datagrams come whole.
        received_whole(py, wanted, flags, receive)?
    } else if last <= SMALL_BYTES {
        received_overflowing(this, wanted, Room::Scratch(scratch))?
    } else if wanted <= MIDDLING_BYTES {
        received_whole(py, wanted, flags, receive)?
    } else if last <= MIDDLING_BYTES {
        let room = UnfinishedBytes::with_len(py, MIDDLING_BYTES)?;
        received_overflowing(this, wanted, Room::Bytes(room))?
    } else {
        let waiting = call::brief(this.py(), this.get(), sys::bytes_to_read).unwrap_or(0);
        received_whole(py, wanted.min(waiting.max(SMALL_BYTES)), flags, receive)?
    };
    if is_stream {
        // A large one is remembered over a few small ones: messages of any size have short ends.
        this.get().set_last_received(bytes.as_bytes().len().max(last / 4));
    }
    Ok(bytes)
}

/// Where the first bytes of a large request go.
enum Room<'py> {
    Scratch(WritableMemory),
    Bytes(UnfinishedBytes<'py>),
}

/// Receives from a stream into some room, and what does not fit there into the thread's overflow:
/// large requests are mostly met by little, and the memory for all of it would be mapped, faulted in
/// and given back in every call.
fn received_overflowing<'py>(
    this: This<'_, 'py>,
    wanted: usize,
    room: Room<'py>,
) -> Result<Bound<'py, PyBytes>> {
    let py = this.py();
    let first = match &room {
        Room::Scratch(scratch) => *scratch,
        Room::Bytes(bytes) => bytes.memory(0),
    };
    let first = WritableMemory { len: first.len.min(wanted), ..first };
    let mut more = buffer::overflow(wanted - first.len)?;
    let transfer = receiving(MIDDLING_BYTES, 0);
    let count = call::attempt(py, this.get(), transfer, |fd, added| {
        sys::recv_scattered(fd, [first, more.memory()], added)
    })?;
    match room {
        _ if count > first.len => buffer::bytes_joined(py, first, &more, count),
        Room::Scratch(_) => Ok(buffer::bytes_from_scratch(py, count)),
        Room::Bytes(bytes) => Ok(bytes.finish(count)),
    }
}

/// Receives into a bytes object made for the purpose.
fn received_whole(
    py: Python<'_>,
    len: usize,
    flags: c_int,
    mut receive: impl FnMut(WritableMemory, usize) -> Result<usize>,
) -> Result<Bound<'_, PyBytes>> {
    let bytes = UnfinishedBytes::for_flags(py, len, flags)?;
    let count = receive(bytes.memory(0), len)?;
    Ok(bytes.finish(count))
}

pub fn recv_into<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let (memory, wanted, flags) = arguments::writable_size_and_flags(&given, c"w*|ni:recv_into")?;
    let wanted = size(wanted, "negative buffersize in recv_into")?;
    let memory = portion(&memory, wanted, "buffer too small for requested bytes")?;
    count(this.py(), receive_at(this, memory, flags)?)
}

fn receive_at(this: This<'_, '_>, memory: WritableMemory, flags: c_int) -> Result<usize> {
    if memory.len == 0 {
        return Ok(0);
    }
    let transfer = receiving(memory.len, flags);
    call::attempt(this.py(), this.get(), transfer, |fd, added| sys::recv(fd, memory, flags | added))
}

/// Receives into all of a buffer.
pub fn receive_into(this: This<'_, '_>, buffer: &Buffer) -> Result<usize> {
    receive_at(this, buffer.memory_to_write(buffer.len()), 0)
}

/// The first `wanted` bytes of a buffer, all of it for zero.
fn portion(buffer: &Buffer, wanted: usize, error: &'static str) -> Result<WritableMemory> {
    match wanted {
        0 => Ok(buffer.memory_to_write(buffer.len())),
        _ if wanted > buffer.len() => Err(Error::Value(error)),
        _ => Ok(buffer.memory_to_write(wanted)),
    }
}

pub fn recvfrom<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let (wanted, flags) = arguments::size_and_flags(&given, c"n|i:recvfrom")?;
    let wanted = size(wanted, "negative buffersize in recvfrom")?;
    let mut from = AddressBuffer::default();
    let receive = |memory, expected| receive_from(this, memory, expected, flags, &mut from);
    let bytes = received(this, wanted, flags, false, receive)?;
    let from = address::to_python(this.py(), &from.address())?;
    Ok((bytes, from).into_pyobject(this.py())?.into_any())
}

fn receive_from(
    this: This<'_, '_>,
    memory: WritableMemory,
    expected: usize,
    flags: c_int,
    from: &mut AddressBuffer,
) -> Result<usize> {
    call::attempt(this.py(), this.get(), receiving(expected, flags), |fd, added| {
        sys::recvfrom(fd, memory, flags | added, from)
    })
}

pub fn recvfrom_into<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let (memory, wanted, flags) =
        arguments::writable_size_and_flags(&given, c"w*|ni:recvfrom_into")?;
    let wanted = size(wanted, "negative buffersize in recvfrom_into")?;
    let memory = portion(&memory, wanted, "nbytes is greater than the length of the buffer")?;
    let mut from = AddressBuffer::default();
    let received = receive_from(this, memory, memory.len, flags, &mut from)?;
    let from = address::to_python(this.py(), &from.address())?;
    Ok((received, from).into_pyobject(this.py())?.into_any())
}

// Sending.

pub fn send<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let (data, flags) = arguments::buffer_and_flags(&given, c"y*|i:send")?;
    count(this.py(), send_from(this, &data, flags)?)
}

#[inline]
fn send_from(this: This<'_, '_>, data: &Buffer, flags: c_int) -> Result<usize> {
    let memory = data.memory();
    call::send(this.py(), this.get(), sending(memory.len, flags), |fd, added, gone| {
        sys::send(fd, memory.after(gone), flags | added)
    })
}

/// Sends what there is room for of a buffer.
pub fn send_some(this: This<'_, '_>, data: &Buffer) -> Result<usize> {
    send_from(this, data, 0)
}

pub fn sendall<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let (data, flags) = arguments::buffer_and_flags(&given, c"y*|i:sendall")?;
    let memory = data.memory();
    let py = this.py();
    match call::send_all(py, this.get(), sending(memory.len, flags), |fd, added, gone| {
        sys::send(fd, memory.after(gone), flags | added)
    }) {
        (_, Ok(())) => Ok(none(py)),
        (sent, Err(error)) => Err(stopped(py, error, sent, memory).into()),
    }
}

/// What a `sendall` that stopped raises: with how much went, if any of it did or if it was time
/// that ran out.
fn stopped(py: Python<'_>, error: Error, sent: usize, memory: ReadableMemory) -> Error {
    match error {
        Error::Errno(_) if sent == 0 => error,
        _ => errors::sent_in_part(py, error, sent, memory.len),
    }
}

pub fn sendto<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    let (data, flags, argument) = arguments::buffer_flags_and_address(&given)?;
    let py = this.py();
    let to = address::argument(this.get().family(), &argument, "sendto")?;
    audit::of_address(c"socket.sendto", this, &argument)?;
    let memory = data.memory();
    let sent = call::send(py, this.get(), sending(memory.len, flags), |fd, added, gone| {
        sys::sendto(fd, memory.after(gone), flags | added, &to)
    })
    .map_err(|error| names_peer(error, "send to", &argument))?;
    count(py, sent)
}
