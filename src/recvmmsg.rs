//! recvmmsg and recvmmsg_into: many datagrams received in one call; and what they are received with.

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMemoryView};
use rsnet_core::errno::Errno;
use rsnet_core::metadata::{self, Metadata};
use rsnet_core::mmsg::{self, Arrived, Incoming};
use rsnet_core::sys::{self, WritableMemory};
use rsnet_core::timeout::Timeout;

use crate::address;
use crate::arguments::{self, Arguments, Signature};
use crate::buffer::Buffer;
use crate::call::{self, receiving};
use crate::datagram::{About, Details, Maker, fits_header};
use crate::errors::{Error, Result, Returned};
use crate::options;
use crate::socket::This;

pub const DOC: &CStr =
    c"recvmmsg($self, /, count, bufsize, ancbufsize=0, flags=0, *, timeout=...)
--

Receive many datagrams in one call: wait for the first, then take what is there.

count: the most datagrams. bufsize: the most bytes of each; what is longer is cut, and has MSG_TRUNC
in its flags. ancbufsize: room for control messages, in bytes. flags: as for recvmsg(). timeout: how
long to wait for the first, in seconds, None for ever; the socket's own if it is left out.

Returns a list of rsnet.Datagram. With `gro` on, one that the kernel has joined of several is taken
apart again; the list may then be longer than count by what the last one held.

Raises TimeoutError if none comes in time, BlockingIOError if none is there on a non-blocking socket,
ValueError for negative numbers, OSError for what the kernel says; EOPNOTSUPP on a stream. An error
that comes after datagrams is raised by the next call.

Source: recvmmsg(2), udp(7).

>>> import rsnet
>>> a, b = rsnet.socketpair(rsnet.AF_UNIX, rsnet.SOCK_DGRAM)
>>> with a, b:
...     a.sendmmsg([b'one', b'two'])
...     [datagram.data for datagram in b.recvmmsg(count=16, bufsize=2048, timeout=1)]
2
[b'one', b'two']
";

/// What the kernel joins has no more bytes than one IP packet.
const MOST_JOINED_BYTES: usize = 65_535;

thread_local! {
    /// The thread's memory for datagrams, while no call uses it.
    static INCOMING: Cell<Option<Box<Incoming>>> = const { Cell::new(None) };
}

/// Runs `work` with the thread's memory for datagrams.
fn with_incoming<T>(work: impl FnOnce(&mut Incoming) -> Result<T>) -> Result<T> {
    let mut incoming = INCOMING.try_with(Cell::take).ok().flatten().unwrap_or_default();
    let result = work(&mut incoming);
    incoming.shrink();
    let _ = INCOMING.try_with(|kept| kept.set(Some(incoming)));
    result
}

/// What a call asks for.
struct Request {
    count: usize,
    bufsize: usize,
    ancbufsize: usize,
    flags: c_int,
    timeout: Timeout,
    joined: bool,
    own_control_bytes: usize,
}

impl Request {
    fn control_bytes(&self) -> usize {
        self.ancbufsize.saturating_add(self.own_control_bytes)
    }

    fn bytes_each(&self) -> usize {
        if self.joined { self.bufsize.max(MOST_JOINED_BYTES) } else { self.bufsize }
    }
}

fn timeout_of(this: This<'_, '_>, given: Option<Borrowed<'_, '_, PyAny>>) -> Result<Timeout> {
    match given {
        Some(given) => Ok(Timeout::from_ns(options::timeout_ns(&given)?)),
        None => Ok(this.get().timeout()),
    }
}

/// The kernel shows the same datagram as often as it is asked.
fn at_most_one_if_peeked(count: usize, flags: c_int) -> usize {
    if flags & libc::MSG_PEEK != 0 { count.min(1) } else { count }
}

pub fn recvmmsg<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    const SIGNATURE: Signature<5> = Signature {
        method: "recvmmsg",
        names: ["count", "bufsize", "ancbufsize", "flags", "timeout"],
        positional: 4,
        required: 2,
    };
    const NEGATIVE: &str = "negative count or size in recvmmsg";
    let [count, bufsize, ancbufsize, flags, timeout] = SIGNATURE.bind(&given)?;
    let size = |given: Option<Borrowed<'_, 'py, PyAny>>| {
        given.map_or(Ok(0), |given| arguments::size(&given, NEGATIVE))
    };
    let flags = flags.map_or(Ok(0), |flags| arguments::number(&flags))?;
    let request = Request {
        count: at_most_one_if_peeked(size(count)?, flags),
        bufsize: size(bufsize)?,
        ancbufsize: size(ancbufsize)?,
        flags,
        timeout: timeout_of(this, timeout)?,
        joined: this.get().is_udp() && gro(this)?,
        // The kernel writes nothing there unless the socket's options ask for it. Of UNIX sockets it
        // would be open descriptors.
        own_control_bytes: match this.get().family() {
            libc::AF_UNIX => 0,
            _ => metadata::CONTROL_BYTES,
        },
    };
    this.get().refuse_stream()?;
    let datagrams = with_incoming(|incoming| receive(this, &request, incoming))?;
    Ok(PyList::new(this.py(), datagrams)?.into_any())
}

fn receive<'py>(
    this: This<'_, 'py>,
    request: &Request,
    incoming: &mut Incoming,
) -> Result<Vec<Bound<'py, PyAny>>> {
    let py = this.py();
    let mut datagrams = Vec::new();
    if request.count == 0 {
        return call::brief(this.py(), this.get(), |_| Ok(datagrams));
    }
    this.get().take_put_off()?;
    let (each, control_bytes) = (request.bytes_each(), request.control_bytes());
    let room = incoming.make_room(request.count, each, control_bytes);
    room.ok_or(Error::Memory)?;
    let maker = Maker::new(py)?;
    let mut timeout = request.timeout;
    while datagrams.len() < request.count {
        let most = incoming.room().min(request.count - datagrams.len());
        let transfer = receiving(most.saturating_mul(each), request.flags);
        let came = call::attempt_within(py, this.get(), timeout, transfer, |fd, added| {
            incoming.receive(fd, most, request.flags | added | libc::MSG_WAITFORONE)
        });
        let Some(came) = unless_first(this, came, datagrams.is_empty())? else { break };
        if datagrams.is_empty() {
            datagrams.reserve(came);
        }
        // What came with SCM_RIGHTS is closed unless Python gets to know of it.
        let arrived = || (0..came).filter_map(|index| incoming.arrived(index));
        let descriptors: Vec<OwnedFd> = match this.get().family() {
            libc::AF_UNIX => arrived().flat_map(|it| sys::adopt_descriptors(it.control)).collect(),
            _ => Vec::new(),
        };
        let (counted, is_all) = records(this, incoming, came, most)?;
        for datagram in arrived().take(counted) {
            make(&maker, request, &datagram, &mut datagrams)?;
        }
        for descriptor in descriptors {
            let _ = descriptor.into_raw_fd();
        }
        if is_all {
            break;
        }
        // The first is here: what else is there is taken without waiting.
        timeout = Timeout::NonBlock;
    }
    Ok(datagrams)
}

/// How many of those that came are records, and whether they are all there are. At the end of a SEQPACKET connection there is nothing, as
/// often as one asks: the kernel fills all the room there is with it. One empty record stands for it.
fn records(
    this: This<'_, '_>,
    incoming: &Incoming,
    came: usize,
    most: usize,
) -> Result<(usize, bool)> {
    if this.get().kind() != libc::SOCK_SEQPACKET || came < most {
        return Ok((came, came < most));
    }
    let is_nothing = |&index: &usize| {
        incoming.arrived(index).is_none_or(|it| {
            it.bytes == 0 && it.control.is_empty() && it.flags & libc::MSG_TRUNC == 0
        })
    };
    let nothing = (0..came).rev().take_while(is_nothing).count();
    // Of an open connection they are records without a byte.
    if nothing > 0 && is_at_end(this)? { Ok((came - nothing + 1, true)) } else { Ok((came, false)) }
}

/// True if the peer sends no more and nothing is left: an empty packet looks the same to a receive.
fn is_at_end(this: This<'_, '_>) -> Result<bool> {
    let at_end = |fd| {
        Ok(sys::poll(fd, libc::POLLRDHUP, Some(Duration::ZERO)) == Ok(true)
            && sys::bytes_to_read(fd) == Ok(0))
    };
    call::brief(this.py(), this.get(), at_end)
}

/// The datagram, or the datagrams that the kernel has joined, as objects.
fn make<'py>(
    maker: &Maker<'py>,
    request: &Request,
    arrived: &Arrived<'_>,
    datagrams: &mut Vec<Bound<'py, PyAny>>,
) -> Result<()> {
    let mut metadata = Metadata::from_control(arrived.control);
    let joined = metadata.segment_bytes.take();
    let details = details(request, arrived, metadata);
    let mut about = About::new(arrived.flags, arrived.name, details.as_ref());
    match joined {
        Some(segment) if segment > 0 && request.joined => {
            for data in arrived.data.chunks(segment) {
                let kept = data.get(..request.bufsize).unwrap_or(data);
                about.flags =
                    arrived.flags | if kept.len() < data.len() { libc::MSG_TRUNC } else { 0 };
                datagrams.push(maker.make(kept, &about)?);
            }
        }
        _ => {
            let kept = arrived.data.get(..request.bufsize).unwrap_or(arrived.data);
            about.flags |= if kept.len() < arrived.data.len() { libc::MSG_TRUNC } else { 0 };
            datagrams.push(maker.make(kept, &about)?);
        }
    }
    Ok(())
}

/// What there is to say beyond the header; `None` if there is nothing, so that datagrams that came
/// joined share nothing that each of them must count.
fn details(request: &Request, arrived: &Arrived<'_>, metadata: Metadata) -> Option<Arc<Details>> {
    let control = if request.ancbufsize > 0 { arrived.control } else { &[] };
    let long_name = if fits_header(arrived.name) { &[] } else { arrived.name };
    if metadata == Metadata::default() && control.is_empty() && long_name.is_empty() {
        return None;
    }
    let (control, long_name) = (control.to_vec(), long_name.to_vec());
    Some(Arc::new(Details { metadata, control, long_name }))
}

pub const INTO_DOC: &CStr =
    c"recvmmsg_into($self, /, buffer, bufsize=0, flags=0, *, timeout=...)
--

Receive many datagrams into one buffer, one a row: wait for the first, then take what is there.

buffer: a contiguous writable buffer, such as a numpy array of shape (count, bytes). bufsize: the
bytes of one row; 0 takes the buffer's own rows (of a buffer of one dimension: all of it). flags: as
for recvmsg(). timeout: as for recvmmsg().

Returns (lengths, addresses): a memoryview of native unsigned ints ('I', numpy.asarray takes it as
it is) with the bytes that came into each row, with MSG_TRUNC in flags the bytes that there were; and
a list of the senders' addresses. Both are as long as datagrams came.

Raises what recvmmsg() raises, BufferError for a buffer that is not contiguous or not writable, and
ValueError for a bufsize beyond the buffer and on a socket with `gro` on, whose joined datagrams have
no rows of their own.

Source: recvmmsg(2), udp(7).

>>> import rsnet
>>> a, b = rsnet.socketpair(rsnet.AF_UNIX, rsnet.SOCK_DGRAM)
>>> rows = bytearray(4 * 16)
>>> with a, b:
...     a.sendmmsg([b'one', b'three'])
...     lengths, addresses = b.recvmmsg_into(rows, 16)
2
>>> list(lengths), bytes(rows[16:21])
([3, 5], b'three')
";

pub fn recvmmsg_into<'py>(this: This<'_, 'py>, given: Arguments<'_, 'py>) -> Returned<'py> {
    const SIGNATURE: Signature<4> = Signature {
        method: "recvmmsg_into",
        names: ["buffer", "bufsize", "flags", "timeout"],
        positional: 3,
        required: 1,
    };
    let [buffer, bufsize, flags, timeout] = SIGNATURE.bind(&given)?;
    let negative = "negative bufsize in recvmmsg_into";
    let bufsize = bufsize.map_or(Ok(0), |given| arguments::size(&given, negative))?;
    let flags = flags.map_or(Ok(0), |flags| arguments::number(&flags))?;
    let timeout = timeout_of(this, timeout)?;
    this.get().refuse_stream()?;
    if this.get().is_udp() && gro(this)? {
        return Err(Error::Value(
            "recvmmsg_into() cannot take joined datagrams apart: set gro = False",
        )
        .into());
    }
    let Some(buffer) = buffer else { return Err(Error::Memory.into()) };
    let (buffer, rows) = Buffer::rows_to_write(&buffer)?;
    let rows = rows_of(&buffer, rows, bufsize, flags)?;
    with_incoming(|incoming| receive_into(this, incoming, rows, flags, timeout))
        .map_err(PyErr::from)
}

/// The rows of the buffer, as memory.
fn rows_of(buffer: &Buffer, rows: usize, bufsize: usize, flags: c_int) -> Result<Rows> {
    let row = match bufsize {
        0 => buffer.len() / rows.max(1),
        _ if bufsize <= buffer.len() => bufsize,
        _ => return Err(Error::Value("bufsize is greater than the length of the buffer")),
    };
    let all = buffer.memory_to_write(buffer.len());
    let count = at_most_one_if_peeked(all.len.checked_div(row).unwrap_or(0), flags);
    Ok(Rows { all, row, count })
}

/// Memory cut into rows.
#[derive(Clone, Copy)]
struct Rows {
    all: WritableMemory,
    row: usize,
    count: usize,
}

impl Rows {
    fn from(self, first: usize) -> impl Iterator<Item = WritableMemory> {
        (first..self.count).map(move |index| WritableMemory {
            start: self.all.start.wrapping_add(index * self.row),
            len: self.row,
        })
    }
}

fn receive_into<'py>(
    this: This<'_, 'py>,
    incoming: &mut Incoming,
    rows: Rows,
    flags: c_int,
    mut timeout: Timeout,
) -> Result<Bound<'py, PyAny>> {
    let py = this.py();
    let mut lengths = Vec::new();
    let addresses = PyList::empty(py);
    if rows.count == 0 {
        call::brief(this.py(), this.get(), |_| Ok(()))?;
    }
    this.get().take_put_off()?;
    while addresses.len() < rows.count {
        incoming.borrow_room(rows.from(addresses.len())).ok_or(Error::Memory)?;
        let most = incoming.room();
        let transfer = receiving(most.saturating_mul(rows.row), flags);
        let came = call::attempt_within(py, this.get(), timeout, transfer, |fd, added| {
            incoming.receive(fd, most, flags | added | libc::MSG_WAITFORONE)
        });
        let Some(came) = unless_first(this, came, addresses.is_empty())? else { break };
        let (counted, is_all) = records(this, incoming, came, most)?;
        for arrived in (0..counted).filter_map(|index| incoming.arrived(index)) {
            let length = u32::try_from(arrived.bytes).unwrap_or(u32::MAX);
            lengths.extend(length.to_ne_bytes());
            addresses.append(address::to_python(py, &arrived.from())?)?;
        }
        if is_all {
            break;
        }
        timeout = Timeout::NonBlock;
    }
    let lengths = PyMemoryView::from(PyBytes::new(py, &lengths).as_any())?;
    let lengths = lengths.call_method1(intern!(py, "cast"), ("I",))?;
    Ok((lengths, addresses).into_pyobject(py)?.into_any())
}

/// How many came. An error of the first call is one; that of a later one, after datagrams have come,
/// ends the batch and is left for the next.
fn unless_first(this: This<'_, '_>, came: Result<usize>, first: bool) -> Result<Option<usize>> {
    match came {
        Ok(came) => Ok(Some(came)),
        Err(Error::Errno(error)) if !first => {
            if !error.would_block() {
                this.get().put_off(error);
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

// What datagrams are received with.

//
// The options belong to the open file, which other objects and processes may share: the kernel is
// asked, nothing is kept.

/// `sock.gro`
pub fn gro(this: This<'_, '_>) -> Result<bool> {
    let get = |fd| sys::getsockopt_int(fd, libc::SOL_UDP, mmsg::UDP_GRO);
    // A kernel, or a socket, that does not know the option does not do it.
    let on = call::brief(this.py(), this.get(), |fd| Ok(get(fd).unwrap_or(0)))?;
    Ok(on != 0)
}

/// `sock.gro = on`
pub fn set_gro(this: This<'_, '_>, on: bool) -> Result<()> {
    let set = |fd| sys::setsockopt_int(fd, libc::SOL_UDP, mmsg::UDP_GRO, c_int::from(on));
    call::brief(this.py(), this.get(), set)
}

/// `sock.metadata`
pub fn metadata(this: This<'_, '_>) -> Result<bool> {
    let (level, name) = metadata::TIME;
    Ok(call::brief(this.py(), this.get(), |fd| sys::getsockopt_int(fd, level, name))? != 0)
}

/// `sock.metadata = on`
pub fn set_metadata(this: This<'_, '_>, on: bool) -> Result<()> {
    let options = metadata::options(this.get().family()).ok_or(Errno(libc::EOPNOTSUPP))?;
    for &(level, name) in options {
        call::brief(this.py(), this.get(), |fd| {
            sys::setsockopt_int(fd, level, name, c_int::from(on))
        })?;
    }
    Ok(())
}
