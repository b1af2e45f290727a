//! sendmmsg: many datagrams sent in one call.
//!
//! As everywhere, all that Python gives is collected first and held; then the kernel has it.

use std::ffi::{CStr, c_int};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use rsnet_core::mmsg::{self, Outgoing};
use rsnet_core::sys::{self, ReadableMemory};

use crate::address;
use crate::arguments::{self, Arguments, Signature};
use crate::audit;
use crate::buffer::Buffer;
use crate::call::{self, sending_messages};
use crate::errors::{self, Error, Result, Returned};
use crate::message;
use crate::socket::This;

pub const DOC: &CStr = c"sendmmsg($self, /, messages, flags=0)
--

Send many datagrams in one call.

messages: an iterable of datagrams, in any mixture: a bytes-like object, for the connected peer;
(bytes-like, address), as for sendto(); (buffers, ancdata, address), as for sendmsg(), with an
address or None. flags: as for send().

Runs of datagrams of one size (the last may be shorter) to one peer are handed to the kernel as
one, which cuts them apart (UDP_SEGMENT), where kernel and route allow it.

Returns the number of datagrams sent: all of them, except on a non-blocking socket, which sends
what there is room for.

Raises OSError for the datagram that could not be sent: those before it are sent, its attribute
`messages_sent` says how many. TimeoutError likewise when the socket's timeout passes, which is one
for the whole batch; BlockingIOError if not even the first went. TypeError, ValueError and
OverflowError, for arguments in error, before anything is sent. EOPNOTSUPP on a stream.

Source: sendmmsg(2), udp(7).

>>> import rsnet
>>> receiver = rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM)
>>> receiver.bind(('127.0.0.1', 0))
>>> with receiver, rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM) as sender:
...     sender.sendmmsg([(b'one', receiver.getsockname()), (b'two', receiver.getsockname())])
2
";

/// Datagrams as Python gave them, and what keeps their memory.
struct Batch<'py> {
    outgoing: Outgoing,
    buffers: Vec<Buffer>,
    bytes: Vec<Bound<'py, PyBytes>>,
    /// The last address and its place: most batches go to one peer.
    address: Option<(Bound<'py, PyAny>, u32)>,
}

impl<'py> Batch<'py> {
    fn collect(this: This<'_, 'py>, messages: &Bound<'py, PyAny>) -> Result<Self> {
        // Of other objects the length is not to be trusted, nor asked for.
        let count = messages.cast_exact::<PyList>().map_or(0, PyListMethods::len);
        let mut batch = Self {
            outgoing: Outgoing::with_capacity(count),
            buffers: Vec::new(),
            bytes: Vec::with_capacity(count),
            address: None,
        };
        if let Ok(list) = messages.cast_exact::<PyList>() {
            for message in list.iter() {
                // What most batches are made of, and what cannot fail.
                match message.cast_into_exact::<PyBytes>() {
                    Ok(bytes) => {
                        let data = batch.hold_bytes(bytes);
                        batch.outgoing.push(data, None);
                    }
                    Err(other) => batch.add(this, other.into_inner())?,
                }
            }
            return Ok(batch);
        }
        for message in message::iterate(messages, "sendmmsg() argument 1 must be an iterable")? {
            batch.add(this, message?)?;
        }
        Ok(batch)
    }

    fn add(&mut self, this: This<'_, 'py>, message: Bound<'py, PyAny>) -> Result<()> {
        let Ok(tuple) = message.cast::<PyTuple>() else {
            let data = self.hold(message)?;
            self.outgoing.push(data, None);
            return Ok(());
        };
        match tuple.len() {
            2 => {
                let address = self.address(this, tuple.get_item(1)?)?;
                let data = self.hold(tuple.get_item(0)?)?;
                self.outgoing.push(data, address);
            }
            3 => {
                let address = self.address(this, tuple.get_item(2)?)?;
                let buffers = tuple.get_item(0)?;
                let buffers = message::collect(&buffers, "buffers must be an iterable")?;
                let parts = buffers.into_iter().map(|part| self.hold(part));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                let ancdata = tuple.get_item(1)?;
                let control = message::control_data(&ancdata, "ancdata must be an iterable")?;
                self.outgoing.push_gathered(parts.into_iter(), control, address);
            }
            len => {
                return Err(Error::Type(format!(
                    "a message is bytes-like, (bytes-like, address) or (buffers, ancdata, \
                     address), not a tuple of {len}"
                )));
            }
        }
        Ok(())
    }

    /// Keeps what has the memory until the batch is gone.
    fn hold(&mut self, data: Bound<'py, PyAny>) -> Result<ReadableMemory> {
        match data.cast_into_exact::<PyBytes>() {
            Ok(bytes) => Ok(self.hold_bytes(bytes)),
            Err(other) => {
                let buffer = Buffer::readable(&other.into_inner())?;
                let memory = buffer.memory();
                self.buffers.push(buffer);
                Ok(memory)
            }
        }
    }

    #[inline]
    fn hold_bytes(&mut self, bytes: Bound<'py, PyBytes>) -> ReadableMemory {
        let slice = bytes.as_bytes();
        let memory = ReadableMemory { start: slice.as_ptr(), len: slice.len() };
        self.bytes.push(bytes);
        memory
    }

    fn address(&mut self, this: This<'_, 'py>, given: Bound<'py, PyAny>) -> Result<Option<u32>> {
        if given.is_none() {
            return Ok(None);
        }
        if let Some((last, place)) = &self.address
            && last.is(&given)
        {
            return Ok(Some(*place));
        }
        let address = address::argument(this.get().family(), &given, "sendmmsg")?;
        audit::of_address(c"socket.sendmsg", this, &given)?;
        let place = self.outgoing.add_address(address);
        // Other objects, a bytearray say, may change from one datagram to the next.
        let is_fixed = given.is_exact_instance_of::<PyTuple>()
            || given.is_exact_instance_of::<PyString>()
            || given.is_exact_instance_of::<PyBytes>();
        self.address = is_fixed.then_some((given, place));
        Ok(Some(place))
    }
}

pub fn sendmmsg<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    const SIGNATURE: Signature<2> =
        Signature { method: "sendmmsg", names: ["messages", "flags"], positional: 2, required: 1 };
    let [messages, flags] = SIGNATURE.bind(&given)?;
    let flags = flags.map_or(Ok(0), |flags| arguments::number(&flags))?;
    this.get().refuse_stream()?;
    let Some(messages) = messages else { return Err(Error::Memory.into()) };
    let mut batch = Batch::collect(this, &messages)?;
    let sent = send(this, &mut batch.outgoing, flags)?;
    Ok(sent.into_pyobject(this.py())?.into_any())
}

fn send(this: This<'_, '_>, outgoing: &mut Outgoing, flags: c_int) -> Result<usize> {
    let (py, socket) = (this.py(), this.get());
    let (count, bytes) = (outgoing.len(), outgoing.bytes());
    if count == 0 {
        // The descriptor is looked at all the same.
        return call::brief(py, socket, |_| Ok(0));
    }
    if let Some((data, to)) = outgoing.single() {
        // As send() and sendto() go: the batch's own preparations would be half the cost.
        let transfer = sending_messages(1, bytes, flags);
        let sent = call::attempt(py, socket, transfer, |fd, added| match to {
            Some(to) => sys::sendto(fd, data, flags | added, to),
            None => sys::send(fd, data, flags | added),
        });
        return match sent {
            Ok(_) => Ok(1),
            Err(error) => Err(stopped(py, outgoing, error, 0)),
        };
    }
    let before = if this.get().is_udp() { largest_segment(this, flags)? } else { 0 };
    let mut largest_segment = before;
    let transfer = sending_messages(count, bytes, flags);
    let (sent, result) = call::send_all(py, socket, transfer, |fd, added, sent| {
        outgoing.send(fd, sent, flags | added, &mut largest_segment)
    });
    if largest_segment != before {
        socket.set_largest_segment(largest_segment);
    }
    match result {
        Ok(()) => Ok(sent),
        Err(Error::Errno(error)) if error.would_block() && sent > 0 => Ok(sent),
        Err(error) => Err(stopped(py, outgoing, error, sent)),
    }
}

/// What a batch that stopped raises.
#[cold]
fn stopped(py: Python<'_>, outgoing: &Outgoing, error: Error, sent: usize) -> Error {
    match error {
        // Whoever polls has no use for a note.
        Error::Errno(errno) if errno.would_block() => error,
        error => {
            let (count, bytes) = (outgoing.len(), outgoing.bytes_of(sent));
            let note =
                format!("{sent} of {count} messages were sent; the next one has {bytes} bytes");
            errors::messages_sent(py, error, sent, note)
        }
    }
}

/// The largest size of a datagram for which segments may be asked for; zero if they would not be
/// what the same datagrams are one by one.
fn largest_segment(this: This<'_, '_>, flags: c_int) -> Result<usize> {
    let socket = this.get();
    let family = socket.family();
    if flags & libc::MSG_MORE != 0
        || !call::brief(this.py(), socket, |fd| Ok(mmsg::may_segment(fd, family)))?
    {
        return Ok(0);
    }
    // One less than all: the number is kept with one added.
    Ok(socket.largest_segment().unwrap_or(usize::MAX - 1))
}
