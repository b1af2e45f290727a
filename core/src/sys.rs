//! One function a system call, for what socket2 lacks or cannot do over memory that is not ours:
//! reads and writes at raw pointers, poll, generic options, ancillary data, fork hooks.
//!
//! Descriptors are plain numbers here; `descriptor` is what keeps them open during a call.

use std::alloc::{Layout, alloc_zeroed};
use std::ffi::{CStr, c_int, c_void};
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::cmsg;
use crate::errno::{Errno, Result};
use crate::sockaddr::AddressBuffer;

/// A count, or the error that `errno` names.
fn counted(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Errno::last())
}

/// Success, or the error that `errno` names.
fn checked(result: c_int) -> Result<c_int> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}

/// Runs a socket2 operation on a descriptor that its owner keeps open.
fn with_socket<T>(fd: RawFd, op: impl FnOnce(SockRef<'_>) -> std::io::Result<T>) -> Result<T> {
    if fd < 0 {
        return Err(Errno(libc::EBADF));
    }
    // SAFETY: `fd` is not -1 (the one value BorrowedFd forbids), the borrow ends with this
    // function, and an invalid number is harmless: the kernel answers EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    op(SockRef::from(&borrowed)).map_err(Errno::from)
}

/// socket(2) with SOCK_CLOEXEC.
pub fn socket(family: c_int, kind: c_int, proto: c_int) -> Result<OwnedFd> {
    let kind = Type::from(kind | libc::SOCK_CLOEXEC);
    Socket::new_raw(Domain::from(family), kind, Some(Protocol::from(proto)))
        .map(OwnedFd::from)
        .map_err(Errno::from)
}

/// bind(2).
pub fn bind(fd: RawFd, address: &SockAddr) -> Result<()> {
    with_socket(fd, |socket| socket.bind(address))
}

/// connect(2), once: EINTR and EINPROGRESS are the caller's to finish.
pub fn connect(fd: RawFd, address: &SockAddr) -> Result<()> {
    // socket2's connect is the same call; going straight keeps EINTR visible for certain.
    // SAFETY: SockAddr guarantees `len()` initialised bytes at `as_ptr()`.
    checked(unsafe { libc::connect(fd, address.as_ptr().cast(), address.len()) }).map(drop)
}

/// listen(2).
pub fn listen(fd: RawFd, backlog: c_int) -> Result<()> {
    with_socket(fd, |socket| socket.listen(backlog))
}

/// shutdown(2), with any number as `how`: the kernel judges it.
pub fn shutdown(fd: RawFd, how: c_int) -> Result<()> {
    // SAFETY: no memory is involved.
    checked(unsafe { libc::shutdown(fd, how) }).map(drop)
}

/// close(2). Never repeated on EINTR: Linux has released the number by then.
pub fn close(fd: RawFd) -> Result<()> {
    // SAFETY: no memory is involved; that nobody else uses the number is `descriptor`'s duty.
    checked(unsafe { libc::close(fd) }).map(drop)
}

/// accept4(2) with SOCK_CLOEXEC.
pub fn accept(fd: RawFd, from: &mut AddressBuffer) -> Result<OwnedFd> {
    let (storage, len) = from.for_kernel();
    // SAFETY: `storage` is writable for `*len` bytes, and both live through the call.
    let accepted = checked(unsafe { libc::accept4(fd, storage, len, libc::SOCK_CLOEXEC) })?;
    // SAFETY: the kernel has just made this number for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
}

/// getsockname(2).
pub fn getsockname(fd: RawFd, address: &mut AddressBuffer) -> Result<()> {
    let (storage, len) = address.for_kernel();
    // SAFETY: `storage` is writable for `*len` bytes, and both live through the call.
    checked(unsafe { libc::getsockname(fd, storage, len) }).map(drop)
}

/// getpeername(2).
pub fn getpeername(fd: RawFd, address: &mut AddressBuffer) -> Result<()> {
    let (storage, len) = address.for_kernel();
    // SAFETY: `storage` is writable for `*len` bytes, and both live through the call.
    checked(unsafe { libc::getpeername(fd, storage, len) }).map(drop)
}

/// Memory that the kernel may read: a pointer and a length under somebody's promise, laid out as an
/// iovec.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ReadableMemory {
    /// The first byte.
    pub start: *const u8,
    /// How many bytes.
    pub len: usize,
}

/// Memory that the kernel may write: a pointer and a length under somebody's promise, laid out as an
/// iovec.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct WritableMemory {
    /// The first byte.
    pub start: *mut u8,
    /// How many bytes.
    pub len: usize,
}

// SAFETY: both are numbers until a system call uses them; whoever makes one (buffer.rs, under a
// held export) keeps the memory alive until the call that uses it is over, on whatever thread.
unsafe impl Send for ReadableMemory {}
// SAFETY: as above; a shared reference gives no access to the memory either.
unsafe impl Sync for ReadableMemory {}
// SAFETY: as above.
unsafe impl Send for WritableMemory {}
// SAFETY: as above.
unsafe impl Sync for WritableMemory {}

impl ReadableMemory {
    /// What is left after `count` bytes; nothing if there were fewer.
    #[must_use]
    pub fn after(self, count: usize) -> Self {
        let count = count.min(self.len);
        Self { start: self.start.wrapping_add(count), len: self.len - count }
    }
}

/// recv(2).
pub fn recv(fd: RawFd, memory: WritableMemory, flags: c_int) -> Result<usize> {
    // SAFETY: the maker of `memory` promises `len` writable bytes at `start` through this call.
    counted(unsafe { libc::recv(fd, memory.start.cast(), memory.len, flags) })
}

/// recvmsg(2) into two pieces of memory, nothing but data.
pub fn recv_scattered(fd: RawFd, mut parts: [WritableMemory; 2], flags: c_int) -> Result<usize> {
    const { assert!(size_of::<libc::iovec>() == size_of::<WritableMemory>()) };
    let mut header = empty_header();
    header.msg_iov = parts.as_mut_ptr().cast();
    header.msg_iovlen = parts.len() as _;
    // SAFETY: `header` points to two parts, each laid out as an iovec, whose makers promise their
    // memory through this call.
    counted(unsafe { libc::recvmsg(fd, &raw mut header, flags) })
}

/// recvfrom(2).
pub fn recvfrom(
    fd: RawFd,
    memory: WritableMemory,
    flags: c_int,
    from: &mut AddressBuffer,
) -> Result<usize> {
    let (storage, len) = from.for_kernel();
    // SAFETY: the maker of `memory` promises `len` writable bytes at `start` through this call;
    // `storage` is writable for `*len` bytes.
    counted(unsafe { libc::recvfrom(fd, memory.start.cast(), memory.len, flags, storage, len) })
}

/// send(2).
pub fn send(fd: RawFd, memory: ReadableMemory, flags: c_int) -> Result<usize> {
    // SAFETY: the maker of `memory` promises `len` readable bytes at `start` through this call.
    counted(unsafe { libc::send(fd, memory.start.cast(), memory.len, flags) })
}

/// sendto(2).
pub fn sendto(
    fd: RawFd,
    memory: ReadableMemory,
    flags: c_int,
    address: &SockAddr,
) -> Result<usize> {
    // SAFETY: the maker of `memory` promises `len` readable bytes at `start` through this call;
    // SockAddr guarantees `len()` initialised bytes at `as_ptr()`.
    counted(unsafe {
        libc::sendto(
            fd,
            memory.start.cast(),
            memory.len,
            flags,
            address.as_ptr().cast(),
            address.len(),
        )
    })
}

/// sendmsg(2): gathered memory, an optional address, control data laid out by `cmsg`.
pub fn sendmsg(
    fd: RawFd,
    parts: &[ReadableMemory],
    control: &[u8],
    address: Option<&SockAddr>,
    flags: c_int,
) -> Result<usize> {
    let mut iov: Vec<libc::iovec> = parts
        .iter()
        .map(|part| libc::iovec { iov_base: part.start.cast_mut().cast(), iov_len: part.len })
        .collect();
    let mut header = empty_header();
    header.msg_iov = iov.as_mut_ptr();
    header.msg_iovlen = iov.len() as _;
    if let Some(address) = address {
        header.msg_name = address.as_ptr().cast_mut().cast();
        header.msg_namelen = address.len();
    }
    if !control.is_empty() {
        header.msg_control = control.as_ptr().cast_mut().cast();
        header.msg_controllen = control.len() as _;
    }
    // SAFETY: every pointer in `header` refers to memory that outlives the call (the makers of
    // `parts` promise theirs), with the lengths beside them; sendmsg writes to none of it.
    counted(unsafe { libc::sendmsg(fd, &raw const header, flags) })
}

/// What recvmsg(2) says beside the count.
pub struct Received {
    /// Bytes of data.
    pub bytes: usize,
    /// Bytes of control data.
    pub control_bytes: usize,
    /// MSG_TRUNC, MSG_CTRUNC and their kin.
    pub flags: c_int,
}

/// Takes hold of the descriptors that came with received control data, so that they are closed
/// unless somebody lets go of them on purpose. To be called once for each message.
#[must_use]
pub fn adopt_descriptors(control: &[u8]) -> Vec<OwnedFd> {
    cmsg::descriptors(control)
        .filter(|&fd| fd >= 0)
        // SAFETY: the kernel has just put these numbers into this process for this message; nobody
        // else knows them yet.
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        .collect()
}

/// Zeroed bytes that take no memory until they are written to, however many; `None` if there is no
/// room for them.
#[must_use]
pub fn zeroed(len: usize) -> Option<Vec<u8>> {
    if len == 0 {
        return Some(Vec::new());
    }
    let layout = Layout::array::<u8>(len).ok()?;
    // SAFETY: the layout's size is not zero. The memory comes from the global allocator with the
    // layout that a Vec of this capacity frees it with, and all of it is initialised.
    unsafe {
        let start = alloc_zeroed(layout);
        (!start.is_null()).then(|| Vec::from_raw_parts(start, len, len))
    }
}

/// recvmsg(2): scattered memory, room for control data, the sender's address.
pub fn recvmsg(
    fd: RawFd,
    parts: &[WritableMemory],
    control: &mut [u8],
    from: &mut AddressBuffer,
    flags: c_int,
) -> Result<Received> {
    let mut iov: Vec<libc::iovec> = parts
        .iter()
        .map(|part| libc::iovec { iov_base: part.start.cast(), iov_len: part.len })
        .collect();
    let mut header = empty_header();
    header.msg_iov = iov.as_mut_ptr();
    header.msg_iovlen = iov.len() as _;
    if !control.is_empty() {
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = control.len() as _;
    }
    let (storage, len) = from.for_kernel();
    header.msg_name = storage.cast();
    // SAFETY: `len` points into `from`, which is alive and borrowed by us alone.
    header.msg_namelen = unsafe { *len };
    // SAFETY: every pointer in `header` refers to writable memory that outlives the call (the
    // makers of `parts` promise theirs), with the lengths beside them.
    let bytes = counted(unsafe { libc::recvmsg(fd, &raw mut header, flags) })?;
    // SAFETY: as above.
    unsafe { *len = header.msg_namelen };
    // The field is narrower than usize with some C libraries.
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "not with all of them")]
    let control_bytes = (header.msg_controllen as usize).min(control.len());
    Ok(Received { bytes, control_bytes, flags: header.msg_flags })
}

pub(crate) fn empty_header() -> libc::msghdr {
    // SAFETY: msghdr is a C struct of integers and pointers, for which all zero bits are valid.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// getsockopt(2) into `value`; gives how much of it the kernel filled.
pub fn getsockopt(fd: RawFd, level: c_int, name: c_int, value: &mut [u8]) -> Result<usize> {
    let mut len = libc::socklen_t::try_from(value.len()).map_err(|_| Errno(libc::EINVAL))?;
    // SAFETY: `value` is writable for `len` bytes.
    checked(unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut len) })?;
    Ok((len as usize).min(value.len()))
}

/// getsockopt(2) of an `int`.
pub fn getsockopt_int(fd: RawFd, level: c_int, name: c_int) -> Result<c_int> {
    let mut value = [0; size_of::<c_int>()];
    getsockopt(fd, level, name, &mut value)?;
    Ok(c_int::from_ne_bytes(value))
}

/// setsockopt(2) from memory; a null `start` is passed on as the kernel's NULL.
pub fn setsockopt(fd: RawFd, level: c_int, name: c_int, value: ReadableMemory) -> Result<()> {
    #[allow(clippy::cast_possible_truncation, reason = "CPython cuts it to the same 32 bits")]
    let len = value.len as libc::socklen_t;
    // SAFETY: the maker of `value` promises `len` readable bytes at `start`, or NULL, which the
    // kernel checks for itself.
    checked(unsafe { libc::setsockopt(fd, level, name, value.start.cast(), len) }).map(drop)
}

/// setsockopt(2) of an `int`.
pub fn setsockopt_int(fd: RawFd, level: c_int, name: c_int, value: c_int) -> Result<()> {
    let bytes = value.to_ne_bytes();
    setsockopt(fd, level, name, ReadableMemory { start: bytes.as_ptr(), len: bytes.len() })
}

/// ioctl(FIONBIO): sets or clears O_NONBLOCK in one call.
pub fn set_nonblocking(fd: RawFd, nonblocking: bool) -> Result<()> {
    let mut on = c_int::from(nonblocking);
    // SAFETY: FIONBIO reads one int through the pointer.
    checked(unsafe { libc::ioctl(fd, libc::FIONBIO, &raw mut on) }).map(drop)
}

/// fcntl(F_GETFL): whether O_NONBLOCK is set, whoever set it.
pub fn is_nonblocking(fd: RawFd) -> Result<bool> {
    // SAFETY: no memory is involved.
    let flags = checked(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    Ok(flags & libc::O_NONBLOCK != 0)
}

/// ppoll(2) on one descriptor. False when the time is up.
pub fn poll(fd: RawFd, events: i16, timeout: Option<Duration>) -> Result<bool> {
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    let timespec = timeout.map(|left| libc::timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    let timespec = timespec.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: one entry; `timespec` is null or points to a value that lives through the call; no
    // signal mask is passed.
    let ready = checked(unsafe { libc::ppoll(&raw mut entry, 1, timespec, ptr::null()) })?;
    Ok(ready > 0)
}

/// The clock that the kernel keeps at hand, in ticks of a few milliseconds: read without a system call
/// or a look at the hardware.
#[must_use]
pub fn coarse_ticks() -> (libc::time_t, libc::c_long) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    (now.tv_sec, now.tv_nsec)
}

/// gettid(2).
#[must_use]
pub fn gettid() -> libc::pid_t {
    // SAFETY: no memory is involved.
    unsafe { libc::gettid() }
}

/// Makes a system call in which a thread of this process blocks fail with EINTR, by a signal that
/// does nothing else. A thread that is not in a system call, or that blocks the signal, goes on.
pub fn interrupt_thread(thread: libc::pid_t) {
    if let Some(signal) = interrupting_signal() {
        // SAFETY: no memory is involved. At worst the thread is gone and the kernel says so.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
    }
}

/// The signal for it: the highest real-time signal below the topmost three (which other runtimes
/// use for the same) that nobody handles. The handler is installed when the signal is first needed
/// and stays, so that one that arrives late finds it. Programs reset handlers: whether it is still
/// there is looked at each time, since the signal would end the process without it.
fn interrupting_signal() -> Option<c_int> {
    static SIGNAL: AtomicI32 = AtomicI32::new(0);
    let known = SIGNAL.load(Ordering::Relaxed);
    if known != 0 && is_ours(known) {
        return Some(known);
    }
    let found = (libc::SIGRTMIN()..=libc::SIGRTMAX() - 3).rev().find(|&signal| claim(signal))?;
    SIGNAL.store(found, Ordering::Relaxed);
    Some(found)
}

/// True if the signal has the handler that does nothing.
fn is_ours(signal: c_int) -> bool {
    // SAFETY: sigaction is a C struct for which all zero bits are valid; it is only read here.
    unsafe {
        let mut present: libc::sigaction = MaybeUninit::zeroed().assume_init();
        libc::sigaction(signal, ptr::null(), &raw mut present) == 0
            && present.sa_sigaction == do_nothing as extern "C" fn(c_int) as libc::sighandler_t
    }
}

extern "C" fn do_nothing(_signal: c_int) {}

/// Installs the handler that does nothing, if the signal has none.
fn claim(signal: c_int) -> bool {
    // SAFETY: sigaction is a C struct of integers and pointers, for which all zero bits are valid
    // (no flags: system calls are not restarted; an empty mask). The handler is safe to run at any
    // point, since it does nothing.
    unsafe {
        let mut present: libc::sigaction = MaybeUninit::zeroed().assume_init();
        if libc::sigaction(signal, ptr::null(), &raw mut present) != 0
            || present.sa_sigaction != libc::SIG_DFL
        {
            return false;
        }
        let mut ours: libc::sigaction = MaybeUninit::zeroed().assume_init();
        ours.sa_sigaction = do_nothing as extern "C" fn(c_int) as libc::sighandler_t;
        libc::sigaction(signal, &raw const ours, ptr::null_mut()) == 0
    }
}

unsafe extern "C" {
    // Not in the libc crate for Linux; POSIX signatures.
    fn inet_ntop(
        family: c_int,
        source: *const c_void,
        text: *mut std::ffi::c_char,
        size: libc::socklen_t,
    ) -> *const std::ffi::c_char;
    fn inet_pton(family: c_int, text: *const std::ffi::c_char, address: *mut c_void) -> c_int;
}

/// inet_ntop(3) for IPv6: the C library's own spelling, which is what programs compare with.
#[must_use]
pub fn inet6_ntop(address: &[u8; 16]) -> String {
    const TEXT_BYTES: u32 = 63;
    let mut text = [0u8; TEXT_BYTES as usize + 1];
    // SAFETY: sixteen readable bytes in; at most TEXT_BYTES bytes out, NUL included (an IPv6
    // address needs 46). The array ends in NUL whatever happens.
    unsafe {
        inet_ntop(libc::AF_INET6, address.as_ptr().cast(), text.as_mut_ptr().cast(), TEXT_BYTES);
    }
    CStr::from_bytes_until_nul(&text)
        .map(|text| text.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// inet_pton(3) for IPv6: the C library's own judgement of what a literal is.
#[must_use]
pub fn inet6_pton(text: &CStr) -> Option<[u8; 16]> {
    let mut address = [0u8; 16];
    // SAFETY: NUL-terminated text in; sixteen bytes out.
    let result = unsafe { inet_pton(libc::AF_INET6, text.as_ptr(), address.as_mut_ptr().cast()) };
    (result == 1).then_some(address)
}

/// Registers what runs around fork(2): before it, after it in the parent, after it in the child.
pub fn at_fork(
    prepare: extern "C" fn(),
    parent: extern "C" fn(),
    child: extern "C" fn(),
) -> Result<()> {
    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<extern "C" fn()>,
            parent: Option<extern "C" fn()>,
            child: Option<extern "C" fn()>,
        ) -> c_int;
    }
    // SAFETY: the three functions live as long as the program and take nothing.
    match unsafe { pthread_atfork(Some(prepare), Some(parent), Some(child)) } {
        0 => Ok(()),
        error => Err(Errno(error)),
    }
}

/// Why getaddrinfo(3) gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// One of its own codes (EAI_*).
    Code(c_int),
    /// A system error.
    System(Errno),
    /// An answer in a family that nobody asked for.
    Family,
}

/// getaddrinfo(3) for one host: the first address in the answer, with its scope and without a port.
pub fn getaddrinfo(host: &CStr, family: c_int) -> std::result::Result<SocketAddr, LookupError> {
    // SAFETY: addrinfo is a C struct of integers and pointers, for which all zero bits are valid.
    let mut hints: libc::addrinfo = unsafe { MaybeUninit::zeroed().assume_init() };
    hints.ai_family = family;
    let mut list = ptr::null_mut();
    // SAFETY: a NUL-terminated name, no service, valid hints, and room for the list's head.
    match unsafe { libc::getaddrinfo(host.as_ptr(), ptr::null(), &raw const hints, &raw mut list) }
    {
        0 => {}
        libc::EAI_SYSTEM => return Err(LookupError::System(Errno::last())),
        code => return Err(LookupError::Code(code)),
    }
    // SAFETY: on success the list has at least one entry, whose address has the family's size.
    let first = unsafe {
        let entry = &*list;
        match entry.ai_family {
            libc::AF_INET => {
                let address = &*entry.ai_addr.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr));
                Ok(SocketAddrV4::new(ip, 0).into())
            }
            libc::AF_INET6 => {
                let address = &*entry.ai_addr.cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
                Ok(SocketAddrV6::new(ip, 0, 0, address.sin6_scope_id).into())
            }
            _ => Err(LookupError::Family),
        }
    };
    // SAFETY: the list came from getaddrinfo and nothing refers to it any more.
    unsafe { libc::freeaddrinfo(list) };
    first
}

/// The soft and the hard limit of descriptors (getrlimit(2), RLIMIT_NOFILE).
pub fn descriptor_limits() -> Result<(u64, u64)> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for the struct that the kernel fills in.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) })?;
    Ok((limits.rlim_cur, limits.rlim_max))
}

/// setrlimit(2), RLIMIT_NOFILE.
pub fn set_descriptor_limits(soft: u64, hard: u64) -> Result<()> {
    let limits = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads the struct.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) }).map(drop)
}

/// prctl(2), PR_GET_TIMERSLACK: how late the calling thread's timers may be.
pub fn timer_slack_ns() -> Result<u64> {
    // SAFETY: no memory is involved.
    let slack = checked(unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) })?;
    Ok(u64::try_from(slack).unwrap_or(0))
}

/// prctl(2), PR_SET_TIMERSLACK.
pub fn set_timer_slack_ns(slack_ns: u64) -> Result<()> {
    let slack_ns = libc::c_ulong::try_from(slack_ns).unwrap_or(libc::c_ulong::MAX);
    // SAFETY: no memory is involved.
    checked(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack_ns) }).map(drop)
}

/// What a lookup asks for beside the host.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hints {
    /// `ai_family`.
    pub family: c_int,
    /// `ai_socktype`.
    pub kind: c_int,
    /// `ai_protocol`.
    pub protocol: c_int,
    /// `ai_flags`.
    pub flags: c_int,
}

/// getaddrinfo(3) for a numeric host, with a numeric service or none: family, type and protocol of
/// each entry of the answer. `None` if the question is refused.
#[must_use]
pub fn getaddrinfo_shape(
    host: &CStr,
    service: Option<&CStr>,
    hints: Hints,
) -> Option<Vec<(c_int, c_int, c_int)>> {
    // SAFETY: addrinfo is a C struct of integers and pointers, for which all zero bits are valid.
    let mut raw: libc::addrinfo = unsafe { MaybeUninit::zeroed().assume_init() };
    raw.ai_family = hints.family;
    raw.ai_socktype = hints.kind;
    raw.ai_protocol = hints.protocol;
    raw.ai_flags = hints.flags;
    let service = service.map_or(ptr::null(), CStr::as_ptr);
    let mut list = ptr::null_mut();
    // SAFETY: NUL-terminated texts (or null for no service), valid hints, room for the list's head.
    if unsafe { libc::getaddrinfo(host.as_ptr(), service, &raw const raw, &raw mut list) } != 0 {
        return None;
    }
    let mut shape = Vec::new();
    let mut next = list;
    // SAFETY: each entry of the list is valid until the list is freed; the last one points to null.
    while let Some(entry) = unsafe { next.as_ref() } {
        shape.push((entry.ai_family, entry.ai_socktype, entry.ai_protocol));
        next = entry.ai_next;
    }
    // SAFETY: the list came from getaddrinfo and nothing refers to it any more.
    unsafe { libc::freeaddrinfo(list) };
    Some(shape)
}

/// gai_strerror(3).
#[must_use]
pub fn gai_strerror(code: c_int) -> String {
    // SAFETY: the C library answers any code with a static string.
    unsafe { CStr::from_ptr(libc::gai_strerror(code)) }.to_string_lossy().into_owned()
}

/// strerror_r(3), in the C library's own words.
#[must_use]
pub fn strerror(errno: Errno) -> String {
    let mut text = [0u8; 256];
    // SAFETY: `text` is writable for its length; the libc crate binds the POSIX variant, which
    // leaves a NUL-terminated text there (the last byte stays NUL in any case).
    unsafe { libc::strerror_r(errno.0, text.as_mut_ptr().cast(), text.len() - 1) };
    CStr::from_bytes_until_nul(&text)
        .map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}

/// getpid(2).
#[must_use]
pub fn getpid() -> libc::pid_t {
    // SAFETY: no memory is involved.
    unsafe { libc::getpid() }
}

/// ioctl(FIONREAD): how many bytes wait to be read.
pub fn bytes_to_read(fd: RawFd) -> Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: FIONREAD writes one int through the pointer.
    checked(unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}
