"""What a program of the differential test can name, besides builtins and the module under test.

To replay a counterexample by hand: `import rsnet as socket` (or `import socket`), then
`from vocabulary import *` in this folder, then the printed lines.
"""

import array
import ctypes
import decimal
import io
import mmap
import os
import pathlib
import pickle
import struct
import weakref
from collections import namedtuple
from copy import copy, deepcopy

__all__ = [
    "Buffered",
    "Failing",
    "Index",
    "Int",
    "Pair",
    "PathLike",
    "Str",
    "Tuple",
    "abstract",
    "array",
    "copy",
    "ctypes",
    "decimal",
    "deepcopy",
    "fill",
    "io",
    "mmap",
    "os",
    "pathlib",
    "pickle",
    "private",
    "released",
    "reset",
    "seen",
    "struct",
    "weakref",
]


class Index:
    """An integer by __index__ alone."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class Failing:
    """Raises whatever it is asked."""

    def _fail(self, *arguments):
        raise LookupError("asked")

    __index__ = __int__ = __float__ = __bool__ = __len__ = __iter__ = __getitem__ = _fail
    __buffer__ = __fspath__ = _fail


class PathLike:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


class Buffered:
    """A buffer by PEP 688: one from Python 3.12 on, before that none."""

    def __init__(self, data):
        self.data = bytearray(data)

    def __buffer__(self, flags):
        return memoryview(self.data)


class Int(int):
    pass


class Str(str):
    pass


class Tuple(tuple):
    pass


Pair = namedtuple("Pair", "host port")

# An abstract name, and an address of the loopback interface, that no other process uses.
abstract = f"\0rsnet-{os.getpid():07}"
private = "127.{}.{}.{}".format(*(os.getpid() + (1 << 16)).to_bytes(4)[1:])


def released(length):
    view = memoryview(bytearray(length))
    view.release()
    return view


def fill(sock):
    """Sends until no more goes in; gives how much went."""
    sock.setblocking(False)
    sent = 0
    while True:
        try:
            sent += sock.send(bytes(4096))
        except BlockingIOError:
            return sent


def reset(sock):
    """Closes a connection so that the peer sees ECONNRESET."""
    sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER
    sock.close()


def seen(buffer):
    """The buffer itself. The test's own `seen` also compares what is in it after the call."""
    return buffer
