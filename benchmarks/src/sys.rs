//! The system calls, one function each and nothing around them. All unsafe code of the floor is here.
#![allow(
    clippy::cast_possible_truncation,
    reason = "families and sizes of C structures, and batches of some hundred messages"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

pub use libc::sockaddr_in as Address;

const ADDRESS_BYTES: libc::socklen_t = size_of::<Address>() as libc::socklen_t;

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn checked_bytes(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    let fd = checked(result)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// 127.0.0.1 and that port.
pub fn loopback(port: u16) -> Address {
    Address {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

/// An IPv4 socket; `flags` are those of socket(2)'s type: SOCK_NONBLOCK.
pub fn socket(kind: libc::c_int, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::socket(libc::AF_INET, kind | flags | libc::SOCK_CLOEXEC, 0) })
}

pub fn connect(fd: &OwnedFd, to: &Address) -> io::Result<()> {
    // SAFETY: the address lives through the call and has the length that is told.
    let result = unsafe { libc::connect(fd.as_raw_fd(), ptr::from_ref(to).cast(), ADDRESS_BYTES) };
    checked(result).map(drop)
}

pub fn bind(fd: &OwnedFd, to: &Address) -> io::Result<()> {
    // SAFETY: the address lives through the call and has the length that is told.
    let result = unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(to).cast(), ADDRESS_BYTES) };
    checked(result).map(drop)
}

pub fn listen(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { libc::listen(fd.as_raw_fd(), 1024) }).map(drop)
}

pub fn local_port(fd: &OwnedFd) -> io::Result<u16> {
    let mut address = loopback(0);
    let mut length = ADDRESS_BYTES;
    // SAFETY: the kernel writes at most `length` bytes, which is what `address` has.
    let result = unsafe {
        libc::getsockname(fd.as_raw_fd(), ptr::from_mut(&mut address).cast(), &raw mut length)
    };
    checked(result)?;
    Ok(u16::from_be(address.sin_port))
}

/// A connection and its peer's address, as socket.accept gives them.
pub fn accept(fd: &OwnedFd) -> io::Result<(OwnedFd, Address)> {
    let mut address = loopback(0);
    let mut length = ADDRESS_BYTES;
    // SAFETY: the kernel writes at most `length` bytes, which is what `address` has.
    let result = unsafe {
        libc::accept4(
            fd.as_raw_fd(),
            ptr::from_mut(&mut address).cast(),
            &raw mut length,
            libc::SOCK_CLOEXEC,
        )
    };
    Ok((owned(result)?, address))
}

pub fn send(fd: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a slice that lives through the call.
    checked_bytes(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) })
}

pub fn recv(fd: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (pointer, length) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: pointer and length are those of a slice that lives through the call.
    checked_bytes(unsafe { libc::recv(fd.as_raw_fd(), pointer, length, 0) })
}

/// write(2): what feeds a row that measures receiving, so that strace tells the two apart.
pub fn feed(fd: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a slice that lives through the call.
    checked_bytes(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
}

/// read(2): what empties the far socket of a row that measures sending.
pub fn drain(fd: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (pointer, length) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: pointer and length are those of a slice that lives through the call.
    checked_bytes(unsafe { libc::read(fd.as_raw_fd(), pointer, length) })
}

pub fn sendto(fd: &impl AsRawFd, bytes: &[u8], to: &Address) -> io::Result<usize> {
    // SAFETY: pointers and lengths are those of values that live through the call.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            ptr::from_ref(to).cast(),
            ADDRESS_BYTES,
        )
    };
    checked_bytes(sent)
}

pub fn recvfrom(fd: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
    let mut address = loopback(0);
    let mut length = ADDRESS_BYTES;
    // SAFETY: the kernel writes at most as much as it is told that buffer and address have.
    let received = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            ptr::from_mut(&mut address).cast(),
            &raw mut length,
        )
    };
    Ok((checked_bytes(received)?, address))
}

/// One message of a batch: what the kernel is to gather or to fill, with whom, and what beside it.
pub struct Message<'a> {
    pub parts: &'a mut [libc::iovec],
    pub address: Option<&'a mut Address>,
    pub control: &'a mut [u64],
}

fn header(message: &mut Message<'_>) -> libc::mmsghdr {
    // SAFETY: all zeros is a valid mmsghdr.
    let mut header: libc::mmsghdr = unsafe { zeroed() };
    if let Some(address) = &mut message.address {
        header.msg_hdr.msg_name = ptr::from_mut(*address).cast();
        header.msg_hdr.msg_namelen = ADDRESS_BYTES;
    }
    header.msg_hdr.msg_iov = message.parts.as_mut_ptr();
    header.msg_hdr.msg_iovlen = message.parts.len();
    if !message.control.is_empty() {
        header.msg_hdr.msg_control = message.control.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = size_of_val(message.control);
    }
    header
}

/// The part of a message that is these bytes; whoever uses it keeps them alive.
pub fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

pub fn sendmsg(fd: &impl AsRawFd, mut message: Message<'_>) -> io::Result<usize> {
    let header = header(&mut message);
    // SAFETY: the header points into `message`, which lives through the call.
    checked_bytes(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header.msg_hdr, 0) })
}

pub fn sendmmsg(
    fd: &impl AsRawFd,
    headers: &mut Vec<libc::mmsghdr>,
    messages: &mut [Message<'_>],
) -> io::Result<usize> {
    headers.clear();
    headers.extend(messages.iter_mut().map(header));
    let count = headers.len() as libc::c_uint;
    // SAFETY: the headers point into `messages`, which lives through the call.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    checked(sent).map(|sent| sent as usize)
}

/// Waits for the first message and takes what is there; how many came and how many bytes they have.
pub fn recvmmsg(
    fd: &impl AsRawFd,
    headers: &mut Vec<libc::mmsghdr>,
    messages: &mut [Message<'_>],
) -> io::Result<(usize, usize)> {
    headers.clear();
    headers.extend(messages.iter_mut().map(header));
    let count = headers.len() as libc::c_uint;
    // SAFETY: the headers point into `messages`, which lives through the call.
    let received = unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_WAITFORONE,
            ptr::null_mut(),
        )
    };
    let received = checked(received)? as usize;
    let bytes = headers.iter().take(received).map(|header| header.msg_len as usize).sum();
    Ok((received, bytes))
}

/// A control message that has the kernel cut what is sent into datagrams of that size.
pub fn segment_control(bytes: u16) -> io::Result<[u64; 3]> {
    let mut space = [0_u64; 3];
    // SAFETY: all zeros is a valid msghdr.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&space);
    // SAFETY: `space` holds one control message with two bytes of data (CMSG_SPACE(2) is 24) and is
    // aligned as a cmsghdr; CMSG_FIRSTHDR therefore gives its start, never null.
    unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const message);
        if first.is_null() {
            return Err(io::Error::other("no room for a control message"));
        }
        (*first).cmsg_level = libc::SOL_UDP;
        (*first).cmsg_type = libc::UDP_SEGMENT;
        (*first).cmsg_len = libc::CMSG_LEN(2) as usize;
        libc::CMSG_DATA(first).cast::<u16>().write_unaligned(bytes);
    }
    Ok(space)
}

pub fn set_option(
    fd: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value lives through the call and has the length that is told.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, ptr::from_ref(&value).cast(), length)
    };
    checked(result).map(drop)
}

/// Has the connections that a listener accepts end at once when they are closed (RST), which leaves
/// none of their ports busy at either end: otherwise the hundred thousand connections of a run would
/// wait out their minute (TIME_WAIT) in the tables that the kernel searches for the next.
pub fn end_at_once(listener: &impl AsRawFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the value lives through the call and has the length that is told.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            ptr::from_ref(&linger).cast(),
            length,
        )
    };
    checked(result).map(drop)
}

/// How many bytes a TCP socket has sent that were not acknowledged.
pub fn unsent_bytes(fd: &impl AsRawFd) -> io::Result<libc::c_int> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(bytes)
}

pub fn set_nonblocking(fd: &impl AsRawFd) -> io::Result<()> {
    let mut on: libc::c_int = 1;
    // SAFETY: FIONBIO reads one int.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &raw mut on) }).map(drop)
}

/// Waits, without a limit, until one of the descriptors can be read; true for each that can.
pub fn wait_readable(fds: &[RawFd], ready: &mut Vec<bool>) -> io::Result<()> {
    let mut polled: Vec<libc::pollfd> =
        fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: pointer and count are those of a vector that lives through the call.
    checked(unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) })?;
    ready.clear();
    ready.extend(polled.iter().map(|entry| entry.revents != 0));
    Ok(())
}

/// Waits at most that long for a socket to have something or to be connected.
pub fn wait(fd: &OwnedFd, events: libc::c_short, timeout_ms: libc::c_int) -> io::Result<()> {
    let mut polled = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    match checked(unsafe { libc::poll(&raw mut polled, 1, timeout_ms) })? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Keeps this process on one core.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: all zeros is a valid cpu_set_t, and CPU_SET checks the index against its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(core, &mut set);
        set
    };
    // SAFETY: pointer and size are those of `set`.
    checked(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }).map(drop)
}

/// Has this process wait for its turn instead of interrupting whoever wakes it. A far end on the
/// measured core otherwise takes the core in the middle of what is measured, or does not, as the
/// scheduler likes: a matter of microseconds that moved ratios by a fifth.
pub fn give_way() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters live through the call.
    checked(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) })
        .map(drop)
}

/// Lets a sibling trace this process where the kernel asks for that (Yama): strace counts calls so.
pub fn allow_tracing() -> io::Result<()> {
    // SAFETY: no pointers.
    let result = unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    match checked(result) {
        // A kernel without Yama does not know the option and does not ask.
        Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Err(error),
        _ => Ok(()),
    }
}
