"""Stand-ins for rsnet with one fault each, to see that the differential test finds it.

A stand-in is the standard library's own source, run again as a module of another name: the same
calls, the same enums and constants, a class of its own. Without a fault nothing can tell it apart.
"""

import importlib.util
import os
import socket as standard
import sys
import warnings
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

Method = Callable[..., Any]
Fault = Callable[[ModuleType], None]


def rival(fault: Fault) -> ModuleType:
    spec = importlib.util.spec_from_file_location("rival", standard.__file__)
    module = importlib.util.module_from_spec(spec)
    sys.modules["rival"] = module  # where the source looks for itself while it makes its enums
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["rival"]
    for name, value in vars(standard).items():
        is_own = name.startswith("_") or isinstance(value, FunctionType) or name == "socket"
        if not is_own:
            setattr(module, name, value)
    fault(module)
    return module


def around(name: str, act: Callable[..., Any]) -> Fault:
    """Puts `act(original, *arguments)` in the place of a method."""

    def put(module: ModuleType) -> None:
        original = getattr(module.socket, name)
        # Even the name of `self` is left to the original, that its complaints stay the same.
        setattr(module.socket, name, lambda *args, **kwargs: act(original, *args, **kwargs))

    return put


def both(one: Fault, other: Fault) -> Fault:
    def put(module: ModuleType) -> None:
        one(module)
        other(module)

    return put


def changed(name: str, change: Callable[[Any], Any]) -> Fault:
    return around(name, lambda original, *args, **kwargs: change(original(*args, **kwargs)))


def otherwise(name: str, expected: type[Exception], make: Callable[[Any], Exception]) -> Fault:
    """Another exception in the place of the expected one."""

    def act(original: Method, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except expected as error:
            raise make(error) from None

    return around(name, act)


def wraps_all(module: ModuleType) -> None:
    """No fault: every method that a fault is put around has something harmless around it."""
    for name in ("recv", "recv_into", "connect", "send", "accept", "dup", "settimeout", "detach"):
        changed(name, lambda result: result)(module)


def _writes_behind(original: Method, *args: Any, **kwargs: Any) -> Any:
    count = original(*args, **kwargs)
    if type(args[1]) is bytearray and count < len(args[1]):
        args[1][count] = 1
    return count


def _blocks_at_zero(original: Method, sock: Any, *args: Any, **kwargs: Any) -> Any:
    return original(sock, *(None if arg == 0 else arg for arg in args), **kwargs)


def _peeks_for_good(original: Method, *args: Any, **kwargs: Any) -> Any:
    if len(args) > 2 and args[2] == standard.MSG_PEEK:
        args = *args[:2], 0
    return original(*args, **kwargs)


def _leaks_on_failure(original: Method, *args: Any, **kwargs: Any) -> Any:
    try:
        return original(*args, **kwargs)
    except ConnectionRefusedError:
        os.dup(args[0].fileno())
        raise


def _forgets_that_it_is_closed(original: Method, *args: Any, **kwargs: Any) -> Any:
    descriptor = original(*args, **kwargs)
    args[0]._closed = False
    return descriptor


def _takes_what_does_not_fit(original: Method, *args: Any, **kwargs: Any) -> Any:
    if len(args) == 3 and type(args[2]) is int and type(args[1]) is bytearray:
        args = *args[:2], min(args[2], len(args[1]))
    return original(*args, **kwargs)


def _accepts_blocking(result: Any) -> Any:
    result[0].setblocking(True)
    return result


def _inherits(sock: Any) -> Any:
    sock.set_inheritable(True)
    return sock


def _swapped(address: Any) -> Any:
    if type(address) is not tuple or len(address) < 2:
        return address
    host, port, *more = address
    return host, standard.htons(port), *more


def _plain_family(module: ModuleType) -> None:
    native = module.SocketType.family
    module.socket.family = property(lambda sock: native.__get__(sock))


def _plain_lookup(module: ModuleType) -> None:
    original = module.getaddrinfo
    module.getaddrinfo = lambda *args, **kwargs: [
        (int(family), *more) for family, *more in original(*args, **kwargs)
    ]


def _audits_twice(original: Method, *args: Any, **kwargs: Any) -> Any:
    sys.audit("socket.bind", *args)
    return original(*args, **kwargs)


def _warns(original: Method, *args: Any, **kwargs: Any) -> Any:
    warnings.warn("about to listen", ResourceWarning, stacklevel=2)
    return original(*args, **kwargs)


FAULTS: dict[str, Fault] = {
    "another text": otherwise("recv", ValueError, lambda error: ValueError("negative size")),
    "errno lost": otherwise(
        "connect", ConnectionRefusedError, lambda error: ConnectionRefusedError(error.args[1])
    ),
    "another class": otherwise("recv", TimeoutError, lambda error: OSError("timed out")),
    "non-blocking for timed out": otherwise(
        "recv", TimeoutError, lambda error: BlockingIOError(11, os.strerror(11))
    ),
    "a byte too many": changed("recv", lambda data: data and data + b"\0"),
    "a byte behind what came": around("recv_into", _writes_behind),
    "more bytes than fit": both(
        around("recv_into", _takes_what_does_not_fit),
        around("recvfrom_into", _takes_what_does_not_fit),
    ),
    "MSG_PEEK takes": both(around("recv", _peeks_for_good), around("recvfrom", _peeks_for_good)),
    "settimeout(0) blocks": around("settimeout", _blocks_at_zero),
    "an int for a timeout": changed("gettimeout", lambda timeout: timeout and int(timeout)),
    "an int for a family": _plain_family,
    "int families from getaddrinfo": _plain_lookup,
    "accept forgets the default timeout": changed("accept", _accepts_blocking),
    "dup is inherited": changed("dup", _inherits),
    "a descriptor lost": around("connect", _leaks_on_failure),
    "detach does not close": around("detach", _forgets_that_it_is_closed),
    "port in the wrong byte order": changed("getpeername", _swapped),
    "a bytearray of an option": changed(
        "getsockopt", lambda value: bytearray(value) if type(value) is bytes else value
    ),
    "audited twice": around("bind", _audits_twice),
    "a warning": around("listen", _warns),
}
