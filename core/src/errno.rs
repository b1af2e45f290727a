//! The kernel's error number, as small and copyable as the kernel made it.

use std::fmt;
use std::io;

/// An `errno` value. `std::io::Error` would do, were it `Copy` and comparable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What a system call gives.
pub type Result<T> = std::result::Result<T, Errno>;

impl Errno {
    /// The calling thread's `errno`.
    #[must_use]
    pub fn last() -> Self {
        Self(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// True where waiting for readiness and trying again can help. Linux has one number for
    /// EAGAIN and EWOULDBLOCK.
    #[must_use]
    pub fn would_block(self) -> bool {
        self.0 == libc::EAGAIN
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {})", self.0, io::Error::from_raw_os_error(self.0))
    }
}
