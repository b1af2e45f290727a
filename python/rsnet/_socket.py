"""The class `socket`, over the native half in `_rsnet`: CPython's own split.

What CPython's class does in Python and not by system call (makefile, sendfile, repr, ...) is
CPython's own code, bound to rsnet's namespace.
"""

from __future__ import annotations

import sys
from abc import ABCMeta
from socket import AddressFamily, SocketKind

from rsnet import _rsnet, _standard
from rsnet._class_face import face_of

# What only type checkers need would double the time of the import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["getaddrinfo", "namespace", "socket"]

# More than any kernel has to say so far.
_TCP_INFO_BYTES = 512

# Programs put other things, rsnet's own among them, in the place of the standard ones.
_standard_getaddrinfo = _standard.module.getaddrinfo
_intenum_converter = _standard.module._intenum_converter  # type: ignore[attr-defined]


# An ABCMeta, so that the standard class can be registered as a virtual subclass: after
# `import rsnet as socket`, a TLS socket must still be an instance of `socket.socket`. ABCMeta
# itself, so that protocols and other abstract classes mix with it.
class socket(_rsnet.socket, metaclass=ABCMeta):
    """A network socket, as the standard library's `socket.socket`."""

    __slots__ = ["__weakref__"]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ == ABCMeta.__module__:
            # A class made by a call of type() is from the module of the caller, not from abc.
            cls.__module__ = sys._getframe(2).f_globals.get("__name__", cls.__module__)

    __new__ = _rsnet.new_socket  # type: ignore[assignment]

    @property
    def __class__(self) -> Any:
        # isinstance(x, socket.socket) is asked by much code that then goes by attributes and
        # fileno(). This is the one question that can be answered with yes.
        return face_of(type(self))

    @__class__.setter
    def __class__(self, value: Any) -> None:
        object.__dict__["__class__"].__set__(self, value)

    @property
    def family(self) -> Any:
        """Read-only access to the address family for this socket."""
        return _intenum_converter(super().family, AddressFamily)

    @property
    def type(self) -> Any:
        """Read-only access to the socket type."""
        return _intenum_converter(super().type, SocketKind)

    def tcp_info(self) -> Any:
        """Ask the kernel what it knows of this TCP connection.

        Returns rsnet.TcpInfo, with None for what the running kernel does not tell.

        Raises OSError for a socket that is closed or not TCP's.

        Source: tcp(7), TCP_INFO.

        >>> import rsnet
        >>> with rsnet.create_server(("127.0.0.1", 0)) as server:
        ...     with rsnet.create_connection(server.getsockname()) as sock:
        ...         info = sock.tcp_info()
        >>> info.state, info.rtt_us > 0, info.total_retrans
        (1, True, 0)
        """
        from rsnet._tcp_info import parsed

        module = _standard.module
        return parsed(self.getsockopt(module.IPPROTO_TCP, module.TCP_INFO, _TCP_INFO_BYTES))

    def _real_close(self, _ss: Any = _rsnet.socket) -> None:
        # As in CPython, no globals: this may run while the interpreter shuts down.
        _ss.close(self)


def getaddrinfo(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> Any:
    answer = _rsnet.numeric_addrinfo(host, port, family, type, proto, flags)
    if answer is None:
        return _standard_getaddrinfo(host, port, family, type, proto, flags)
    return answer


class SocketIO(_standard.module.SocketIO):
    pass


# include/uapi/linux/in.h, in6.h, udp.h
_KERNEL_NAMES = {
    "IP_RECVERR": 11,
    "IP_RECVTTL": 12,
    "IPV6_RECVERR": 25,
    "UDP_SEGMENT": 103,
    "UDP_GRO": 104,
}


def _complete(rsnet: dict[str, Any]) -> dict[str, Any]:
    """All of the standard module's names, those that make sockets bound to `rsnet`."""
    native = {"__init__", "_decref_socketios"}
    for name, function in _standard.functions(_standard.module.socket):
        if name not in vars(socket) and name not in native:
            setattr(socket, name, _standard.rebound(function, rsnet))
    getaddrinfo.__doc__ = _standard.module.getaddrinfo.__doc__
    names = _standard.names()
    for name, function in _standard.functions(_standard.module):
        names[name] = _standard.rebound(function, rsnet)
    # Names of the kernel's that only newer versions of the standard module have, or none.
    names = {**_KERNEL_NAMES, **names}
    names |= {"socket": socket, "getaddrinfo": getaddrinfo, "SocketIO": SocketIO}
    names |= {"Datagram": _rsnet.Datagram, "QueuedError": _rsnet.QueuedError}
    names["gil_policy"] = _rsnet.gil_policy
    SocketIO.__doc__ = _standard.module.SocketIO.__doc__
    for own in (socket, getaddrinfo, SocketIO):
        own.__module__ = rsnet["__name__"]
    return names


socket.register(_standard.module.socket)
_rsnet.use_file_class(SocketIO, _standard.module.SocketIO)
_rsnet.use_class(socket, vars(sys.modules["rsnet"]), _standard.module)
namespace = _complete(vars(sys.modules["rsnet"]))
