//! The only place that blocks. A call tries at once; if it would block it waits, without the
//! interpreter, for readiness, its one deadline, a signal or the socket's close, and tries again.
//!
//! A socket without a timeout behaves as the kernel's blocking descriptor does, yet is not left to
//! block inside the kernel, from where close() could not call it back. Where the kernel's own
//! blocking cannot be matched from outside (SO_RCVTIMEO and its kin, unusual flags) it is left to
//! the kernel.

use std::os::fd::RawFd;
use std::time::Duration;

use pyo3::marker::Ungil;
use pyo3::prelude::*;
use rsnet_core::descriptor::{Call, Interest, Waited};
use rsnet_core::errno::{self, Errno};
use rsnet_core::sockaddr::AddressBuffer;
use rsnet_core::sys;
use rsnet_core::timeout::{Deadline, Timeout};
use socket2::SockAddr;

use crate::errors::{Error, Result};
use crate::socket::Socket;

/// Runs what may take long and needs no Python.
pub fn without_interpreter<T: Ungil>(py: Python<'_>, work: impl Ungil + FnOnce() -> T) -> T {
    py.detach(work)
}

/// How a call that would block goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Try with MSG_DONTWAIT, wait, try again.
    Wait,
    /// Try with MSG_DONTWAIT and leave it at that.
    Try,
    /// One plain system call, which blocks or not as the kernel sees fit.
    Kernel,
    /// Wait until there is something, then one plain system call (MSG_WAITALL).
    WaitThenKernel,
}

/// Flags with which a blocking receive only differs from a plain one in what it gives, not in
/// when it returns.
const PLAIN_RECEIVE: i32 =
    libc::MSG_PEEK | libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC | libc::MSG_NOSIGNAL;
/// The same for sending.
const PLAIN_SEND: i32 =
    libc::MSG_NOSIGNAL | libc::MSG_MORE | libc::MSG_DONTROUTE | libc::MSG_CONFIRM | libc::MSG_EOR;

fn manner(socket: &Socket, timeout: Timeout, interest: Interest, flags: i32) -> Manner {
    let plain = match interest {
        Interest::Read => PLAIN_RECEIVE,
        Interest::Write | Interest::Time => PLAIN_SEND,
    };
    match timeout {
        Timeout::NonBlock => Manner::Try,
        Timeout::After(_) => Manner::Wait,
        Timeout::Block if socket.is_left_to_kernel() => Manner::Kernel,
        Timeout::Block if flags & !plain == 0 => Manner::Wait,
        Timeout::Block if flags & !(plain | libc::MSG_WAITALL) == 0 => Manner::WaitThenKernel,
        Timeout::Block => Manner::Kernel,
    }
}

/// What a stretch without the interpreter ended with.
enum Pause<T> {
    Done(T),
    Failed(Errno),
    TimedOut,
    /// Time to run signal handlers.
    Signals,
}

/// One call in progress: its deadline starts when it first has to wait.
struct Progress<'a> {
    call: Call<'a>,
    timeout: Timeout,
    manner: Manner,
    interest: Interest,
    deadline: Option<Deadline>,
    slice: Slice,
    /// How often in a row the socket was ready and the call would block all the same.
    false_alarms: u32,
}

/// A UNIX datagram socket that is not connected is always writable, however full its peer is:
/// after this many false alarms the call tries again by the clock.
const FALSE_ALARMS: u32 = 3;
const AFTER_FALSE_ALARMS: Duration = Duration::from_millis(1);

/// Python's main thread does not sleep for ever at a stretch: a signal that lands in the
/// microsecond between the look at the pending signals and the sleep is seen when the slice ends.
/// Other threads run no handlers and need no slices.
struct Slice(Option<Duration>);

impl Slice {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);

    fn next(&mut self) -> Option<Duration> {
        if !sys::is_main_thread() {
            return None;
        }
        let slice = self
            .0
            .map_or(Self::FIRST, |before| (before * 2).min(Self::LONGEST));
        self.0 = Some(slice);
        self.0
    }
}

impl Progress<'_> {
    /// Without the interpreter: tries, waits, tries again, until there is something to tell.
    fn advance<T>(&mut self, op: &mut impl FnMut(RawFd, i32) -> errno::Result<T>) -> Pause<T> {
        let added = match self.manner {
            Manner::Wait | Manner::Try => libc::MSG_DONTWAIT,
            Manner::Kernel | Manner::WaitThenKernel => 0,
        };
        if self.manner == Manner::WaitThenKernel
            && let Some(pause) = self.wait()
        {
            return pause;
        }
        loop {
            match op(self.call.fd(), added) {
                Ok(value) => return Pause::Done(value),
                Err(Errno(libc::EINTR)) => return Pause::Signals,
                Err(error) if error.would_block() && self.manner == Manner::Wait => {
                    if let Some(pause) = self.wait() {
                        return pause;
                    }
                    self.false_alarms += 1;
                }
                Err(error) => return Pause::Failed(error),
            }
        }
    }

    /// Waits for readiness; `None` when it has come.
    fn wait<T>(&mut self) -> Option<Pause<T>> {
        let deadline = match self.deadline {
            Some(deadline) => deadline,
            None => {
                if self.timeout == Timeout::Block && self.is_nonblocking() {
                    // Somebody set O_NONBLOCK behind the socket's back, and means it.
                    return match self.manner {
                        Manner::WaitThenKernel => None,
                        _ => Some(Pause::Failed(Errno(libc::EAGAIN))),
                    };
                }
                *self.deadline.insert(Deadline::after(self.timeout))
            }
        };
        let waited = if self.false_alarms < FALSE_ALARMS {
            self.call.wait(self.interest, deadline, self.slice.next())
        } else {
            match self
                .call
                .wait(Interest::Time, deadline, Some(AFTER_FALSE_ALARMS))
            {
                Waited::Sliced => Waited::Ready,
                other => other,
            }
        };
        match waited {
            Waited::Ready => None,
            Waited::TimedOut => Some(Pause::TimedOut),
            Waited::Sliced | Waited::Interrupted => Some(Pause::Signals),
            Waited::Closed => Some(Pause::Failed(Errno(libc::EBADF))),
            Waited::Failed(error) => Some(Pause::Failed(error)),
        }
    }

    fn is_nonblocking(&self) -> bool {
        sys::is_nonblocking(self.call.fd()).unwrap_or(true)
    }

    /// To the end, with signal handlers run in between (PEP 475).
    fn run<T: Send>(
        &mut self,
        py: Python<'_>,
        op: &mut (impl FnMut(RawFd, i32) -> errno::Result<T> + Send),
    ) -> Result<T> {
        loop {
            match py.detach(|| self.advance(op)) {
                Pause::Done(value) => return Ok(value),
                Pause::Failed(error) => return Err(error.into()),
                Pause::TimedOut => return Err(Error::TimedOut),
                Pause::Signals => {
                    py.check_signals()?;
                    if self.call.is_closed() {
                        return Err(Errno(libc::EBADF).into());
                    }
                }
            }
        }
    }
}

fn begin(socket: &Socket, interest: Interest, flags: i32) -> Result<Progress<'_>> {
    let timeout = socket.timeout();
    Ok(Progress {
        call: socket.descriptor().enter()?,
        timeout,
        manner: manner(socket, timeout, interest, flags),
        interest,
        deadline: None,
        slice: Slice(None),
        false_alarms: 0,
    })
}

/// A receiving or sending call. `op` is given the descriptor and the flags to add to `flags`.
pub fn attempt<T: Send>(
    py: Python<'_>,
    socket: &Socket,
    interest: Interest,
    flags: i32,
    mut op: impl FnMut(RawFd, i32) -> errno::Result<T> + Send,
) -> Result<T> {
    begin(socket, interest, flags)?.run(py, &mut op)
}

/// Sends through `op` (given the descriptor, the flags to add, and how many bytes are gone
/// already) until `len` bytes are gone, under one deadline. Gives how many went, and what ended it
/// if that was not the last byte.
fn send_until(
    py: Python<'_>,
    progress: &mut Progress<'_>,
    len: usize,
    mut op: impl FnMut(RawFd, i32, usize) -> errno::Result<usize> + Send,
) -> (usize, Result<()>) {
    let mut sent = 0;
    loop {
        match progress.run(py, &mut |fd, added| op(fd, added, sent)) {
            Ok(count) => {
                sent += count;
                progress.false_alarms = 0;
            }
            Err(error) => return (sent, Err(error)),
        }
        if sent >= len {
            return (sent, Ok(()));
        }
        // A partial write can mean that a signal came.
        if let Err(error) = py.check_signals() {
            return (sent, Err(error.into()));
        }
        if progress.timeout != Timeout::Block {
            let deadline = *progress
                .deadline
                .get_or_insert_with(|| Deadline::after(progress.timeout));
            if progress.timeout != Timeout::NonBlock
                && deadline.left().is_some_and(|left| left.is_zero())
            {
                return (sent, Err(Error::TimedOut));
            }
        }
    }
}

/// `sendall`: everything, or the error that stopped it and how many bytes went before.
pub fn send_all(
    py: Python<'_>,
    socket: &Socket,
    flags: i32,
    len: usize,
    op: impl FnMut(RawFd, i32, usize) -> errno::Result<usize> + Send,
) -> (usize, Result<()>) {
    match begin(socket, Interest::Write, flags) {
        Ok(mut progress) => send_until(py, &mut progress, len, op),
        Err(error) => (0, Err(error)),
    }
}

/// What is to be sent.
pub struct Sending {
    pub flags: i32,
    pub len: usize,
    /// True if it goes to an address of its own, false if to the connected peer.
    pub has_address: bool,
}

/// `send`, `sendto` and `sendmsg`. A blocking stream takes everything before it returns, as in the kernel,
/// and what stops it half-way is not an error of this call.
pub fn send(
    py: Python<'_>,
    socket: &Socket,
    what: &Sending,
    mut op: impl FnMut(RawFd, i32, usize) -> errno::Result<usize> + Send,
) -> Result<usize> {
    let mut progress = begin(socket, Interest::Write, what.flags)?;
    if what.has_address && socket.family() == libc::AF_UNIX && progress.timeout == Timeout::Block {
        // Only the kernel knows when such a peer has room again.
        progress.manner = Manner::Kernel;
    }
    let waits_for_all = progress.timeout == Timeout::Block && progress.manner == Manner::Wait;
    if !waits_for_all {
        return progress.run(py, &mut |fd, added| op(fd, added, 0));
    }
    let (sent, ended) = send_until(py, &mut progress, what.len, op);
    match ended {
        Err(error) if sent == 0 || matches!(error, Error::Raised(_)) => Err(error),
        _ => Ok(sent),
    }
}

/// accept(2), which has no MSG_DONTWAIT: tries at once if the descriptor cannot block, and waits
/// first if it can.
pub fn accept(
    py: Python<'_>,
    socket: &Socket,
    from: &mut AddressBuffer,
) -> Result<std::os::fd::OwnedFd> {
    let mut progress = begin(socket, Interest::Read, 0)?;
    let may_block = match progress.timeout {
        Timeout::NonBlock => false,
        Timeout::Block => true,
        Timeout::After(_) => !progress.is_nonblocking(),
    };
    if may_block && progress.manner == Manner::Wait {
        progress.manner = Manner::WaitThenKernel;
    }
    progress.run(py, &mut |fd, _| sys::accept(fd, from))
}

/// connect(2): never repeated. A connection under way is waited for, and SO_ERROR tells how it
/// went.
pub fn connect(py: Python<'_>, socket: &Socket, address: &SockAddr) -> Result<()> {
    let mut progress = begin(socket, Interest::Write, 0)?;
    let first = {
        let call = &progress.call;
        // close() calls a blocking connect back by shutting the connection down.
        let _connecting = (progress.timeout == Timeout::Block).then(|| call.connecting());
        py.detach(|| sys::connect(call.fd(), address))
    };
    let error = match first {
        Ok(()) => return Ok(()),
        Err(_) if progress.call.is_closed() => return Err(Errno(libc::EBADF).into()),
        Err(error) => error,
    };
    let under_way = match error {
        Errno(libc::EINTR) => {
            py.check_signals()?;
            progress.timeout != Timeout::NonBlock
        }
        Errno(libc::EINPROGRESS) => matches!(progress.timeout, Timeout::After(_)),
        _ => false,
    };
    if !under_way {
        return Err(error.into());
    }
    progress.deadline = Some(Deadline::after(progress.timeout));
    progress.manner = Manner::WaitThenKernel;
    progress.run(
        py,
        &mut |fd, _| match sys::getsockopt_int(fd, libc::SOL_SOCKET, libc::SO_ERROR)? {
            0 | libc::EISCONN => Ok(()),
            error => Err(Errno(error)),
        },
    )
}

/// close(2), which may linger.
pub fn close(py: Python<'_>, socket: &Socket) -> Result<()> {
    match py.detach(|| socket.descriptor().close()) {
        // The peer may have reset the connection already; nothing is lost by that.
        Ok(()) | Err(Errno(libc::ECONNRESET)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A call that asks or tells the kernel something about the descriptor: shorter than it would take
/// to let go of the interpreter and get it back.
pub fn brief<T>(socket: &Socket, op: impl FnOnce(RawFd) -> errno::Result<T>) -> Result<T> {
    let call = socket.descriptor().enter()?;
    Ok(op(call.fd())?)
}

/// A call that does not wait for the network, but may for a file system or a lock.
pub fn prompt<T: Send>(
    py: Python<'_>,
    socket: &Socket,
    op: impl FnOnce(RawFd) -> errno::Result<T> + Send,
) -> Result<T> {
    let call = socket.descriptor().enter()?;
    Ok(py.detach(|| op(call.fd()))?)
}
