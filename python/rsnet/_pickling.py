"""Sockets sent to other processes by multiprocessing.

ForkingPickler goes by exact type, so the class is registered with it: now if it is loaded, else
when it gets loaded. Importing it for the purpose would double the time of `import rsnet`.
"""

from __future__ import annotations

import sys

from rsnet import _standard
from rsnet._socket import socket

# What only type checkers need would double the time of the import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = ["register"]

_standard_class = _standard.module.socket
_REDUCTION = "multiprocessing.reduction"


def register() -> None:
    """Makes multiprocessing know the class, once and for all."""
    if _REDUCTION in sys.modules:
        _register_with(sys.modules[_REDUCTION])
    else:
        sys.meta_path.insert(0, _Watch())


def _register_with(reduction: ModuleType) -> None:
    # Loaded while rsnet is in the place of the standard class, it knows only one of the two.
    reduction.ForkingPickler.register(_standard_class, reduction._reduce_socket)
    reduction.ForkingPickler.register(socket, _reduce)


def _reduce(sock: Any) -> Any:
    from multiprocessing.reduction import DupFd

    return _rebuild, (DupFd(sock.fileno()), sock.family, sock.type, sock.proto)


def _rebuild(descriptor: Any, family: int, type: int, proto: int) -> Any:
    return socket(family, type, proto, fileno=descriptor.detach())


class _Watch:
    """Steps aside as soon as it has seen the one import that it waits for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _REDUCTION:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    """Loads by the real loader, then registers."""

    def __init__(self, real: Loader) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._real
        self._real.exec_module(module)
        _register_with(module)
