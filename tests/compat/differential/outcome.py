"""What a program can see, as plain values that compare equal when a program could not tell.

Values are compared by exact type and content, exceptions by exact type and `args`. Left out is
only what differs from run to run, or what rsnet and the standard library cannot share:

- the name of the module and of its class: `rsnet.socket` is `socket.socket`, `_rsnet.socket` is
  `_socket.socket`, and whether a method is written in Python or is native;
- ports that the kernel chose, abstract names that it chose (each becomes a number, by its first
  appearance: the same port is still the same port, and no other);
- the time in a control message, and addresses in memory within a repr.

Descriptor numbers are not left out: the worlds run one after the other from the same start, and
the lowest free number is the lowest free number.
"""

import enum
import fcntl
import io
import re
import socket as standard
import termios
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_NATIVE = standard.SocketType


@cache
def _ephemeral_ports() -> range:
    """The ports that the kernel chooses from when it is asked for any."""
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return range(int(low), int(high) + 1)


# As after laddr and raddr in the reprs of sockets: ('127.0.0.1', 43210) or b'\x00000a1'; and as
# create_server tells of its failure: (while attempting to bind on address ('127.0.0.1', 43210)).
_PORT_IN_TEXT = re.compile(r"((?:addr=|on address )\([^,]*, )(\d+)")
_CHOSEN_NAME = re.compile(rb"\0[0-9a-f]{5}")
_CHOSEN_NAME_IN_TEXT = re.compile(r"b'\\x00([0-9a-f]{5})'")
_IN_MEMORY = re.compile(r"0x[0-9a-f]{6,}")

# Of SOL_SOCKET, SCM_TIMESTAMP, SCM_TIMESTAMPNS and SCM_TIMESTAMPING, old and new: a time each.
_TIMES = (29, 35, 37, 63, 64, 65)


@dataclass(frozen=True)
class Raised:
    type: type[BaseException]
    args: Any


class Reader:
    """Makes plain values of what one world shows. It learns ports and names as they appear."""

    def __init__(self, module: ModuleType) -> None:
        # For other families rsnet hands out the standard class.
        self._own = {standard.socket: "socket.socket", module.SocketType: "_socket.socket"}
        self._own[module.socket] = "socket.socket"
        # Its own class of files reads and writes natively.
        self._own[standard.SocketIO] = self._own[module.SocketIO] = "socket.SocketIO"
        self._name = module.__name__
        name = re.escape(self._name)
        self._own_name = re.compile(
            rf"\b{name}(?=\.(?:socket|SocketIO)\b)|(?<=module '){name}(?=')"
        )
        self._native_name = re.compile(rf"\b_{name}(?=\.socket\b)")
        self._chosen: dict[Any, str] = {}

    def plain(self, value: Any) -> Any:
        """A value that a call returned."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is bytes and _CHOSEN_NAME.fullmatch(value):
            return self._label("name", value)
        if value is None or kind in (bool, int, bytes):
            return kind, value
        if isinstance(value, enum.Enum):
            return kind, value.value
        if isinstance(value, int | str | bytes):
            return kind, value
        if isinstance(value, float):
            return kind, repr(value)
        if isinstance(value, tuple | list):
            return self._of_sequence(kind, value)
        if isinstance(value, bytearray | memoryview):
            return kind, bytes(value)
        if isinstance(value, type):
            return self._own.get(value) or value
        if isinstance(value, BaseException):
            return self.raised(value)
        if isinstance(value, io.IOBase):
            return self._own.get(kind, kind), self._asked(lambda: value.closed)
        if isinstance(value, _NATIVE) or kind in self._own or hasattr(value, "getsockname"):
            return self.socket(value)
        return "to be called" if callable(value) else f"some {kind.__name__}"

    def _of_sequence(self, kind: type, value: Any) -> Any:
        items = [self.plain(item) for item in value]
        if _is_address(value) and value[1] in _ephemeral_ports():
            items[1] = self._label("port", value[1])
        elif len(value) == 3 and value[0] == standard.SOL_SOCKET and value[1] in _TIMES:
            items[2] = f"a time of {len(value[2])} bytes"
        return self._own.get(kind, kind), *items

    def text(self, text: str) -> str:
        if self._name in text:
            text = self._native_name.sub("_socket", self._own_name.sub("socket", text))
        if "addr" in text:
            text = _PORT_IN_TEXT.sub(self._port_in_text, text)
            text = _CHOSEN_NAME_IN_TEXT.sub(
                lambda found: self._label("name", b"\0" + found[1].encode()), text
            )
        return _IN_MEMORY.sub("0x...", text) if "0x" in text else text

    def _port_in_text(self, found: re.Match[str]) -> str:
        port = int(found[2])
        return found[1] + (self._label("port", port) if port in _ephemeral_ports() else found[2])

    def _label(self, what: str, value: Any) -> str:
        return self._chosen.setdefault(value, f"<{what} {len(self._chosen)}>")

    def raised(self, error: BaseException) -> Raised:
        args: Any = tuple(self.plain(argument) for argument in error.args)
        if isinstance(error, BaseExceptionGroup):
            args = error.message, *(self.raised(inner) for inner in error.exceptions)
        return Raised(type(error), args)

    def event(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """An audit event."""
        if name == "socket.getaddrinfo":
            host, port, *more = arguments
            arguments = (host, port), *more
        return name, *map(self._argument, arguments)

    def _argument(self, value: Any) -> Any:
        if type(value) is tuple:
            return tuple(map(self._argument, value))
        if type(value) is int and value in _ephemeral_ports():
            return self._label("port", value)
        # A socket is not looked into: it may be half made.
        if isinstance(value, _NATIVE) or type(value) in self._own or hasattr(value, "getsockname"):
            return "a socket"
        return self.plain(value)

    def socket(self, sock: Any) -> Any:
        """All that a socket shows without being touched, and what the kernel says of it."""
        kind = type(sock)
        return (
            self._own.get(kind) or kind.__name__,
            self._asked(repr, sock),
            self._asked(_attributes, sock),
            self._asked(_kernel_view, sock.fileno()),
        )

    def _asked(self, question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self.plain(question(*arguments))
        except Exception as error:
            return self.raised(error)


def _attributes(sock: Any) -> Any:
    state = getattr(sock, "_closed", None), getattr(sock, "_io_refs", None)
    return sock.family, sock.type, sock.proto, sock.gettimeout(), *state


def _kernel_view(descriptor: int) -> Any:
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL), fcntl.fcntl(descriptor, fcntl.F_GETFD)
    try:
        # How much there is to read, which tells of a byte too many before it is read.
        return *flags, fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
    except OSError as error:
        return *flags, error.errno


def _is_address(value: Any) -> bool:
    return (
        len(value) in (2, 4)
        and type(value) is tuple
        and type(value[0]) is str
        and type(value[1]) is int
    )


def readable(plain: Any) -> str:
    """A plain value as a person reads it: the value, and its type where that is not obvious."""
    if isinstance(plain, tuple) and plain and isinstance(plain[0], type):
        kind, *items = plain
        if len(items) == 1 and kind in (int, bool, bytes, float, type(None)):
            return str(items[0]) if kind is float else repr(items[0])
        return f"{kind.__name__}({', '.join(map(readable, items))})"
    if isinstance(plain, tuple | list):
        return f"({', '.join(map(readable, plain))})"
    if isinstance(plain, Raised):
        return f"{plain.type.__module__}.{plain.type.__qualname__}{readable(plain.args)}"
    text = repr(plain) if isinstance(plain, str) else str(plain)
    return text if len(text) < 1000 else f"{text[:100]}... ({len(text)} characters)"
