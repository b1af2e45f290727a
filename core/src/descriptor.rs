//! A descriptor that several threads use at once and that one of them may close.
//!
//! Every system call on a socket happens between `enter` and the drop of the `Call` it gives.
//! Closing while calls are in flight wakes those that wait and leaves the number open until the
//! last of them is out: a call can never find somebody else's descriptor under its number.
//!
//! The number, an epoch and the count of calls share one word, so that entering is one atomic
//! addition. The epoch tells a call that the descriptor it entered with has been closed.
//!
//! Whoever excludes `withdraw` by a lock of its own, as Python's does, may use the number under that
//! lock without entering.
//!
//! A call that blocks, in the kernel's own recv or in poll, shows on which descriptor its thread
//! sleeps. A closer interrupts those threads by a signal (as Java's runtime does it), until they
//! are awake: one that comes in the moment before the system call is not the last.
//!
//! Calls of threads that a fork left behind do not exist in the child: the fork generation makes
//! their count start anew there.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use crate::errno::{Errno, Result};
use crate::sys;
use crate::timeout::Deadline;

/// Calls in flight: the low 20 bits, more than Linux has threads for one process's sockets.
const CALLS: u64 = (1 << 20) - 1;
/// One step of the epoch: the 11 bits above. A call would have to sleep through 2,048 closings of
/// one object to take its descriptor for the present one.
const EPOCH_STEP: u64 = 1 << 20;
const EPOCH: u64 = ((1 << 11) - 1) << 20;
/// Set while a closed number waits for the last call to leave.
const RETIRED: u64 = 1 << 31;
/// The number, all ones when there is none.
const FD_SHIFT: u32 = 32;

const fn fd_of(state: u64) -> RawFd {
    ((state >> FD_SHIFT) as u32).cast_signed()
}

const fn fd_bits(fd: RawFd) -> u64 {
    (fd.cast_unsigned() as u64) << FD_SHIFT
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Data, a connection, or the end of them.
    Read,
    /// Room to send, or a connection made.
    Write,
    /// Nothing but time.
    Time,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The socket has something to say: data, room, an error, the end.
    Ready,
    /// The deadline has passed.
    TimedOut,
    /// The slice is over, the deadline is not.
    Sliced,
    /// A signal arrived.
    Interrupted,
    /// poll failed, or the descriptor was closed meanwhile (EBADF).
    Failed(Errno),
}

/// What is left to do of a `close`.
#[must_use]
pub enum Closing {
    /// Nothing: there was no descriptor.
    Done,
    /// Calls on the descriptor of this id are to be interrupted; the last of them closes the number.
    InUse(usize),
    /// The number is to be closed.
    Unused(RawFd),
}

impl Closing {
    /// The second half of `close`. May block for as long as SO_LINGER says.
    ///
    /// # Errors
    /// What close(2) says, when it is called here.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Done => Ok(()),
            Self::InUse(id) => {
                wake_sleepers(id);
                Ok(())
            }
            Self::Unused(fd) => sys::close(fd),
        }
    }
}

/// A descriptor, or the place of one.
pub struct Descriptor {
    state: AtomicU64,
    generation: AtomicU32,
}

impl Default for Descriptor {
    fn default() -> Self {
        Self {
            state: AtomicU64::new(fd_bits(-1)),
            generation: AtomicU32::new(GENERATION.load(Ordering::Relaxed)),
        }
    }
}

impl Descriptor {
    /// The number; -1 when there is none.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        fd_of(self.state.load(Ordering::Relaxed))
    }

    /// Puts `fd` in place. A number that was there before is left open and forgotten, as
    /// CPython's `__init__` leaves it.
    pub fn adopt(&self, fd: RawFd) {
        self.settle_after_fork();
        self.replace(fd);
    }

    /// Takes the number out without closing it; -1 if there was none. Calls in flight go on.
    pub fn detach(&self) -> RawFd {
        self.settle_after_fork();
        fd_of(self.replace(-1))
    }

    /// Closes the descriptor: at once if nobody uses it; else those who wait are woken and the
    /// last one out closes it. May block for as long as SO_LINGER says.
    ///
    /// # Errors
    /// What close(2) says, when it is called here.
    pub fn close(&self) -> Result<()> {
        self.withdraw().finish()
    }

    /// The first half of `close`, which does not block: from now on nobody finds the number here.
    pub fn withdraw(&self) -> Closing {
        self.settle_after_fork();
        let mut registry = registry();
        // Whoever takes the number out, here or in `detach`, has it alone.
        let before = self.retire();
        let fd = fd_of(before);
        if fd < 0 {
            Closing::Done
        } else if before & CALLS > 0 {
            registry.retired.push((self.id(), fd));
            Closing::InUse(self.id())
        } else {
            Closing::Unused(fd)
        }
    }

    /// A call begins. Its number stays open until the `Call` is dropped.
    ///
    /// # Errors
    /// EBADF if there is no descriptor.
    pub fn enter(&self) -> Result<Call<'_>> {
        self.settle_after_fork();
        let before = self.state.fetch_add(1, Ordering::SeqCst);
        let call = Call {
            descriptor: self,
            fd: fd_of(before),
            epoch: before & EPOCH,
            generation: self.generation.load(Ordering::Relaxed),
            has_left: false,
        };
        if call.fd < 0 { Err(Errno(libc::EBADF)) } else { Ok(call) }
    }

    fn id(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// Exchanges the number and keeps the rest; gives the word as it was.
    fn replace(&self, fd: RawFd) -> u64 {
        let exchange = |state: u64| Some(fd_bits(fd) | (state & (CALLS | RETIRED | EPOCH)));
        match self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, exchange) {
            Ok(before) | Err(before) => before,
        }
    }

    /// Takes the number out for closing; gives the word as it was. If calls were in flight, the last
    /// of them must close the number.
    fn retire(&self) -> u64 {
        let exchange = |state: u64| {
            if fd_of(state) < 0 {
                return None;
            }
            let epoch = (state + EPOCH_STEP) & EPOCH;
            let retired = if state & CALLS > 0 { RETIRED } else { state & RETIRED };
            Some(fd_bits(-1) | (state & CALLS) | epoch | retired)
        };
        match self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, exchange) {
            Ok(before) | Err(before) => before,
        }
    }

    /// The last call is out: closes what was closed while it was in.
    fn reap(&self) {
        let mut registry = registry();
        let busy = |state: u64| (state & CALLS == 0).then_some(state & !RETIRED);
        if self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, busy).is_err() {
            // Another call came in meanwhile; it is the last one now.
            return;
        }
        let id = self.id();
        let retired: Vec<RawFd> =
            registry.retired.extract_if(.., |entry| entry.0 == id).map(|entry| entry.1).collect();
        drop(registry);
        for fd in retired {
            // Nobody is left to hear of an error.
            let _ = sys::close(fd);
        }
    }

    /// In a forked child, forgets the calls of threads that exist only in the parent.
    #[inline]
    fn settle_after_fork(&self) {
        if self.generation.load(Ordering::Acquire) != GENERATION.load(Ordering::Relaxed) {
            self.settle();
        }
    }

    #[cold]
    fn settle(&self) {
        {
            let _registry = registry();
            let generation = GENERATION.load(Ordering::Relaxed);
            if self.generation.load(Ordering::Relaxed) == generation {
                return;
            }
            // First the count, then the generation: whoever sees the new one must find no old calls.
            self.state.fetch_and(!CALLS, Ordering::SeqCst);
            self.generation.store(generation, Ordering::Release);
        }
        if self.state.load(Ordering::SeqCst) & RETIRED != 0 {
            self.reap();
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // No call can be in flight: each borrows the descriptor.
        self.settle_after_fork();
        let fd = self.fd();
        if fd >= 0 {
            let _ = sys::close(fd);
        }
    }
}

/// A call in flight.
pub struct Call<'a> {
    descriptor: &'a Descriptor,
    fd: RawFd,
    epoch: u64,
    generation: u32,
    has_left: bool,
}

impl Call<'_> {
    /// The number, open for as long as the call lives (unless somebody closes it behind the
    /// socket's back).
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// True once `close` was called after this call began.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.descriptor.state.load(Ordering::SeqCst) & EPOCH != self.epoch
    }

    /// Makes a system call that may block. `close` interrupts it; then, and if the descriptor was
    /// closed before, it gives EBADF, unless the system call has something better to give.
    ///
    /// # Errors
    /// EBADF, or what the system call says.
    pub fn block<T>(&self, op: impl FnOnce(RawFd) -> Result<T>) -> Result<T> {
        let result = asleep_on(self.descriptor, || {
            if self.is_closed() { Err(Errno(libc::EBADF)) } else { op(self.fd) }
        });
        match result {
            Err(_) if self.is_closed() => Err(Errno(libc::EBADF)),
            other => other,
        }
    }

    /// Waits until the socket is ready, the deadline passes, `slice` is over, a signal arrives or
    /// the descriptor is closed.
    #[must_use]
    pub fn wait(&self, interest: Interest, deadline: Deadline, slice: Option<Duration>) -> Waited {
        // Polled even when nothing is left: what is there is taken, however short the timeout.
        let shortest = [deadline.left(), slice].into_iter().flatten().min();
        match self.block(|fd| sys::poll(polled(fd, interest), events(interest), shortest)) {
            Ok(true) => Waited::Ready,
            Ok(false) if deadline.left().is_some_and(|left| left.is_zero()) => Waited::TimedOut,
            Ok(false) => Waited::Sliced,
            Err(Errno(libc::EINTR)) => Waited::Interrupted,
            Err(error) => Waited::Failed(error),
        }
    }
}

impl Call<'_> {
    /// Ends the call before it is dropped, for whoever must choose the moment: the last call out of a
    /// closed descriptor closes the number, which may block for as long as SO_LINGER says. The
    /// number must not be used after.
    pub fn leave(&mut self) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        if self.generation != GENERATION.load(Ordering::Relaxed) {
            // The process forked during the call, and this is the child: not counted here.
            return;
        }
        let before = self.descriptor.state.fetch_sub(1, Ordering::SeqCst);
        if before & CALLS == 1 && before & RETIRED != 0 {
            self.descriptor.reap();
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Poll tells of errors and hang-ups unasked, but not of a descriptor below zero.
const fn polled(fd: RawFd, interest: Interest) -> RawFd {
    match interest {
        Interest::Read | Interest::Write => fd,
        Interest::Time => -1,
    }
}

const fn events(interest: Interest) -> i16 {
    match interest {
        Interest::Read => libc::POLLIN,
        Interest::Write => libc::POLLOUT,
        Interest::Time => 0,
    }
}

/// A thread that sleeps on descriptors now and then. Never freed, but used again by later threads: the
/// way into a call needs no count of references.
#[derive(Default)]
struct Sleeper {
    thread: AtomicI32,
    /// The id of the `Descriptor` it sleeps on, or zero.
    on: AtomicUsize,
}

/// What a thread knows of itself.
#[derive(Clone, Copy)]
struct OwnSleeper {
    sleeper: &'static Sleeper,
    is_main: bool,
    generation: u32,
}

/// True in the thread that the process began with (or that forked it), the only one in which Python
/// runs signal handlers.
#[must_use]
pub fn is_main_thread() -> bool {
    OwnSleeper::of_this_thread().is_some_and(|own| own.is_main)
}

/// Runs `op` with the thread shown as asleep on the descriptor.
fn asleep_on<T>(descriptor: &Descriptor, op: impl FnOnce() -> T) -> T {
    let Some(own) = OwnSleeper::of_this_thread() else { return op() };
    // Before the look at the epoch, as a closer steps the epoch before it looks here: one of the two
    // sees the other.
    own.sleeper.on.store(descriptor.id(), Ordering::SeqCst);
    let result = op();
    own.sleeper.on.store(0, Ordering::Release);
    result
}

impl OwnSleeper {
    /// `None` while the thread's destructors run: such a thread sleeps unseen.
    #[inline]
    fn of_this_thread() -> Option<Self> {
        let present = GENERATION.load(Ordering::Relaxed);
        let own = SLEEPER.try_with(|slot| match slot.0.get() {
            Some(own) if own.generation == present => own,
            _ => {
                let own = Self::register(present);
                slot.0.set(Some(own));
                own
            }
        });
        own.ok()
    }

    #[cold]
    fn register(generation: u32) -> Self {
        let thread = sys::gettid();
        let mut registry = registry();
        let sleeper = registry.unused.pop().unwrap_or_else(|| Box::leak(Box::default()));
        sleeper.thread.store(thread, Ordering::SeqCst);
        registry.sleepers.push(sleeper);
        Self { sleeper, is_main: thread == sys::getpid(), generation }
    }
}

/// Takes the thread off the registry when it ends.
struct ThreadSleeper(Cell<Option<OwnSleeper>>);

impl Drop for ThreadSleeper {
    fn drop(&mut self) {
        let mut registry = registry();
        if let Some(own) = self.0.take()
            && own.generation == GENERATION.load(Ordering::Relaxed)
        {
            registry.sleepers.retain(|other| !ptr::eq(*other, own.sleeper));
            registry.unused.push(own.sleeper);
        }
    }
}

thread_local! {
    static SLEEPER: ThreadSleeper = const { ThreadSleeper(Cell::new(None)) };
    static FORKING: Cell<Option<MutexGuard<'static, Registry>>> = const { Cell::new(None) };
}

/// How many forks lie between this process and the one that loaded rsnet.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { sleepers: Vec::new(), unused: Vec::new(), retired: Vec::new() });

struct Registry {
    sleepers: Vec<&'static Sleeper>,
    /// Those of threads that have ended.
    unused: Vec<&'static Sleeper>,
    /// Closed numbers that calls still use, by the id of their descriptor.
    retired: Vec<(usize, RawFd)>,
}

/// Interrupts the threads that sleep on a descriptor, until they are awake.
fn wake_sleepers(id: usize) {
    // A signal can land before the sleeper's system call begins and be lost; the next one will not
    // be. A thread that blocks the signal is given up after a tenth of a second: its call ends when
    // the socket has something to say, and the number stays taken till then.
    const PAUSES: [Duration; 3] =
        [Duration::from_micros(50), Duration::from_micros(200), Duration::from_millis(1)];
    for round in 0..100 {
        let mut asleep = false;
        for sleeper in &registry().sleepers {
            if sleeper.on.load(Ordering::SeqCst) == id {
                sys::interrupt_thread(sleeper.thread.load(Ordering::SeqCst));
                asleep = true;
            }
        }
        if !asleep {
            return;
        }
        std::thread::sleep(PAUSES[round.min(PAUSES.len() - 1)]);
    }
}

fn registry() -> MutexGuard<'static, Registry> {
    // Nothing inside can be left half-done by a panic.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes fork(2) safe for descriptors: the registry is whole in the child, and the child starts a
/// new generation. To be called once, before the first descriptor is shared between threads.
///
/// # Errors
/// ENOMEM.
pub fn prepare_for_forks() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        result = sys::at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    });
    result
}

extern "C" fn before_fork() {
    let guard = registry();
    let _ = FORKING.try_with(|slot| slot.set(Some(guard)));
}

extern "C" fn after_fork_in_parent() {
    let _ = FORKING.try_with(Cell::take);
}

extern "C" fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    if let Some(mut registry) = FORKING.try_with(Cell::take).ok().flatten() {
        // The other threads are not here. This one registers anew when it next sleeps.
        registry.sleepers.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::IntoRawFd;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;
    use crate::timeout::Timeout;

    fn pair() -> (Descriptor, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let descriptor = Descriptor::default();
        descriptor.adopt(ours.into_raw_fd());
        (descriptor, theirs)
    }

    fn is_open(fd: RawFd) -> bool {
        sys::is_nonblocking(fd).is_ok()
    }

    const FOR_EVER: Timeout = Timeout::Block;

    #[test]
    fn nothing_to_enter() {
        let descriptor = Descriptor::default();
        assert!(matches!(descriptor.enter(), Err(Errno(libc::EBADF))));
        assert_eq!(descriptor.detach(), -1);
        assert_eq!(descriptor.close(), Ok(()));
    }

    #[test]
    fn ready_and_timed_out() {
        let (descriptor, mut peer) = pair();
        let call = descriptor.enter().unwrap();
        let soon = Deadline::after(Timeout::After(1_000_000));
        assert_eq!(call.wait(Interest::Read, soon, None), Waited::TimedOut);
        assert_eq!(call.wait(Interest::Write, soon_again(), None), Waited::Ready);
        peer.write_all(b"x").unwrap();
        assert_eq!(call.wait(Interest::Read, Deadline::after(FOR_EVER), None), Waited::Ready);
    }

    fn soon_again() -> Deadline {
        Deadline::after(Timeout::After(1_000_000_000))
    }

    #[test]
    fn slices_end_before_the_deadline() {
        let (descriptor, _peer) = pair();
        let call = descriptor.enter().unwrap();
        let slice = Some(Duration::from_millis(1));
        assert_eq!(call.wait(Interest::Read, Deadline::after(FOR_EVER), slice), Waited::Sliced);
    }

    #[test]
    fn close_wakes_and_the_last_one_out_closes() {
        let (descriptor, _peer) = pair();
        let fd = descriptor.fd();
        thread::scope(|scope| {
            let call = descriptor.enter().unwrap();
            let waiters: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let call = descriptor.enter().unwrap();
                        call.wait(Interest::Read, Deadline::after(FOR_EVER), None)
                    })
                })
                .collect();
            while descriptor.state.load(Ordering::SeqCst) & CALLS < 5 {
                thread::yield_now();
            }
            assert_eq!(descriptor.close(), Ok(()));
            assert_eq!(descriptor.fd(), -1);
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), Waited::Failed(Errno(libc::EBADF)));
            }
            // This call is still in: the number is not free.
            assert!(is_open(fd) && call.is_closed());
            assert!(descriptor.enter().is_err());
        });
        assert_eq!(descriptor.state.load(Ordering::SeqCst) & (CALLS | RETIRED), 0);
        assert!(!registry().retired.iter().any(|&(_, retired)| retired == fd));
    }

    #[test]
    fn a_new_number_does_not_revive_an_old_call() {
        let (descriptor, _peer) = pair();
        let call = descriptor.enter().unwrap();
        let old = descriptor.fd();
        assert_eq!(descriptor.close(), Ok(()));
        let (other, _other_peer) = UnixStream::pair().unwrap();
        descriptor.adopt(other.into_raw_fd());
        assert_ne!(descriptor.fd(), old);
        assert_eq!(
            call.wait(Interest::Read, Deadline::after(FOR_EVER), None),
            Waited::Failed(Errno(libc::EBADF))
        );
        drop(call);
        assert_eq!(descriptor.close(), Ok(()));
    }

    #[test]
    fn detaching_leaves_calls_alone() {
        let (descriptor, mut peer) = pair();
        let call = descriptor.enter().unwrap();
        let fd = descriptor.detach();
        peer.write_all(b"x").unwrap();
        assert_eq!(call.wait(Interest::Read, Deadline::after(FOR_EVER), None), Waited::Ready);
        drop(call);
        assert!(is_open(fd));
        assert_eq!(sys::close(fd), Ok(()));
    }

    #[test]
    fn a_child_forgets_the_calls_of_its_parent() {
        let (descriptor, _peer) = pair();
        let call = descriptor.enter().unwrap();
        // What a fork does to the child, without the fork: a test process has other threads.
        let descriptor_in_child = Descriptor {
            state: AtomicU64::new(descriptor.state.load(Ordering::SeqCst)),
            generation: AtomicU32::new(u32::MAX),
        };
        let (other, _other_peer) = UnixStream::pair().unwrap();
        descriptor_in_child.adopt(other.into_raw_fd());
        assert_eq!(descriptor_in_child.close(), Ok(()));
        assert_eq!(descriptor_in_child.state.load(Ordering::SeqCst) & (CALLS | RETIRED), 0);
        drop(call);
    }
}
