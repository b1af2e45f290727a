//! The only place that blocks. A call tries at once; if it would block it goes on without the
//! interpreter, is interrupted by signals and by the socket's close, and has one deadline.
//!
//! A socket without a timeout blocks in the kernel's own system call: one system call, with all
//! that the kernel says about when it returns. A socket with a timeout polls until its deadline.

use std::ops::{ControlFlow, Deref};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use pyo3::marker::Ungil;
use pyo3::prelude::*;
use rsnet_core::descriptor::{self, Call, Interest, Waited};
use rsnet_core::errno::{self, Errno};
use rsnet_core::sockaddr::AddressBuffer;
use rsnet_core::sys;
use rsnet_core::timeout::{Deadline, Timeout};
use socket2::SockAddr;

use crate::errors::{Error, Result};
use crate::gil::{self, Hold};
use crate::socket::Socket;

/// Runs what may take long and needs no Python.
pub fn without_interpreter<T: Ungil>(py: Python<'_>, work: impl Ungil + FnOnce() -> T) -> T {
    py.detach(work)
}

/// Runs what takes a moment and needs no Python: with the interpreter held if nobody else could use it.
pub fn in_a_moment<T: Ungil>(py: Python<'_>, work: impl Ungil + FnOnce() -> T) -> T {
    match gil::hold_for(py, 0) {
        Hold::Alone => work(),
        Hold::Release | Hold::Credit => py.detach(work),
    }
}

/// Runs the handlers of signals that came: for what is called over and over again by code that does
/// not look itself.
pub fn look_for_signals(py: Python<'_>) -> PyResult<()> {
    py.check_signals()
}

/// Looks in on what runs without the interpreter: runs the handlers of signals that came, and then what
/// its caller wants done. To be called some ten times a second.
pub fn look_in(then: impl FnOnce(Python<'_>) -> PyResult<()>) -> PyResult<()> {
    Python::attach(|py| {
        py.check_signals()?;
        then(py)
    })
}

/// What a call is about to do, as far as it matters for how it is made.
#[derive(Clone, Copy)]
pub struct Transfer {
    interest: Interest,
    /// The flags that Python gave.
    flags: i32,
    /// How many bytes at most; of a batch, how many messages.
    len: usize,
    /// How many bytes are copied at most.
    bytes: usize,
}

/// A transfer that receives.
pub fn receiving(len: usize, flags: i32) -> Transfer {
    Transfer { interest: Interest::Read, flags, len, bytes: len }
}

/// A transfer that sends.
pub fn sending(len: usize, flags: i32) -> Transfer {
    Transfer { interest: Interest::Write, flags, len, bytes: len }
}

/// A transfer that sends so many messages of so many bytes in all.
pub fn sending_messages(len: usize, bytes: usize, flags: i32) -> Transfer {
    Transfer { interest: Interest::Write, flags, len, bytes }
}

/// Flags that change nothing in when a blocking call returns. With any other (MSG_WAITALL,
/// MSG_ERRQUEUE, MSG_OOB, ...) only the plain system call does what it should, and with a timeout
/// only a poll before it, as CPython makes one.
const INDIFFERENT_FLAGS: i32 = libc::MSG_PEEK
    | libc::MSG_TRUNC
    | libc::MSG_CMSG_CLOEXEC
    | libc::MSG_NOSIGNAL
    | libc::MSG_MORE
    | libc::MSG_DONTROUTE
    | libc::MSG_CONFIRM
    | libc::MSG_EOR;

/// Python's main thread does not poll for ever at a stretch: a signal that lands in the microsecond
/// between the look at the pending signals and the sleep is seen when the slice ends. Other threads
/// run no handlers and need no slices.
struct Slice(Option<Duration>);

impl Slice {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);

    fn next(&mut self) -> Option<Duration> {
        if !descriptor::is_main_thread() {
            return None;
        }
        let slice = self.0.map_or(Self::FIRST, |before| (before * 2).min(Self::LONGEST));
        self.0 = Some(slice);
        self.0
    }
}

/// A UNIX datagram socket that is not connected is always writable, however full its peer is:
/// after this many false alarms in a row a call tries again by the clock.
const FALSE_ALARMS: u32 = 3;
const AFTER_FALSE_ALARMS: Duration = Duration::from_millis(1);

/// What a stretch without the interpreter ended with.
enum Pause<T> {
    Done(T),
    Failed(Errno),
    TimedOut,
    /// Time to run signal handlers.
    Signals,
}

impl<T> From<errno::Result<T>> for Pause<T> {
    fn from(result: errno::Result<T>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(Errno(libc::EINTR)) => Self::Signals,
            Err(error) => Self::Failed(error),
        }
    }
}

/// A call in flight as Python's threads have it. If the socket is closed meanwhile, its end may close
/// the descriptor, and linger at it: other threads must be able to run then.
struct InFlight<'a>(Call<'a>);

impl<'a> InFlight<'a> {
    fn on(socket: &'a Socket) -> Result<Self> {
        Ok(Self(socket.descriptor().enter()?))
    }
}

impl<'a> Deref for InFlight<'a> {
    type Target = Call<'a>;

    fn deref(&self) -> &Call<'a> {
        &self.0
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.0.is_closed() {
            // An interpreter that shuts down cannot be let go of; the call ends by itself then.
            let call = &mut self.0;
            let _ = Python::try_attach(|py| py.detach(|| call.leave()));
        }
    }
}

/// The number of a socket's descriptor. It is taken out of the socket with the interpreter held
/// (`close`), so that nobody can close it until the interpreter is let go of: a system call that ends
/// before needs not be counted in flight, which costs as much as all the rest of a small one.
/// Builds without that lock do not load this module: they have no stable ABI.
fn held_fd(_: Python<'_>, socket: &Socket) -> errno::Result<RawFd> {
    match socket.descriptor().fd() {
        fd if fd < 0 => Err(Errno(libc::EBADF)),
        fd => Ok(fd),
    }
}

/// One call in progress. Its deadline starts when it first has to wait.
struct Progress<'a> {
    socket: &'a Socket,
    timeout: Timeout,
    transfer: Transfer,
    deadline: Option<Deadline>,
    slice: Slice,
    false_alarms: u32,
}

impl<'a> Progress<'a> {
    fn of(socket: &'a Socket, transfer: Transfer) -> Self {
        Self {
            socket,
            timeout: socket.timeout(),
            transfer,
            deadline: None,
            slice: Slice(None),
            false_alarms: 0,
        }
    }

    /// To the end. `op` is given the descriptor and the flags to add.
    #[inline]
    fn run<T: Send>(
        &mut self,
        py: Python<'_>,
        op: &mut (impl FnMut(RawFd, i32) -> errno::Result<T> + Send),
    ) -> Result<T> {
        match self.at_once(py, op) {
            ControlFlow::Break(result) => Ok(result?),
            ControlFlow::Continue(first) => self.go_on(py, op, first),
        }
    }

    /// A try with the interpreter held, if that is how this call is made. If it is not, or in vain:
    /// whether what follows begins with a try.
    #[inline]
    fn at_once<T>(
        &self,
        py: Python<'_>,
        op: &mut impl FnMut(RawFd, i32) -> errno::Result<T>,
    ) -> ControlFlow<errno::Result<T>, bool> {
        let may_try = self.may_try();
        let hold = if may_try { gil::hold_for(py, self.transfer.bytes) } else { Hold::Release };
        let first = match (self.timeout, hold) {
            (Timeout::NonBlock, _) | (_, Hold::Credit) => true,
            // Without the interpreter there is nothing to gain by a try: the blocking call is one
            // system call, whether it has to wait or not.
            (Timeout::Block, Hold::Release) => false,
            _ => may_try && self.expects_readiness(),
        };
        if !first || hold == Hold::Release {
            return ControlFlow::Continue(first);
        }
        match held_fd(py, self.socket).and_then(|fd| self.held_try(fd, op, hold)) {
            Err(error) if !self.ends(error) => ControlFlow::Continue(false),
            result => ControlFlow::Break(result),
        }
    }

    /// What a call does that was not over at once, with signal handlers run in between (PEP 475).
    fn go_on<T: Send>(
        &mut self,
        py: Python<'_>,
        op: &mut (impl FnMut(RawFd, i32) -> errno::Result<T> + Send),
        first: bool,
    ) -> Result<T> {
        let call = InFlight::on(self.socket)?;
        if self.timeout == Timeout::Block {
            // The kernel's blocking call ends only for signals that come while it sleeps. One that
            // came since the interpreter last looked is seen here.
            py.check_signals()?;
        }
        loop {
            match gil::without(py, || self.advance(&call, op, first)) {
                Pause::Done(value) => return Ok(value),
                Pause::Failed(error) => return Err(error.into()),
                Pause::TimedOut => return Err(Error::TimedOut),
                Pause::Signals => {
                    py.check_signals()?;
                    if call.is_closed() {
                        return Err(Errno(libc::EBADF).into());
                    }
                }
            }
        }
    }

    /// A try with the interpreter held; on credit, and if it is in vain, a short wait for a second.
    fn held_try<T>(
        &self,
        fd: RawFd,
        op: &mut impl FnMut(RawFd, i32) -> errno::Result<T>,
        hold: Hold,
    ) -> errno::Result<T> {
        let result = self.tried(op(fd, libc::MSG_DONTWAIT));
        let waits_shortly = hold == Hold::Credit
            && self.timeout != Timeout::NonBlock
            && self.transfer.interest == Interest::Read
            && gil::is_nobody_on_the_way()
            && self.socket.short_waits_pay();
        match result {
            Err(error) if error.would_block() && waits_shortly => {
                let result = gil::try_shortly(|| op(fd, libc::MSG_DONTWAIT));
                self.socket.waited_shortly(!matches!(result, Err(error) if error.would_block()));
                result
            }
            other => other,
        }
    }

    /// True if a try with MSG_DONTWAIT does no more and no less than the blocking call would.
    fn may_try(&self) -> bool {
        let indifferent = self.transfer.flags & !INDIFFERENT_FLAGS == 0;
        self.timeout == Timeout::NonBlock || indifferent && !self.socket.is_left_to_kernel()
    }

    /// There mostly is room to send. Whether there is something to receive, the last calls tell.
    fn expects_readiness(&self) -> bool {
        self.transfer.interest == Interest::Write || self.socket.expects_readiness()
    }

    /// Remembers how a try went.
    fn tried<T>(&self, result: errno::Result<T>) -> errno::Result<T> {
        if self.transfer.interest == Interest::Read {
            match &result {
                Ok(_) => self.socket.was_tried(true),
                Err(error) if error.would_block() => self.socket.was_tried(false),
                Err(_) => {}
            }
        }
        result
    }

    /// True for errors that no waiting mends.
    fn ends(&self, error: Errno) -> bool {
        match error {
            Errno(libc::EINTR) => false,
            error if error.would_block() => self.timeout == Timeout::NonBlock,
            _ => true,
        }
    }

    /// Without the interpreter, until there is something to tell.
    fn advance<T>(
        &mut self,
        call: &Call<'_>,
        op: &mut impl FnMut(RawFd, i32) -> errno::Result<T>,
        first: bool,
    ) -> Pause<T> {
        match self.timeout {
            Timeout::NonBlock => op(call.fd(), libc::MSG_DONTWAIT).into(),
            Timeout::Block => call.block(|fd| op(fd, 0)).into(),
            Timeout::After(_) => self.poll(call, op, first),
        }
    }

    /// Waits and tries in turns, beginning with a try if it is the `first`.
    fn poll<T>(
        &mut self,
        call: &Call<'_>,
        op: &mut impl FnMut(RawFd, i32) -> errno::Result<T>,
        first: bool,
    ) -> Pause<T> {
        if first {
            match self.tried(op(call.fd(), libc::MSG_DONTWAIT)) {
                Err(error) if error.would_block() => {}
                other => return other.into(),
            }
        }
        loop {
            if let Some(pause) = self.wait(call) {
                return pause;
            }
            match op(call.fd(), libc::MSG_DONTWAIT) {
                Err(error) if error.would_block() => self.false_alarms += 1,
                other => return other.into(),
            }
        }
    }

    /// Waits for readiness; `None` when it has come.
    fn wait<T>(&mut self, call: &Call<'_>) -> Option<Pause<T>> {
        let timeout = self.timeout;
        let deadline = *self.deadline.get_or_insert_with(|| Deadline::after(timeout));
        let waited = if self.false_alarms < FALSE_ALARMS {
            call.wait(self.transfer.interest, deadline, self.slice.next())
        } else {
            match call.wait(Interest::Time, deadline, Some(AFTER_FALSE_ALARMS)) {
                Waited::Sliced => Waited::Ready,
                other => other,
            }
        };
        match waited {
            Waited::Ready => None,
            Waited::TimedOut => Some(Pause::TimedOut),
            Waited::Sliced | Waited::Interrupted => Some(Pause::Signals),
            Waited::Failed(error) => Some(Pause::Failed(error)),
        }
    }
}

/// A receiving call. `op` is given the descriptor and the flags to add.
pub fn attempt<T: Send>(
    py: Python<'_>,
    socket: &Socket,
    transfer: Transfer,
    mut op: impl FnMut(RawFd, i32) -> errno::Result<T> + Send,
) -> Result<T> {
    Progress::of(socket, transfer).run(py, &mut op)
}

/// A receiving call with a timeout of its own.
pub fn attempt_within<T: Send>(
    py: Python<'_>,
    socket: &Socket,
    timeout: Timeout,
    transfer: Transfer,
    mut op: impl FnMut(RawFd, i32) -> errno::Result<T> + Send,
) -> Result<T> {
    let mut progress = Progress::of(socket, transfer);
    progress.timeout = match timeout {
        // The descriptor of a socket with a timeout does not block: poll as long as it takes.
        Timeout::Block if progress.timeout != Timeout::Block => Timeout::After(u64::MAX),
        other => other,
    };
    progress.run(py, &mut op)
}

/// `send`, `sendto` and `sendmsg`. `op` is also given how many bytes are gone already.
pub fn send(
    py: Python<'_>,
    socket: &Socket,
    transfer: Transfer,
    mut op: impl FnMut(RawFd, i32, usize) -> errno::Result<usize> + Send,
) -> Result<usize> {
    let mut progress = Progress::of(socket, transfer);
    let mut by_a_try = false;
    let sent = progress.run(py, &mut |fd, added| {
        by_a_try = added != 0;
        op(fd, added, 0)
    })?;
    if !(by_a_try && sent < transfer.len && progress.timeout == Timeout::Block) {
        return Ok(sent);
    }
    // The try took what there was room for. The kernel's own blocking call would have gone on until
    // all is gone or something stops it, which then is not an error of a call that sent something.
    py.check_signals()?;
    // A signal handler may have closed the socket.
    let Ok(call) = InFlight::on(socket) else { return Ok(sent) };
    let rest = py.detach(|| call.block(|fd| op(fd, 0, sent)));
    Ok(sent + rest.unwrap_or(0))
}

/// `sendall`: everything under one deadline, or the error that stopped it; and how many bytes went.
pub fn send_all(
    py: Python<'_>,
    socket: &Socket,
    transfer: Transfer,
    mut op: impl FnMut(RawFd, i32, usize) -> errno::Result<usize> + Send,
) -> (usize, Result<()>) {
    let mut progress = Progress::of(socket, transfer);
    let mut sent = 0;
    loop {
        match progress.run(py, &mut |fd, added| op(fd, added, sent)) {
            Ok(count) => sent += count,
            Err(error) => return (sent, Err(error)),
        }
        if sent >= transfer.len {
            return (sent, Ok(()));
        }
        progress.false_alarms = 0;
        // A partial write can mean that a signal came.
        if let Err(error) = py.check_signals() {
            return (sent, Err(error.into()));
        }
        if let Timeout::After(_) = progress.timeout {
            let timeout = progress.timeout;
            let deadline = *progress.deadline.get_or_insert_with(|| Deadline::after(timeout));
            if deadline.left().is_some_and(|left| left.is_zero()) {
                return (sent, Err(Error::TimedOut));
            }
        }
    }
}

const CONNECTION: Transfer = Transfer { interest: Interest::Read, flags: 0, len: 0, bytes: 0 };

/// accept(2), which has no MSG_DONTWAIT: with a timeout it is tried first only if the descriptor
/// cannot block, which somebody who shares it may have changed.
pub fn accept(py: Python<'_>, socket: &Socket, from: &mut AddressBuffer) -> Result<OwnedFd> {
    let mut progress = Progress::of(socket, CONNECTION);
    let mut op = |fd, _| sys::accept(fd, from);
    let cannot_block = match progress.timeout {
        Timeout::Block => false,
        Timeout::NonBlock => true,
        Timeout::After(_) => sys::is_nonblocking(held_fd(py, socket)?).unwrap_or(true),
    };
    if cannot_block {
        return progress.run(py, &mut op);
    }
    let call = InFlight::on(socket)?;
    loop {
        match py.detach(|| progress.advance(&call, &mut op, false)) {
            Pause::Done(accepted) => return Ok(accepted),
            Pause::Failed(error) => return Err(error.into()),
            Pause::TimedOut => return Err(Error::TimedOut),
            Pause::Signals => py.check_signals()?,
        }
    }
}

/// connect(2): never repeated. A connection under way is waited for, and SO_ERROR tells how it
/// went.
pub fn connect(py: Python<'_>, socket: &Socket, address: &SockAddr) -> Result<()> {
    let mut progress = Progress::of(socket, Transfer { interest: Interest::Write, ..CONNECTION });
    let call = InFlight::on(socket)?;
    let error = match py.detach(|| call.block(|fd| sys::connect(fd, address))) {
        Ok(()) => return Ok(()),
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
    loop {
        match py.detach(|| progress.wait::<()>(&call)) {
            None => break,
            Some(Pause::Failed(error)) => return Err(error.into()),
            Some(Pause::TimedOut) => return Err(Error::TimedOut),
            Some(Pause::Signals | Pause::Done(())) => py.check_signals()?,
        }
    }
    match sys::getsockopt_int(call.fd(), libc::SOL_SOCKET, libc::SO_ERROR)? {
        0 | libc::EISCONN => Ok(()),
        error => Err(Errno(error).into()),
    }
}

/// close(2), which may linger. The number is taken out with the interpreter held: see `held_fd`.
pub fn close(py: Python<'_>, socket: &Socket) -> Result<()> {
    let closing = socket.descriptor().withdraw();
    match py.detach(|| closing.finish()) {
        // The peer may have reset the connection already; nothing is lost by that.
        Ok(()) | Err(Errno(libc::ECONNRESET)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A call that asks or tells the kernel something about the descriptor: shorter than it would take
/// to let go of the interpreter and get it back.
pub fn brief<T>(
    py: Python<'_>,
    socket: &Socket,
    op: impl FnOnce(RawFd) -> errno::Result<T>,
) -> Result<T> {
    Ok(op(held_fd(py, socket)?)?)
}

/// A call that does not wait for the network, but may for a file system or a lock.
pub fn prompt<T: Send>(
    py: Python<'_>,
    socket: &Socket,
    op: impl FnOnce(RawFd) -> errno::Result<T> + Send,
) -> Result<T> {
    let call = InFlight::on(socket)?;
    Ok(py.detach(|| op(call.fd()))?)
}
