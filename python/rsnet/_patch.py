"""rsnet in the place of the standard `socket`, for programs that are not to be changed.

Only the names whose objects are rsnet's own are replaced: the class, the class of its files, and
getaddrinfo. The standard module's other functions (create_connection, socketpair, ...) look those
names up when they are called, and so make rsnet sockets by themselves; whoever replaces a name of
the standard module, a test with a mock, is heard as ever.
"""

from __future__ import annotations

import sys
from _thread import RLock

from rsnet import _socket, _standard

# What only type checkers need would double the time of the import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["patch", "patched", "unpatch"]

_NAMES = ("socket", "SocketIO", "getaddrinfo")
_OURS = {name: _socket.namespace[name] for name in _NAMES}
_STANDARD = {name: getattr(_standard.module, name) for name in _NAMES}

_lock = RLock()
_is_patched = False

# Modules whose copies of the names are to stay the standard ones: ssl derives its class from the
# standard class, and rsnet uses it.
_MEANT = ("ssl", "socket")


def patch() -> None:
    """Put rsnet's class and functions in the standard `socket` module, and nowhere else.

    `import socket` then means rsnet in the whole program, for modules that are imported already as
    for those to come. A module that has imported a name itself before (`from socket import socket`)
    keeps what it has: one RuntimeWarning names all that do. To patch twice is to patch once.

    Returns None.

    Source: own.

    >>> import rsnet, socket
    >>> rsnet.patch()
    >>> socket.socket is rsnet.socket
    True
    >>> rsnet.unpatch()
    """
    global _is_patched
    with _lock:
        if _is_patched:
            return
        _import_ssl()
        for name in _NAMES:
            setattr(_standard.module, name, _OURS[name])
        _is_patched = True
        kept = sorted(_modules_with_own_copies())
    if kept:
        import warnings

        warnings.warn(
            "these modules imported names from socket before rsnet.patch() and keep the standard "
            f"ones: {', '.join(kept)}; patch before they are imported",
            RuntimeWarning,
            stacklevel=2,
        )


def unpatch() -> None:
    """Take rsnet out of the standard `socket` module again.

    A name that somebody else has replaced meanwhile is left alone. Sockets that were made go on
    working. Without a patch it does nothing.

    Returns None.

    Source: own.

    >>> import rsnet, socket
    >>> rsnet.unpatch()
    >>> socket.socket is rsnet.socket
    False
    """
    global _is_patched
    with _lock:
        for name in _NAMES:
            if getattr(_standard.module, name, None) is _OURS[name]:
                setattr(_standard.module, name, _STANDARD[name])
        _is_patched = False


class patched:
    """A context in which `socket` is rsnet, for all threads; at its end all is as it was before.

    Contexts may be nested. Of those that overlap in several threads the first to patch is the one
    whose end takes rsnet out again.

    Source: own.

    >>> import rsnet, socket
    >>> with rsnet.patched(), socket.socket() as sock:
    ...     isinstance(sock, rsnet.socket)
    True
    """

    def __enter__(self) -> None:
        with _lock:
            self._patches = not _is_patched
            patch()

    def __exit__(self, *exception: object) -> None:
        if self._patches:
            unpatch()


def _import_ssl() -> None:
    """While the standard class is in place: ssl derives its own from it."""
    try:
        import ssl  # noqa: F401
    except ImportError:
        return


def _modules_with_own_copies() -> Iterator[str]:
    standard = {id(value) for value in _STANDARD.values()}
    for name, module in list(sys.modules.items()):
        if name in _MEANT or name.partition(".")[0] == "rsnet":
            continue
        try:
            values = list(vars(module).values())
        except TypeError:
            # Whatever a program has put among the modules.
            continue
        if any(id(value) in standard for value in values):
            yield name
