//! Python's memory, lent to the kernel: a pointer and a length under a held export. No slice is
//! ever made of it, since other Python threads may write to it meanwhile.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::mem::MaybeUninit;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rsnet_core::sys::{ReadableMemory, WritableMemory};

use crate::errors::{Error, Result};

/// A held export of a contiguous buffer. Released when dropped, by the thread that holds the
/// interpreter: it is neither Send nor Sync.
pub struct Buffer(ffi::Py_buffer);

impl Buffer {
    /// An export that the interpreter's argument parser has filled in (`y*`, `w*`).
    ///
    /// # Safety
    /// `view` must be an export that nobody else releases, asked for without PyBUF_ND, so that it
    /// holds no pointers into itself and may be moved.
    pub unsafe fn from_view(view: ffi::Py_buffer) -> Self {
        Self(view)
    }

    /// Asks `object` for its bytes, to be read.
    pub fn readable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::get(object, ffi::PyBUF_SIMPLE)
    }

    /// Asks `object` for its bytes, to be written.
    pub fn writable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::get(object, ffi::PyBUF_WRITABLE)
    }

    /// Asks `object` for its bytes, to be written, and for how many rows they are: the first of its
    /// dimensions.
    pub fn rows_to_write(object: &Bound<'_, PyAny>) -> PyResult<(Self, usize)> {
        let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
        // SAFETY: as in `get`. The shape is looked at before the view moves, since it may be a
        // pointer into the view; after that nothing but the release uses the view's pointers, and
        // the release does not look at the shape.
        unsafe {
            match ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_CONTIG) {
                0 => {
                    let view = view.assume_init_ref();
                    let rows = if view.ndim > 1 && !view.shape.is_null() { *view.shape } else { 1 };
                    Ok((Self(*view), usize::try_from(rows).unwrap_or(0)))
                }
                _ => Err(PyErr::fetch(object.py())),
            }
        }
    }

    fn get(object: &Bound<'_, PyAny>, flags: c_int) -> PyResult<Self> {
        let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
        // SAFETY: `object` is alive and the interpreter is held; on success the view is filled in.
        unsafe {
            match ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), flags) {
                0 => Ok(Self(view.assume_init())),
                _ => Err(PyErr::fetch(object.py())),
            }
        }
    }

    pub fn len(&self) -> usize {
        usize::try_from(self.0.len).unwrap_or(0)
    }

    /// The memory, valid for as long as this export is held.
    pub fn memory(&self) -> ReadableMemory {
        ReadableMemory { start: self.0.buf.cast(), len: self.len() }
    }

    /// The first `len` bytes of the memory (fewer if there are fewer), for an export that was
    /// asked for writing.
    pub fn memory_to_write(&self, len: usize) -> WritableMemory {
        WritableMemory { start: self.0.buf.cast(), len: len.min(self.len()) }
    }

    /// A copy of the bytes as they are now.
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(self.len()).map_err(|_| Error::Memory)?;
        // SAFETY: the export keeps `len` bytes readable; they are copied through raw pointers, so
        // that a concurrent writer can at worst mix old bytes with new ones; `copy` has the room.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.buf.cast(), copy.as_mut_ptr(), self.len());
            copy.set_len(self.len());
        }
        Ok(copy)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the export is ours and released once; whoever drops it holds the interpreter
        // (the type is not Send).
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) }
    }
}

/// A bytes object that is being filled: ours alone until `finish`.
pub struct UnfinishedBytes<'py> {
    bytes: Bound<'py, PyBytes>,
    len: usize,
}

impl<'py> UnfinishedBytes<'py> {
    /// `len` bytes, not yet set. MemoryError or OverflowError as `bytes(len)` raises them.
    pub fn with_len(py: Python<'py>, len: usize) -> Result<Self> {
        let size = ffi::Py_ssize_t::try_from(len).map_err(|_| Error::Memory)?;
        // SAFETY: a null source asks for memory that is not set; the result is a new bytes object
        // or an exception.
        let bytes = unsafe {
            let made = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size);
            Bound::from_owned_ptr_or_err(py, made)?.cast_into_unchecked()
        };
        Ok(Self { bytes, len })
    }

    /// `len` bytes for a receiving call with such flags. With MSG_TRUNC the kernel tells a length and
    /// may write less, or nothing: what it leaves out must not show what the memory held before.
    pub fn for_flags(py: Python<'py>, len: usize, flags: c_int) -> Result<Self> {
        let bytes = Self::with_len(py, len)?;
        if flags & libc::MSG_TRUNC != 0 {
            let memory = bytes.memory(0);
            // SAFETY: so many bytes of the object, which nobody else has seen.
            unsafe { std::ptr::write_bytes(memory.start, 0, memory.len) };
        }
        Ok(bytes)
    }

    /// The memory from `offset` on.
    pub fn memory(&self, offset: usize) -> WritableMemory {
        let offset = offset.min(self.len);
        // SAFETY: the object is a bytes object; nobody else has seen it, so that writing to its
        // memory changes nothing that anybody relies on.
        let start = unsafe { ffi::PyBytes_AsString(self.bytes.as_ptr()) };
        WritableMemory { start: start.cast::<u8>().wrapping_add(offset), len: self.len - offset }
    }

    /// The first `count` bytes. The limited API cannot resize a bytes object, so fewer than all of
    /// them are copied, and more (the length of a truncated datagram) are filled up with zeros.
    pub fn finish(self, count: usize) -> Bound<'py, PyBytes> {
        if count == self.len {
            return self.bytes;
        }
        // SAFETY: the memory belongs to `self.bytes`, which outlives the copy; nobody writes to it
        // any more; the kernel has set its first `count` bytes.
        let filled = unsafe {
            std::slice::from_raw_parts(self.memory(0).start.cast_const(), count.min(self.len))
        };
        if count <= self.len {
            return PyBytes::new(self.bytes.py(), filled);
        }
        let mut padded = filled.to_vec();
        padded.resize(count, 0);
        PyBytes::new(self.bytes.py(), &padded)
    }
}

/// How much a thread's scratch memory holds: the largest datagram that UDP can carry, and then
/// some.
const SCRATCH_BYTES: usize = 64 * 1024;

#[repr(align(4096))]
struct Scratch(UnsafeCell<[u8; SCRATCH_BYTES]>);

thread_local! {
    static SCRATCH: Box<Scratch> = const { Scratch(UnsafeCell::new([0; SCRATCH_BYTES])) }.into();
}

/// The calling thread's scratch memory, for the time of one system call and what is copied out of
/// it right after: any other Python code on this thread may use it too. `None` in a thread whose
/// destructors run.
pub fn scratch() -> Option<WritableMemory> {
    let start = SCRATCH.try_with(|scratch| scratch.0.get().cast::<u8>()).ok()?;
    Some(WritableMemory { start, len: SCRATCH_BYTES })
}

/// A bytes object of the first `count` bytes of the scratch memory.
pub fn bytes_from_scratch(py: Python<'_>, count: usize) -> Bound<'_, PyBytes> {
    let Some(memory) = scratch() else {
        return PyBytes::new(py, b"");
    };
    // SAFETY: the memory is this thread's and lives as long as the thread; nothing writes to it
    // while the bytes are copied.
    let filled =
        unsafe { std::slice::from_raw_parts(memory.start.cast_const(), count.min(memory.len)) };
    PyBytes::new(py, filled)
}
