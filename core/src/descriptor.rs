//! A descriptor that several threads use at once and that one of them may close.
//!
//! Every system call on a socket happens between `enter` and the drop of the `Call` it gives.
//! Closing while calls are in flight wakes those that wait and leaves the number open until the
//! last of them is out: a call can never find somebody else's descriptor under its number.
//!
//! The number, an epoch and the count of calls share one word, so that entering is one atomic
//! addition. The epoch tells a call that the descriptor it entered with has been closed.
//!
//! A wait polls the socket and an eventfd of the waiting thread. The eventfd exists once a thread
//! has waited for the first time; a closer finds those that wait on its socket in a registry.
//! Calls of threads that a fork left behind do not exist in the child: the fork generation makes
//! their count start anew there.

use std::cell::{Cell, RefCell};
use std::os::fd::{IntoRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

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
    /// Nothing but time (and an error, which poll always tells).
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
    /// The descriptor was closed meanwhile.
    Closed,
    /// poll itself failed.
    Failed(Errno),
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
        self.replace(fd, 0);
    }

    /// Takes the number out without closing it; -1 if there was none. Calls in flight go on.
    pub fn detach(&self) -> RawFd {
        self.settle_after_fork();
        fd_of(self.replace(-1, 0))
    }

    /// Closes the descriptor: at once if nobody uses it; else those who wait are woken and the
    /// last one out closes it. May block for as long as SO_LINGER says.
    ///
    /// # Errors
    /// What close(2) says, when it is called here.
    pub fn close(&self) -> Result<()> {
        self.settle_after_fork();
        let mut registry = registry();
        let before = self.state.load(Ordering::SeqCst);
        let fd = fd_of(before);
        if fd < 0 {
            return Ok(());
        }
        if self.retire() {
            registry.retired.push((self.id(), fd));
            registry.wake(self.id());
            if registry.connecting.contains(&self.id()) {
                // The one call that blocks inside the kernel. Linux ends it for this; nobody else
                // can be using a connection that is not there yet.
                let _ = sys::shutdown(fd, libc::SHUT_RDWR);
            }
            return Ok(());
        }
        drop(registry);
        sys::close(fd)
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
        };
        if call.fd < 0 {
            Err(Errno(libc::EBADF))
        } else {
            Ok(call)
        }
    }

    fn id(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// Exchanges the number, keeps the count of calls, adds to the epoch and flags.
    fn replace(&self, fd: RawFd, add: u64) -> u64 {
        let exchange = |state: u64| {
            let epoch = (state + (add & EPOCH)) & EPOCH;
            Some(fd_bits(fd) | (state & (CALLS | RETIRED)) | epoch | (add & RETIRED))
        };
        match self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, exchange)
        {
            Ok(before) | Err(before) => before,
        }
    }

    /// Takes the number out for closing. True if calls are in flight, which then must close it.
    fn retire(&self) -> bool {
        let exchange = |state: u64| {
            let epoch = (state + EPOCH_STEP) & EPOCH;
            let retired = if state & CALLS > 0 {
                RETIRED
            } else {
                state & RETIRED
            };
            Some(fd_bits(-1) | (state & CALLS) | epoch | retired)
        };
        match self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, exchange)
        {
            Ok(before) | Err(before) => before & CALLS > 0,
        }
    }

    /// The last call is out: closes what was closed while it was in.
    fn reap(&self) {
        let mut registry = registry();
        let busy = |state: u64| (state & CALLS == 0).then_some(state & !RETIRED);
        if self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, busy)
            .is_err()
        {
            // Another call came in meanwhile; it is the last one now.
            return;
        }
        let id = self.id();
        let retired: Vec<RawFd> = registry
            .retired
            .extract_if(.., |entry| entry.0 == id)
            .map(|entry| entry.1)
            .collect();
        drop(registry);
        for fd in retired {
            // Nobody is left to hear of an error.
            let _ = sys::close(fd);
        }
    }

    /// In a forked child, forgets the calls of threads that exist only in the parent.
    #[inline]
    fn settle_after_fork(&self) {
        if self.generation.load(Ordering::Relaxed) != GENERATION.load(Ordering::Relaxed) {
            self.settle();
        }
    }

    #[cold]
    fn settle(&self) {
        {
            let _registry = registry();
            let generation = GENERATION.load(Ordering::Relaxed);
            if self.generation.swap(generation, Ordering::Relaxed) == generation {
                return;
            }
            self.state.fetch_and(!CALLS, Ordering::SeqCst);
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

    /// To be held during a connect(2) that may block: `close` then shuts the connection down.
    #[must_use]
    pub fn connecting(&self) -> Connecting {
        let id = self.descriptor.id();
        registry().connecting.push(id);
        Connecting(id)
    }

    /// Waits until the socket is ready, the deadline passes, `slice` is over, a signal arrives or
    /// the descriptor is closed.
    #[must_use]
    pub fn wait(&self, interest: Interest, deadline: Deadline, slice: Option<Duration>) -> Waited {
        let waker = Waker::of_this_thread();
        let _waiting = waker
            .as_ref()
            .map(|waker| Waiting::on(waker, self.descriptor));
        let wake = waker
            .as_ref()
            .map_or(-1, |waker| waker.event.load(Ordering::Relaxed));
        let slice_end = slice.map(|slice| Instant::now() + slice);
        loop {
            if self.is_closed() {
                return Waited::Closed;
            }
            let left = deadline.left();
            if left.is_some_and(|left| left.is_zero()) {
                return Waited::TimedOut;
            }
            let slice_left = slice_end.map(|end| end.saturating_duration_since(Instant::now()));
            if slice_left.is_some_and(|left| left.is_zero()) {
                return Waited::Sliced;
            }
            // Without an eventfd (none could be made), closing is noticed by looking.
            let look = (wake < 0).then_some(Duration::from_millis(50));
            let shortest = [left, slice_left, look].into_iter().flatten().min();
            match sys::poll(self.fd, events(interest), wake, shortest) {
                Ok((_, true)) => sys::eventfd_drain(wake),
                Ok((true, false)) => return Waited::Ready,
                Ok((false, false)) => {}
                Err(Errno(libc::EINTR)) => return Waited::Interrupted,
                Err(error) => return Waited::Failed(error),
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
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

/// A connect(2) in progress.
pub struct Connecting(usize);

impl Drop for Connecting {
    fn drop(&mut self) {
        let mut registry = registry();
        if let Some(index) = registry.connecting.iter().position(|&id| id == self.0) {
            registry.connecting.swap_remove(index);
        }
    }
}

const fn events(interest: Interest) -> i16 {
    match interest {
        Interest::Read => libc::POLLIN,
        Interest::Write => libc::POLLOUT,
        Interest::Time => 0,
    }
}

/// A thread's eventfd, and the descriptor it waits on.
struct Waker {
    event: AtomicI32,
    /// The id of a `Descriptor`, or zero.
    waiting_on: AtomicUsize,
    generation: u32,
}

impl Waker {
    /// The thread's own, made when it is first needed; `None` if there is no descriptor left.
    fn of_this_thread() -> Option<Arc<Self>> {
        let present = GENERATION.load(Ordering::Relaxed);
        // Gone while the thread's destructors run: then closing is noticed by looking.
        WAKER
            .try_with(|slot| {
                let mut slot = slot.borrow_mut();
                if slot
                    .0
                    .as_ref()
                    .is_none_or(|waker| waker.generation != present)
                {
                    slot.0 = Self::register(present);
                }
                slot.0.clone()
            })
            .ok()
            .flatten()
    }

    fn register(generation: u32) -> Option<Arc<Self>> {
        let event = sys::eventfd().ok()?.into_raw_fd();
        let waker = Arc::new(Self {
            event: AtomicI32::new(event),
            waiting_on: AtomicUsize::new(0),
            generation,
        });
        registry().wakers.push(Arc::clone(&waker));
        Some(waker)
    }

    fn close(&self) {
        let event = self.event.swap(-1, Ordering::Relaxed);
        if event >= 0 {
            let _ = sys::close(event);
        }
    }
}

/// Shows closers which descriptor a thread waits on, for as long as it does.
struct Waiting<'a>(&'a Waker);

impl<'a> Waiting<'a> {
    fn on(waker: &'a Waker, descriptor: &Descriptor) -> Self {
        // Before the look at the epoch, as a closer steps the epoch before it looks here: one of
        // the two sees the other.
        waker.waiting_on.store(descriptor.id(), Ordering::SeqCst);
        Self(waker)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting_on.store(0, Ordering::SeqCst);
    }
}

/// Gives the eventfd back when the thread ends.
struct ThreadWaker(Option<Arc<Waker>>);

impl Drop for ThreadWaker {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            registry()
                .wakers
                .retain(|other| !Arc::ptr_eq(other, &waker));
            waker.close();
        }
    }
}

thread_local! {
    static WAKER: RefCell<ThreadWaker> = const { RefCell::new(ThreadWaker(None)) };
    static FORKING: Cell<Option<MutexGuard<'static, Registry>>> = const { Cell::new(None) };
}

/// How many forks lie between this process and the one that loaded rsnet.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    wakers: Vec::new(),
    retired: Vec::new(),
    connecting: Vec::new(),
});

struct Registry {
    wakers: Vec<Arc<Waker>>,
    /// Closed numbers that calls still use, by the id of their descriptor.
    retired: Vec<(usize, RawFd)>,
    /// The ids of descriptors that block in connect(2).
    connecting: Vec<usize>,
}

impl Registry {
    fn wake(&self, id: usize) {
        for waker in &self.wakers {
            if waker.waiting_on.load(Ordering::SeqCst) == id {
                sys::eventfd_signal(waker.event.load(Ordering::Relaxed));
            }
        }
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
    let guard = FORKING.try_with(Cell::take).ok().flatten();
    if let Some(registry) = &guard {
        // The eventfds are shared with the parent's threads: not ours to read or signal.
        // Threads that go on in the child make new ones.
        for waker in &registry.wakers {
            waker.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
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
        assert_eq!(
            call.wait(Interest::Write, soon_again(), None),
            Waited::Ready
        );
        peer.write_all(b"x").unwrap();
        assert_eq!(
            call.wait(Interest::Read, Deadline::after(FOR_EVER), None),
            Waited::Ready
        );
    }

    fn soon_again() -> Deadline {
        Deadline::after(Timeout::After(1_000_000_000))
    }

    #[test]
    fn slices_end_before_the_deadline() {
        let (descriptor, _peer) = pair();
        let call = descriptor.enter().unwrap();
        let slice = Some(Duration::from_millis(1));
        assert_eq!(
            call.wait(Interest::Read, Deadline::after(FOR_EVER), slice),
            Waited::Sliced
        );
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
                assert_eq!(waiter.join().unwrap(), Waited::Closed);
            }
            // This call is still in: the number is not free.
            assert!(is_open(fd) && call.is_closed());
            assert!(descriptor.enter().is_err());
        });
        assert_eq!(
            descriptor.state.load(Ordering::SeqCst) & (CALLS | RETIRED),
            0
        );
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
            Waited::Closed
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
        assert_eq!(
            call.wait(Interest::Read, Deadline::after(FOR_EVER), None),
            Waited::Ready
        );
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
        assert_eq!(
            descriptor_in_child.state.load(Ordering::SeqCst) & (CALLS | RETIRED),
            0
        );
        drop(call);
    }
}
