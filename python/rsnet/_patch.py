"""rsnet in the place of the standard `socket`, for programs that are not to be changed.

Only the names whose objects are rsnet's own are replaced: the class, the class of its files, and
getaddrinfo. The standard module's other functions (create_connection, socketpair, ...) look those
names up when they are called, and so make rsnet sockets by themselves; whoever replaces a name of
the standard module, a test with a mock, is heard as ever.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock
from types import FunctionType

from rsnet import _socket, _standard

# What only type checkers need would double the time of the import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

__all__ = ["patch", "patched", "unpatch"]

# Not SocketIO: the files of our sockets are of our class wherever they are made, and those of other
# sockets, TLS ones above all, are read faster through the standard class than past ours.
_NAMES = ("socket", "getaddrinfo")
_OURS = {name: _socket.namespace[name] for name in _NAMES}
_STANDARD = {name: getattr(_standard.module, name) for name in _NAMES}

_lock = RLock()
# A fork between two of the names would leave the child with half a patch and a lock nobody opens.
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)

# What stood where ours are put. Not always what stood there at the import: the module may have been
# reloaded since.
_displaced = dict(_STANDARD)
_is_asked_for = False
_open_contexts = 0

# Modules whose copies of the names are to stay the standard ones: ssl derives its class from the
# standard class, and rsnet uses it.
_MEANT = ("ssl", "socket")


def patch() -> None:
    """Put rsnet's class and functions in the standard `socket` module, and nowhere else.

    `import socket` then means rsnet in the whole program, for modules that are imported already as
    for those to come. A module that has imported a name itself before (`from socket import socket`)
    or derived a class keeps what it has: one RuntimeWarning names all that do. What somebody else
    has put in the module (a proxy's class, a test's mock) is left there, and named as well. To
    patch twice is to patch once; where the warning is an error, nothing is patched.

    Returns None.

    Raises RuntimeWarning if warnings are errors and there is something to warn of.

    Source: own.

    >>> import rsnet, socket
    >>> rsnet.patch()
    >>> socket.socket is rsnet.socket
    True
    >>> rsnet.unpatch()
    """
    global _is_asked_for
    _import_ssl()
    with _lock:
        _put_in()
        _is_asked_for = True


def unpatch() -> None:
    """Take rsnet out of the standard `socket` module again, at once, even within `patched()`.

    A name that somebody else has replaced meanwhile is left alone. Sockets that were made go on
    working. Without a patch it does nothing.

    Returns None.

    Source: own.

    >>> import rsnet, socket
    >>> rsnet.unpatch()
    >>> socket.socket is rsnet.socket
    False
    """
    global _is_asked_for
    with _lock:
        _is_asked_for = False
        _take_out()


class patched:
    """A context in which `socket` is rsnet, for all threads.

    Contexts may be nested, and overlap in several threads: rsnet is taken out at the end of the
    last of them, unless `patch()` was called before or meanwhile.

    Raises RuntimeWarning as `patch()` does.

    Source: own.

    >>> import rsnet, socket
    >>> with rsnet.patched(), socket.socket() as sock:
    ...     isinstance(sock, rsnet.socket)
    True
    """

    def __enter__(self) -> None:
        global _open_contexts
        _import_ssl()
        with _lock:
            _put_in()
            _open_contexts += 1

    def __exit__(self, *exception: object) -> None:
        global _open_contexts
        with _lock:
            _open_contexts -= 1
            if not _open_contexts and not _is_asked_for:
                _take_out()


def _import_ssl() -> None:
    """While the standard class is in place: ssl derives its own from it.

    Before the lock is taken, which nobody should hold while modules are imported. Whoever else
    patches meanwhile has imported it first.
    """
    try:
        import ssl  # noqa: F401
    except ImportError:
        return


def _put_in() -> None:
    """Our names instead of the standard ones. All, with the warning given, or none."""
    wanted = [name for name in _NAMES if vars(_standard.module).get(name) is not _OURS[name]]
    ours = [name for name in wanted if _is_standard(vars(_standard.module).get(name))]
    if not ours and len(wanted) < len(_NAMES):
        # In place, but for what was replaced since.
        return
    for name in ours:
        _displaced[name] = vars(_standard.module)[name]
        setattr(_standard.module, name, _OURS[name])
    try:
        _tell([name for name in wanted if name not in ours])
    except BaseException:
        _take_out(ours)
        raise


def _take_out(names: Iterable[str] = _NAMES) -> None:
    for name in names:
        if vars(_standard.module).get(name) is _OURS[name]:
            setattr(_standard.module, name, _displaced[name])


def _is_standard(value: Any) -> bool:
    """The standard module's own, also of a reload; not a mock, a proxy's class, another library's.

    By the exact type: a mock says that it is whatever it stands for.
    """
    if type(value) is FunctionType:
        return value.__globals__ is vars(_standard.module)
    return issubclass(type(value), type) and value.__module__ == _standard.module.__name__


def _tell(left_alone: list[str]) -> None:
    kept = sorted(_holders())
    told = []
    if kept:
        told.append(
            "these modules imported names from socket, or derived classes, before rsnet.patch() "
            f"and keep the standard ones: {', '.join(kept)}; patch before they are imported"
        )
    if left_alone:
        names = ", ".join(f"socket.{name}" for name in left_alone)
        told.append(f"somebody else has replaced {names} before rsnet.patch(), which leaves that")
    if told:
        import warnings

        # The caller of patch(), or of the context.
        warnings.warn("; ".join(told), RuntimeWarning, stacklevel=4)


def _holders() -> Iterator[str]:
    """The modules that keep something standard."""
    standard = {id(value) for value in (*_STANDARD.values(), *_displaced.values())}
    standard.update(_heirs(_STANDARD["socket"]), _heirs(_displaced["socket"]))
    for key, module in list(sys.modules.items()):
        name = str(key)
        if name in _MEANT or name.partition(".")[0] == "rsnet":
            continue
        try:
            # No look at the attributes: it would load the modules that load themselves when used.
            values = list(vars(module).values())
        except Exception:
            # Whatever a program has put among the modules.
            continue
        if any(id(value) in standard for value in values):
            yield name


def _heirs(cls: Any) -> Iterator[int]:
    """The identities of the classes that derive from it, but for those of ssl, which have to."""
    for heir in type.__subclasses__(cls):
        if heir.__module__ != "ssl" and not heir.__module__.startswith("rsnet."):
            yield id(heir)
            yield from _heirs(heir)
