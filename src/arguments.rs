//! Arguments as CPython's `_socket` takes them. The common shapes are read directly; anything else
//! goes to the interpreter's own parser with CPython's own format, so that every error has the
//! class and the text of the interpreter at hand.

use std::ffi::{CStr, c_char, c_int, c_long};
use std::mem::MaybeUninit;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::buffer::Buffer;
use crate::errors::{Error, Result};

/// The arguments of one call, where METH_FASTCALL leaves them.
#[derive(Clone, Copy)]
pub struct Arguments<'a, 'py> {
    py: Python<'py>,
    positional: &'a [*mut ffi::PyObject],
    /// The values of the keyword arguments, which stand behind the positional ones.
    keyword: &'a [*mut ffi::PyObject],
    /// A tuple of their names, or null.
    names: *mut ffi::PyObject,
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// # Safety
    /// As the interpreter calls a METH_FASTCALL (names null) or METH_FASTCALL | METH_KEYWORDS
    /// function: `count` objects at `start`, followed by one for each of `names`.
    pub unsafe fn from_fastcall(
        py: Python<'py>,
        start: *const *mut ffi::PyObject,
        count: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> Self {
        let count = usize::try_from(count).unwrap_or(0);
        let keywords = if names.is_null() {
            0
        } else {
            // SAFETY: `names` is null or a tuple, by the caller's promise.
            unsafe { ffi::PyTuple_Size(names) }
        };
        let keywords = usize::try_from(keywords).unwrap_or(0);
        let all = if count + keywords == 0 {
            // The pointer may be null then.
            &[]
        } else {
            // SAFETY: so many objects stand at `start` until the call returns.
            unsafe { std::slice::from_raw_parts(start, count + keywords) }
        };
        let (positional, keyword) = all.split_at(count);
        Self { py, positional, keyword, names }
    }

    /// How many positional arguments there are.
    pub fn len(&self) -> usize {
        self.positional.len()
    }

    /// The positional argument at `index`.
    fn get(&self, index: usize) -> Option<Borrowed<'a, 'py, PyAny>> {
        let object = *self.positional.get(index)?;
        // SAFETY: the caller of the method keeps its arguments alive until the method returns.
        Some(unsafe { Borrowed::from_ptr(self.py, object) })
    }

    /// The positional arguments as the tuple that METH_VARARGS would have given.
    fn tuple(&self) -> PyResult<Bound<'py, PyTuple>> {
        let all = (0..self.len()).filter_map(|index| self.get(index)).map(Borrowed::to_owned);
        PyTuple::new(self.py, all.collect::<Vec<_>>())
    }

    /// The keyword arguments, by name.
    fn keywords(&self) -> Result<Vec<(String, Borrowed<'a, 'py, PyAny>)>> {
        if self.names.is_null() {
            return Ok(Vec::new());
        }
        let pair = |(index, &value): (usize, &*mut ffi::PyObject)| {
            let index = ffi::Py_ssize_t::try_from(index).unwrap_or(0);
            // SAFETY: as in `dict`.
            let (name, value) = unsafe {
                let name = ffi::PyTuple_GetItem(self.names, index);
                let name = Borrowed::<PyAny>::from_ptr_or_err(self.py, name)?;
                (name, Borrowed::from_ptr(self.py, value))
            };
            Ok((name.extract::<String>()?, value))
        };
        self.keyword.iter().enumerate().map(pair).collect()
    }

    /// The keyword arguments as the dict that METH_KEYWORDS would have given.
    fn dict(&self) -> PyResult<Option<Bound<'py, PyDict>>> {
        if self.names.is_null() {
            return Ok(None);
        }
        let dict = PyDict::new(self.py);
        for (index, &value) in self.keyword.iter().enumerate() {
            let index = ffi::Py_ssize_t::try_from(index).unwrap_or(0);
            // SAFETY: `names` is a tuple with as many entries as there are keyword values; both
            // are alive until the method returns.
            let (name, value) = unsafe {
                let name = ffi::PyTuple_GetItem(self.names, index);
                (
                    Borrowed::from_ptr_or_err(self.py, name)?,
                    Borrowed::<PyAny>::from_ptr(self.py, value),
                )
            };
            dict.set_item(name, value)?;
        }
        Ok(Some(dict))
    }
}

/// The arguments of one of rsnet's own methods, by name: the first `positional` may stand without it,
/// the first `required` must be there.
pub struct Signature<const N: usize> {
    pub method: &'static str,
    pub names: [&'static str; N],
    pub positional: usize,
    pub required: usize,
}

impl<const N: usize> Signature<N> {
    /// The arguments in the order of the names.
    pub fn bind<'a, 'py>(
        &self,
        arguments: &Arguments<'a, 'py>,
    ) -> Result<[Option<Borrowed<'a, 'py, PyAny>>; N]> {
        let method = self.method;
        if arguments.len() > self.positional {
            let (most, given) = (self.positional, arguments.len());
            let text =
                format!("{method}() takes at most {most} positional arguments ({given} given)");
            return Err(Error::Type(text));
        }
        let mut bound = [const { None }; N];
        for (index, place) in bound.iter_mut().enumerate() {
            *place = arguments.get(index);
        }
        for (name, value) in arguments.keywords()? {
            let index = self.names.iter().position(|known| *known == name);
            match index.and_then(|index| bound.get_mut(index)) {
                Some(place @ None) => *place = Some(value),
                Some(Some(_)) => {
                    let text = format!("{method}() got multiple values for argument '{name}'");
                    return Err(Error::Type(text));
                }
                None => {
                    let text = format!("{method}() got an unexpected keyword argument '{name}'");
                    return Err(Error::Type(text));
                }
            }
        }
        let missing =
            self.names.iter().zip(&bound).take(self.required).find(|(_, it)| it.is_none());
        match missing {
            Some((name, _)) => Err(Error::Type(format!("{method}() missing argument '{name}'"))),
            None => Ok(bound),
        }
    }
}

/// A size, not negative.
pub fn size(object: &Bound<'_, PyAny>, error: &'static str) -> Result<usize> {
    let index: ffi::Py_ssize_t = object.extract()?;
    usize::try_from(index).map_err(|_| Error::Value(error))
}

/// An `int` argument, if it is a Python int that fits.
fn small_int(object: Borrowed<'_, '_, PyAny>) -> Option<c_int> {
    c_int::try_from(long(object)?).ok()
}

fn long(object: Borrowed<'_, '_, PyAny>) -> Option<c_long> {
    // SAFETY: the object is alive and an int (or a subclass of it), for which the conversion runs
    // no Python code and sets no exception.
    unsafe {
        if ffi::PyLong_Check(object.as_ptr()) == 0 {
            return None;
        }
        let mut overflow = 0;
        let value = ffi::PyLong_AsLongAndOverflow(object.as_ptr(), &raw mut overflow);
        (overflow == 0).then_some(value)
    }
}

/// The integer at `index`, `default` if there is none, or nothing if it needs the slow way.
fn optional_int(arguments: &Arguments<'_, '_>, index: usize, default: c_int) -> Option<c_int> {
    arguments.get(index).map_or(Some(default), small_int)
}

/// Calls `PyArg_ParseTuple`; the out-pointers must fit the format.
macro_rules! parse_tuple {
    ($arguments:expr, $format:expr, $($out:expr),*) => {{
        let tuple = $arguments.tuple()?;
        // SAFETY: a tuple, a format of CPython's own for this method, and one pointer of the
        // format's type for each of its units, all alive through the call.
        match unsafe { ffi::PyArg_ParseTuple(tuple.as_ptr(), $format.as_ptr(), $($out),*) } {
            0 => Err(PyErr::fetch($arguments.py)),
            _ => Ok(()),
        }
    }};
}

/// The same for one form of several: true if the arguments have it, and no exception if not.
macro_rules! fits {
    ($arguments:expr, $format:expr, $($out:expr),*) => {{
        let tuple = $arguments.tuple()?;
        // SAFETY: as in `parse_tuple`.
        unsafe {
            let parsed = ffi::PyArg_ParseTuple(tuple.as_ptr(), $format.as_ptr(), $($out),*);
            if parsed == 0 {
                ffi::PyErr_Clear();
            }
            parsed != 0
        }
    }};
}

/// `n|i`: a size and flags.
#[inline(always)]
pub fn size_and_flags(
    arguments: &Arguments<'_, '_>,
    format: &'static CStr,
) -> Result<(ffi::Py_ssize_t, c_int)> {
    if let (1 | 2, Some(first)) = (arguments.len(), arguments.get(0))
        && let (Some(size), Some(flags)) = (long(first), optional_int(arguments, 1, 0))
        && let Ok(size) = ffi::Py_ssize_t::try_from(size)
    {
        return Ok((size, flags));
    }
    parsed_size_and_flags(arguments, format)
}

#[cold]
fn parsed_size_and_flags(
    arguments: &Arguments<'_, '_>,
    format: &'static CStr,
) -> Result<(ffi::Py_ssize_t, c_int)> {
    let (mut size, mut flags): (ffi::Py_ssize_t, c_int) = (0, 0);
    parse_tuple!(arguments, format, &raw mut size, &raw mut flags)?;
    Ok((size, flags))
}

/// `n|ni`: two sizes and flags.
pub fn two_sizes_and_flags(
    arguments: &Arguments<'_, '_>,
    format: &'static CStr,
) -> Result<(ffi::Py_ssize_t, ffi::Py_ssize_t, c_int)> {
    let (mut first, mut second): (ffi::Py_ssize_t, ffi::Py_ssize_t) = (0, 0);
    let mut flags: c_int = 0;
    parse_tuple!(arguments, format, &raw mut first, &raw mut second, &raw mut flags)?;
    Ok((first, second, flags))
}

/// `O|ni`: an object, a size and flags.
pub fn object_size_and_flags<'py>(
    arguments: &Arguments<'_, 'py>,
    format: &'static CStr,
) -> Result<(Bound<'py, PyAny>, ffi::Py_ssize_t, c_int)> {
    let mut object = ptr::null_mut::<ffi::PyObject>();
    let mut size: ffi::Py_ssize_t = 0;
    let mut flags: c_int = 0;
    parse_tuple!(arguments, format, &raw mut object, &raw mut size, &raw mut flags)?;
    // SAFETY: on success `object` is the first argument, which the caller keeps alive.
    let object = unsafe { Borrowed::from_ptr(arguments.py, object) };
    Ok((object.to_owned(), size, flags))
}

/// `y*|i`: bytes and flags.
#[inline(always)]
pub fn buffer_and_flags(
    arguments: &Arguments<'_, '_>,
    format: &'static CStr,
) -> Result<(Buffer, c_int)> {
    if let (1 | 2, Some(first)) = (arguments.len(), arguments.get(0))
        && let Some(flags) = optional_int(arguments, 1, 0)
    {
        return Ok((Buffer::readable(&first)?, flags));
    }
    parsed_buffer_and_flags(arguments, format)
}

#[cold]
fn parsed_buffer_and_flags(
    arguments: &Arguments<'_, '_>,
    format: &'static CStr,
) -> Result<(Buffer, c_int)> {
    let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
    let mut flags: c_int = 0;
    parse_tuple!(arguments, format, view.as_mut_ptr(), &raw mut flags)?;
    // SAFETY: the parser has filled the view in and leaves its release to us.
    Ok((unsafe { Buffer::from_view(view.assume_init()) }, flags))
}

/// `sendto`'s own: `y*O` or `y*iO`.
pub fn buffer_flags_and_address<'py>(
    arguments: &Arguments<'_, 'py>,
) -> Result<(Buffer, c_int, Bound<'py, PyAny>)> {
    if let (2, Some(first), Some(address)) = (arguments.len(), arguments.get(0), arguments.get(1)) {
        return Ok((Buffer::readable(&first)?, 0, address.to_owned()));
    }
    if arguments.len() != 3 {
        let given = arguments.len();
        return Err(Error::Type(format!("sendto() takes 2 or 3 arguments ({given} given)")));
    }
    let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
    let mut flags: c_int = 0;
    let mut address = ptr::null_mut::<ffi::PyObject>();
    let format = c"y*iO:sendto";
    parse_tuple!(arguments, format, view.as_mut_ptr(), &raw mut flags, &raw mut address)?;
    // SAFETY: the parser has filled the view in and leaves its release to us; `address` is an
    // argument, which the caller keeps alive.
    unsafe {
        let address = Borrowed::from_ptr(arguments.py, address).to_owned();
        Ok((Buffer::from_view(view.assume_init()), flags, address))
    }
}

/// `w*|ni` with the keywords buffer, nbytes, flags.
pub fn writable_size_and_flags(
    arguments: &Arguments<'_, '_>,
    format: &'static CStr,
) -> Result<(Buffer, ffi::Py_ssize_t, c_int)> {
    if let (1..=3, Some(first), true) =
        (arguments.len(), arguments.get(0), arguments.keyword.is_empty())
        && let Some(size) = arguments.get(1).map_or(Some(0), long)
        && let Ok(size) = ffi::Py_ssize_t::try_from(size)
        && let Some(flags) = optional_int(arguments, 2, 0)
        && let Ok(buffer) = Buffer::writable(&first)
    {
        return Ok((buffer, size, flags));
    }
    let mut names = [c"buffer", c"nbytes", c"flags"].map(CStr::as_ptr).to_vec();
    names.push(ptr::null());
    let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
    let mut size: ffi::Py_ssize_t = 0;
    let mut flags: c_int = 0;
    let tuple = arguments.tuple()?;
    let dict = arguments.dict()?;
    // SAFETY: a tuple, a dict or null, CPython's own format for this method, its three keywords,
    // and one pointer of the format's type for each of its units, all alive through the call.
    let parsed = unsafe {
        ffi::PyArg_ParseTupleAndKeywords(
            tuple.as_ptr(),
            dict.as_ref().map_or(ptr::null_mut(), Bound::as_ptr),
            format.as_ptr(),
            names.as_mut_ptr().cast::<*mut c_char>(),
            view.as_mut_ptr(),
            &raw mut size,
            &raw mut flags,
        )
    };
    if parsed == 0 {
        return Err(PyErr::fetch(arguments.py).into());
    }
    // SAFETY: the parser has filled the view in and leaves its release to us.
    Ok((unsafe { Buffer::from_view(view.assume_init()) }, size, flags))
}

/// The arguments of `sendmsg`: `O|OiO`.
pub struct MessageArguments<'py> {
    pub buffers: Bound<'py, PyAny>,
    pub ancdata: Option<Bound<'py, PyAny>>,
    pub flags: c_int,
    pub address: Option<Bound<'py, PyAny>>,
}

/// `O|OiO`: what `sendmsg` takes.
pub fn message<'py>(arguments: &Arguments<'_, 'py>) -> Result<MessageArguments<'py>> {
    let mut buffers = ptr::null_mut::<ffi::PyObject>();
    let mut ancdata = ptr::null_mut::<ffi::PyObject>();
    let mut flags: c_int = 0;
    let mut address = ptr::null_mut::<ffi::PyObject>();
    parse_tuple!(
        arguments,
        c"O|OiO:sendmsg",
        &raw mut buffers,
        &raw mut ancdata,
        &raw mut flags,
        &raw mut address
    )?;
    let py = arguments.py;
    // SAFETY: each is null or an argument, which the caller keeps alive.
    let owned = |object| unsafe { Borrowed::from_ptr_or_opt(py, object).map(Borrowed::to_owned) };
    Ok(MessageArguments {
        buffers: owned(buffers).ok_or(Error::Memory)?,
        ancdata: owned(ancdata),
        flags,
        address: owned(address).filter(|address| !address.is_none()),
    })
}

/// One item of `sendmsg`'s ancillary data: `(iiy*)`.
pub fn ancillary_item(item: &Bound<'_, PyAny>) -> Result<(c_int, c_int, Buffer)> {
    let (mut level, mut kind): (c_int, c_int) = (0, 0);
    let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
    let format = c"(iiy*):[sendmsg() ancillary data items]";
    // SAFETY: one pointer of the format's type for each of its units, all alive through the call;
    // on success the view is filled in and its release is left to us.
    unsafe {
        match ffi::PyArg_Parse(
            item.as_ptr(),
            format.as_ptr(),
            &raw mut level,
            &raw mut kind,
            view.as_mut_ptr(),
        ) {
            0 => Err(PyErr::fetch(item.py()).into()),
            _ => Ok((level, kind, Buffer::from_view(view.assume_init()))),
        }
    }
}

/// One buffer of `recvmsg_into`: `w*`.
pub fn writable_item(item: &Bound<'_, PyAny>) -> Result<Buffer> {
    let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
    let format =
        c"w*;recvmsg_into() argument 1 must be an iterable of single-segment read-write buffers";
    // SAFETY: the view is what the format's only unit asks for; on success it is filled in and its
    // release is left to us.
    unsafe {
        match ffi::PyArg_Parse(item.as_ptr(), format.as_ptr(), view.as_mut_ptr()) {
            0 => Err(PyErr::fetch(item.py()).into()),
            _ => Ok(Buffer::from_view(view.assume_init())),
        }
    }
}

/// `|i`: one optional number.
pub fn optional_number(
    arguments: &Arguments<'_, '_>,
    format: &'static CStr,
    default: c_int,
) -> Result<c_int> {
    let mut number = default;
    parse_tuple!(arguments, format, &raw mut number)?;
    Ok(number)
}

/// `ii|i`: two numbers and an optional one.
pub fn two_or_three_numbers(
    arguments: &Arguments<'_, '_>,
    format: &'static CStr,
) -> Result<(c_int, c_int, c_int)> {
    if let (2 | 3, Some(first), Some(second)) =
        (arguments.len(), arguments.get(0), arguments.get(1))
        && let (Some(first), Some(second)) = (small_int(first), small_int(second))
        && let Some(third) = optional_int(arguments, 2, 0)
    {
        return Ok((first, second, third));
    }
    let (mut first, mut second, mut third): (c_int, c_int, c_int) = (0, 0, 0);
    parse_tuple!(arguments, format, &raw mut first, &raw mut second, &raw mut third)?;
    Ok((first, second, third))
}

/// The value of a socket option.
pub enum OptionValue {
    Number(c_int),
    /// The kernel's NULL, with a length.
    Null(u32),
    Bytes(Buffer),
}

/// `iii`, `iiO!I` with None, or `iiy*`, tried in this order as CPython does: what is wrong with the
/// arguments is what is wrong with them for the last.
pub fn option(arguments: &Arguments<'_, '_>) -> Result<(c_int, c_int, OptionValue)> {
    let (mut level, mut name, mut number): (c_int, c_int, c_int) = (0, 0, 0);
    if let (3, Some(first), Some(second), Some(third)) =
        (arguments.len(), arguments.get(0), arguments.get(1), arguments.get(2))
        && let (Some(level), Some(name), Some(number)) =
            (small_int(first), small_int(second), small_int(third))
    {
        return Ok((level, name, OptionValue::Number(number)));
    }
    let py = arguments.py;
    let format = c"iii:setsockopt";
    if fits!(arguments, format, &raw mut level, &raw mut name, &raw mut number) {
        return Ok((level, name, OptionValue::Number(number)));
    }
    let none_type = py.None().bind(py).get_type();
    let mut none = ptr::null_mut::<ffi::PyObject>();
    let mut length: u32 = 0;
    if fits!(
        arguments,
        c"iiO!I:setsockopt",
        &raw mut level,
        &raw mut name,
        none_type.as_type_ptr(),
        &raw mut none,
        &raw mut length
    ) {
        return Ok((level, name, OptionValue::Null(length)));
    }
    let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
    let format = c"iiy*:setsockopt";
    parse_tuple!(arguments, format, &raw mut level, &raw mut name, view.as_mut_ptr())?;
    // SAFETY: the parser has filled the view in and leaves its release to us.
    Ok((level, name, OptionValue::Bytes(unsafe { Buffer::from_view(view.assume_init()) })))
}

/// A single `int` argument, as `PyLong_AsInt` takes it.
pub fn number(object: &Bound<'_, PyAny>) -> Result<c_int> {
    let mut overflow = 0;
    // SAFETY: the object is alive; an exception shows as -1 and is looked for.
    let value = unsafe { ffi::PyLong_AsLongAndOverflow(object.as_ptr(), &raw mut overflow) };
    if value == -1
        && overflow == 0
        && let Some(error) = PyErr::take(object.py())
    {
        return Err(error.into());
    }
    if overflow == 0
        && let Ok(value) = c_int::try_from(value)
    {
        return Ok(value);
    }
    Err(Error::Overflow("Python int too large to convert to C int".to_owned()))
}

/// The number that an int (or an enum's member) is, if it fits.
pub fn plain_number(object: &Bound<'_, PyAny>) -> Option<c_int> {
    small_int(object.as_borrowed())
}

/// A descriptor, as CPython's `fileno` argument takes it: a C long, cut to an int.
pub fn descriptor(object: &Bound<'_, PyAny>) -> Result<c_int> {
    // SAFETY: the object is alive; an exception shows as -1 and is looked for.
    let value = unsafe { ffi::PyLong_AsLong(object.as_ptr()) };
    if value == -1
        && let Some(error) = PyErr::take(object.py())
    {
        return Err(error.into());
    }
    #[allow(clippy::cast_possible_truncation, reason = "CPython cuts it, and programs see that")]
    Ok(value as c_int)
}

/// The members of an INET or INET6 address tuple.
pub struct InetMembers<'py> {
    pub host: Bound<'py, PyAny>,
    pub port: c_int,
    pub flowinfo: u32,
    pub scope_id: u32,
}

/// `Oi` of an address tuple. The host is judged by the caller, before the port as in CPython.
pub fn inet_members<'py>(
    tuple: &Bound<'py, PyTuple>,
    check_host: impl FnOnce(&Bound<'py, PyAny>) -> Result<()>,
) -> Result<InetMembers<'py>> {
    let format = c"Oi;AF_INET address must be a pair (host, port)";
    let mut host = ptr::null_mut::<ffi::PyObject>();
    let mut port: c_int = 0;
    if tuple.len() == 2 {
        check_host(&tuple.get_item(0)?)?;
    }
    // SAFETY: a tuple, and one pointer of the format's type for each of its units.
    let parsed = unsafe {
        ffi::PyArg_ParseTuple(tuple.as_ptr(), format.as_ptr(), &raw mut host, &raw mut port)
    };
    finish_members(tuple, parsed, host, port, 0, 0)
}

/// `Oi|II` of an address tuple.
pub fn inet6_members<'py>(
    tuple: &Bound<'py, PyTuple>,
    check_host: impl FnOnce(&Bound<'py, PyAny>) -> Result<()>,
) -> Result<InetMembers<'py>> {
    let format = c"Oi|II;AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]])";
    let mut host = ptr::null_mut::<ffi::PyObject>();
    let mut port: c_int = 0;
    let (mut flowinfo, mut scope_id): (u32, u32) = (0, 0);
    if (2..=4).contains(&tuple.len()) {
        check_host(&tuple.get_item(0)?)?;
    }
    // SAFETY: a tuple, and one pointer of the format's type for each of its units.
    let parsed = unsafe {
        ffi::PyArg_ParseTuple(
            tuple.as_ptr(),
            format.as_ptr(),
            &raw mut host,
            &raw mut port,
            &raw mut flowinfo,
            &raw mut scope_id,
        )
    };
    finish_members(tuple, parsed, host, port, flowinfo, scope_id)
}

fn finish_members<'py>(
    tuple: &Bound<'py, PyTuple>,
    parsed: c_int,
    host: *mut ffi::PyObject,
    port: c_int,
    flowinfo: u32,
    scope_id: u32,
) -> Result<InetMembers<'py>> {
    if parsed == 0 {
        return Err(PyErr::fetch(tuple.py()).into());
    }
    // SAFETY: on success `host` is an item of the tuple, which is alive.
    let host = unsafe { Borrowed::from_ptr(tuple.py(), host) }.to_owned();
    Ok(InetMembers { host, port, flowinfo, scope_id })
}

/// The bytes of an object that is not str, as `PyArg_Parse(.., "y*")` takes them.
pub fn bytes_like(object: &Bound<'_, PyAny>) -> Result<Buffer> {
    Ok(Buffer::readable(object)?)
}

/// A path by the filesystem encoding, NULs and all (PEP 383).
pub fn encoded_path<'py>(path: &Bound<'py, PyString>) -> Result<Bound<'py, PyBytes>> {
    // SAFETY: a str that is alive; the result is a new bytes object or an exception.
    unsafe {
        let encoded = ffi::PyUnicode_EncodeFSDefault(path.as_ptr());
        Ok(Bound::from_owned_ptr_or_err(path.py(), encoded)?.cast_into_unchecked())
    }
}

/// The name of the type of what is no tuple as C code sees it (`tp_name`), which for most types made
/// in C has the module in it. The limited API tells it in the words of an error alone.
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    let mut tuple = ptr::null_mut::<ffi::PyObject>();
    // SAFETY: an object that is alive, and for `O!` a type and a pointer for an object of it.
    let parsed = unsafe {
        ffi::PyArg_Parse(
            object.as_ptr(),
            c"O!".as_ptr(),
            &raw mut ffi::PyTuple_Type,
            &raw mut tuple,
        )
    };
    let refusal = match parsed {
        0 => PyErr::fetch(object.py()).value(object.py()).to_string(),
        _ => String::new(),
    };
    match refusal.rsplit_once("must be tuple, not ") {
        Some((_, name)) if !object.is_none() => name.to_owned(),
        _ => object.get_type().name().map_or_else(|_| String::new(), |name| name.to_string()),
    }
}
