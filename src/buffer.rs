//! Python's memory, lent to the kernel: a pointer and a length under a held export. No slice is
//! ever made of it, since other Python threads may write to it meanwhile.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, OnceLock};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rsnet_core::sys::{ReadableMemory, WritableMemory};

use crate::errors::{Error, Result};

/// A held export of a contiguous buffer. Released when dropped, by the thread that holds the
/// interpreter: it is neither Send nor Sync.
pub struct Buffer {
    start: *mut u8,
    len: usize,
    held: Held,
}

/// What keeps the memory in place.
enum Held {
    Export(ffi::Py_buffer),
    /// A reference to a bytes object, whose memory never moves: a fifth of the price of an export.
    Bytes(*mut ffi::PyObject),
}

impl Buffer {
    /// An export that the interpreter's argument parser has filled in (`y*`, `w*`).
    ///
    /// # Safety
    /// `view` must be an export that nobody else releases, asked for without PyBUF_ND, so that it
    /// holds no pointers into itself and may be moved.
    pub unsafe fn from_view(view: ffi::Py_buffer) -> Self {
        let len = usize::try_from(view.len).unwrap_or(0);
        Self { start: view.buf.cast(), len, held: Held::Export(view) }
    }

    /// Asks `object` for its bytes, to be read.
    #[inline(always)]
    pub fn readable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        // No subclass, which may have an idea of its own of what it exports.
        match object.cast_exact::<PyBytes>() {
            Ok(bytes) => Ok(Self::of_bytes(bytes)),
            Err(_) => Self::get(object, ffi::PyBUF_SIMPLE),
        }
    }

    #[inline]
    fn of_bytes(bytes: &Bound<'_, PyBytes>) -> Self {
        let data = bytes.as_bytes();
        let (start, len) = (data.as_ptr().cast_mut(), data.len());
        Self { start, len, held: Held::Bytes(bytes.clone().into_ptr()) }
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
                    Ok((Self::from_view(*view), usize::try_from(rows).unwrap_or(0)))
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
                0 => Ok(Self::from_view(view.assume_init())),
                _ => Err(PyErr::fetch(object.py())),
            }
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The memory, valid for as long as this export is held.
    pub fn memory(&self) -> ReadableMemory {
        ReadableMemory { start: self.start, len: self.len }
    }

    /// The first `len` bytes of the memory (fewer if there are fewer), for an export that was
    /// asked for writing.
    pub fn memory_to_write(&self, len: usize) -> WritableMemory {
        WritableMemory { start: self.start, len: len.min(self.len) }
    }

    /// A copy of the bytes as they are now.
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(self.len()).map_err(|_| Error::Memory)?;
        // SAFETY: the export keeps `len` bytes readable; they are copied through raw pointers, so
        // that a concurrent writer can at worst mix old bytes with new ones; `copy` has the room.
        unsafe {
            ptr::copy_nonoverlapping(self.start, copy.as_mut_ptr(), self.len());
            copy.set_len(self.len());
        }
        Ok(copy)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the export or the reference is ours and given back once; whoever drops it holds
        // the interpreter (the type is not Send).
        unsafe {
            match &mut self.held {
                Held::Export(view) => ffi::PyBuffer_Release(view),
                Held::Bytes(bytes) => ffi::Py_DECREF(*bytes),
            }
        }
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
            let made = ffi::PyBytes_FromStringAndSize(ptr::null(), size);
            Bound::from_owned_ptr_or_err(py, made)?.cast_into_unchecked()
        };
        Ok(Self { bytes, len })
    }

    /// `len` bytes for a receiving call with such flags. With MSG_TRUNC the kernel tells a length and
    /// may write less, or nothing: what it leaves out must not show what the memory held before.
    pub fn for_flags(py: Python<'py>, len: usize, flags: c_int) -> Result<Self> {
        if flags & libc::MSG_TRUNC != 0 && len > SCRATCH_BYTES {
            // bytes(len): zeros that cost nothing until they are written to.
            let bytes = py.get_type::<PyBytes>().call1((len,))?.cast_into().map_err(PyErr::from)?;
            return Ok(Self { bytes, len });
        }
        let bytes = Self::with_len(py, len)?;
        if flags & libc::MSG_TRUNC != 0 {
            let memory = bytes.memory(0);
            // SAFETY: so many bytes of the object, which nobody else has seen.
            unsafe { ptr::write_bytes(memory.start, 0, memory.len) };
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

    /// The first `count` bytes; more (the length of a truncated datagram) are filled up with zeros.
    pub fn finish(self, count: usize) -> Bound<'py, PyBytes> {
        if count == self.len {
            return self.bytes;
        }
        let py = self.bytes.py();
        if count < self.len
            && let Some(resize) = resizer()
        {
            let mut object = self.bytes.into_ptr();
            let size = ffi::Py_ssize_t::try_from(count).unwrap_or(0);
            // SAFETY: a bytes object that nobody else refers to, as the function wants it; it takes
            // the reference and leaves another, or null and an exception.
            unsafe {
                resize(&raw mut object, size);
                return match Bound::from_owned_ptr_or_err(py, object) {
                    Ok(bytes) => bytes.cast_into_unchecked(),
                    // To shrink needs no memory that is not there.
                    Err(_) => PyBytes::new(py, b""),
                };
            }
        }
        // SAFETY: the memory belongs to `self.bytes`, which outlives the copy; nobody writes to it
        // any more; the kernel has set its first `count` bytes.
        let filled = unsafe {
            std::slice::from_raw_parts(self.memory(0).start.cast_const(), count.min(self.len))
        };
        if count <= self.len {
            return PyBytes::new(py, filled);
        }
        let mut padded = filled.to_vec();
        padded.resize(count, 0);
        PyBytes::new(py, &padded)
    }
}

type Resize = unsafe extern "C" fn(*mut *mut ffi::PyObject, ffi::Py_ssize_t) -> c_int;

/// `_PyBytes_Resize`, which every CPython so far has and the limited API has not: where it is
/// missing, bytes are copied.
fn resizer() -> Option<Resize> {
    static RESIZE: OnceLock<Option<Resize>> = OnceLock::new();
    *RESIZE.get_or_init(|| {
        // SAFETY: a NUL-terminated name, looked for in what the process has loaded. The function of
        // this name has had this signature since Python 2.
        unsafe {
            let found = libc::dlsym(libc::RTLD_DEFAULT, c"_PyBytes_Resize".as_ptr());
            (!found.is_null()).then(|| std::mem::transmute::<*mut c_void, Resize>(found))
        }
    })
}

/// How much a thread's scratch memory holds: the largest datagram that UDP can carry, and what asyncio
/// asks of a stream. Pages of it that are never written to take no memory.
const SCRATCH_BYTES: usize = 256 * 1024;

const PAGE_BYTES: usize = 4096;
/// Copies out of memory that begins a page measure slower than from a cache line further on.
const SCRATCH_OFFSET: usize = 64;

/// Memory whose bytes nobody has set: to set a thread's takes longer than all that a thread does that
/// serves one connection.
type Unset = Vec<MaybeUninit<u8>>;

thread_local! {
    /// Where the scratch memory begins: null before there is one and when it is gone. Apart from what
    /// frees it, because a look at a value with a destructor costs a check of its state each time.
    static SCRATCH: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
    static SCRATCH_OWNER: Cell<Scratch> = const { Cell::new(Scratch(Vec::new())) };
    static OVERFLOW: Cell<Unset> = const { Cell::new(Vec::new()) };
}

struct Scratch(Unset);

/// The scratch memory of threads that ended, for those that start: its pages are there already. Only
/// ever tried for: a thread that forks may leave it locked in the child.
static SPARE: Mutex<Vec<Unset>> = Mutex::new(Vec::new());
const MOST_SPARE: usize = 16;

impl Drop for Scratch {
    fn drop(&mut self) {
        // One that was never in use has nothing to take back.
        if self.0.is_empty() {
            return;
        }
        SCRATCH.set(ptr::null_mut());
        if let Ok(mut spare) = SPARE.try_lock()
            && spare.len() < MOST_SPARE
        {
            spare.push(std::mem::take(&mut self.0));
        }
    }
}

/// The calling thread's scratch memory, for the time of one system call and what is copied out of
/// it right after: any other Python code on this thread may use it too. `None` in a thread whose
/// destructors run, or without memory.
#[inline]
pub fn scratch() -> Option<WritableMemory> {
    let start = SCRATCH.get();
    let start = if start.is_null() { new_scratch()? } else { start };
    Some(WritableMemory { start, len: SCRATCH_BYTES })
}

#[cold]
fn new_scratch() -> Option<*mut u8> {
    let spare = SPARE.try_lock().ok().and_then(|mut spare| spare.pop());
    let mut memory = match spare {
        Some(memory) => memory,
        None => unset(PAGE_BYTES + SCRATCH_OFFSET + SCRATCH_BYTES)?,
    };
    let start = memory.as_mut_ptr().cast::<u8>();
    let start = start.wrapping_add(start.align_offset(PAGE_BYTES) + SCRATCH_OFFSET);
    // The vector's memory does not move with it.
    SCRATCH_OWNER.try_with(|owner| owner.set(Scratch(memory))).ok()?;
    SCRATCH.set(start);
    Some(start)
}

fn unset(len: usize) -> Option<Unset> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(len).ok()?;
    // SAFETY: there is room for so many, and a MaybeUninit need not be set.
    unsafe { memory.set_len(len) };
    Some(memory)
}

/// How much memory a thread keeps for what overflows its scratch memory. It takes none until that
/// happens.
const OVERFLOW_BYTES: usize = 1 << 20;

/// A thread's memory behind the scratch memory, lent to one call.
pub struct Overflow {
    kept: Unset,
    wanted: usize,
}

/// Memory for up to `wanted` bytes that do not fit the scratch memory; less if there is less.
pub fn overflow(wanted: usize) -> Result<Overflow> {
    if wanted == 0 {
        return Ok(Overflow { kept: Vec::new(), wanted });
    }
    let mut memory = OVERFLOW.try_with(Cell::take).unwrap_or_default();
    if memory.is_empty() {
        memory = unset(OVERFLOW_BYTES).ok_or(Error::Memory)?;
    }
    Ok(Overflow { kept: memory, wanted })
}

impl Overflow {
    /// What may be written to, while this is alive.
    pub fn memory(&mut self) -> WritableMemory {
        WritableMemory {
            start: self.kept.as_mut_ptr().cast(),
            len: self.kept.len().min(self.wanted),
        }
    }
}

impl Drop for Overflow {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.kept);
        if !memory.is_empty() {
            let _ = OVERFLOW.try_with(|kept| kept.set(memory));
        }
    }
}

/// A bytes object of what is in the scratch memory and goes on behind it.
pub fn bytes_joined<'py>(
    py: Python<'py>,
    scratch: WritableMemory,
    more: &Overflow,
    count: usize,
) -> Result<Bound<'py, PyBytes>> {
    let bytes = UnfinishedBytes::with_len(py, count)?;
    let first = scratch.len.min(count);
    let rest = more.kept.get(..count - first).unwrap_or_default();
    // SAFETY: the object has `count` bytes, which nobody else has seen; `first` of them come from
    // this thread's scratch memory, which nothing writes to meanwhile, and the rest from `more`,
    // where the kernel has put them.
    unsafe {
        let start = bytes.memory(0).start;
        ptr::copy_nonoverlapping(scratch.start.cast_const(), start, first);
        ptr::copy_nonoverlapping(rest.as_ptr().cast(), start.add(first), rest.len());
    }
    Ok(bytes.finish(first + rest.len()))
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
