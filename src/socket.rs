//! The native half of the class: what CPython's `_socket.socket` is to `socket.socket`. Here is what
//! it holds. How it comes to be stands in construct.rs, its methods in transfer.rs, message.rs and
//! options.rs, by subject; entry.rs lays them over it.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};

use pyo3::prelude::*;
use rsnet_core::descriptor::Descriptor;
use rsnet_core::timeout::Timeout;

/// The families that this class speaks. `rsnet.socket(...)` hands out the standard class for all
/// others.
pub fn is_native(family: c_int) -> bool {
    matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX)
}

/// `self`, as a method has it.
pub type This<'a, 'py> = &'a Bound<'py, Socket>;

/// A socket: a descriptor, its timeout, and what it was made as.
#[pyclass(frozen, subclass, name = "socket", module = "_rsnet")]
#[derive(Default)]
pub struct Socket {
    descriptor: Descriptor,
    timeout_ns: AtomicI64,
    family: AtomicI32,
    kind: AtomicI32,
    proto: AtomicI32,
    left_to_kernel: AtomicBool,
    /// How many files made by `makefile` are open; they keep the descriptor open.
    io_refs: AtomicI64,
    /// True once `close` or `detach` was called, whether or not files are still open.
    closed: AtomicBool,
}

impl Socket {
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    pub fn timeout(&self) -> Timeout {
        Timeout::from_ns(self.timeout_ns())
    }

    /// The timeout in nanoseconds; negative for none.
    pub fn timeout_ns(&self) -> i64 {
        self.timeout_ns.load(Ordering::Relaxed)
    }

    pub fn set_timeout_ns(&self, timeout_ns: i64) {
        self.timeout_ns.store(timeout_ns, Ordering::Relaxed);
    }

    pub fn family(&self) -> c_int {
        self.family.load(Ordering::Relaxed)
    }

    pub fn kind(&self) -> c_int {
        self.kind.load(Ordering::Relaxed)
    }

    pub fn proto(&self) -> c_int {
        self.proto.load(Ordering::Relaxed)
    }

    pub fn is_stream(&self) -> bool {
        self.kind() == libc::SOCK_STREAM
    }

    /// What `family`, `type` and `proto` say. The type is without the flags that socket(2) takes
    /// along with it, so that `sock.type == SOCK_STREAM` works.
    pub fn set_made_as(&self, family: c_int, kind: c_int, proto: c_int) {
        self.family.store(family, Ordering::Relaxed);
        self.kind.store(
            kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC),
            Ordering::Relaxed,
        );
        self.proto.store(proto, Ordering::Relaxed);
    }

    /// True if the kernel's own timeouts are in use on the descriptor, so that blocking calls are
    /// made as they are.
    pub fn is_left_to_kernel(&self) -> bool {
        self.left_to_kernel.load(Ordering::Relaxed)
    }

    pub fn io_refs(&self) -> i64 {
        self.io_refs.load(Ordering::Relaxed)
    }

    pub fn set_io_refs(&self, io_refs: i64) {
        self.io_refs.store(io_refs, Ordering::Relaxed);
    }

    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    pub fn leave_to_kernel(&self, leave: bool) {
        self.left_to_kernel.store(leave, Ordering::Relaxed);
    }
}
