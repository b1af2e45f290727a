"""What an rsnet socket answers when asked for its `__class__`.

`isinstance(x, C)` looks at the type of x first and then at `x.__class__`. The class that is
answered derives from the standard class, which settles the second look; in everything else it
stands for the real class: calling it makes real instances, its attributes are the real ones, and
it equals the real class.
"""

from __future__ import annotations

import copyreg
from socket import socket as _standard_class

# What only type checkers need would double the time of the import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["face_of"]


class _Face(type):
    """The class of faces. The real class is kept under `_real`."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _real(cls)(*args, **kwargs)

    def __getattribute__(cls, name: str) -> Any:
        # The interpreter looks at the real inheritance of a face by other ways; Python code that
        # asks gets the answer of the class that the face stands for.
        return getattr(_real(cls), name)

    def __setattr__(cls, name: str, value: Any) -> None:
        setattr(_real(cls), name, value)

    def __delattr__(cls, name: str) -> None:
        delattr(_real(cls), name)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _real(cls))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _real(cls))

    def __eq__(cls, other: object) -> bool:
        return other is _real(cls) or other is cls

    # The caches of abstract base classes must not take one for the other: only the real class is a
    # subclass of what it derives from.
    __hash__ = type.__hash__

    def __repr__(cls) -> str:
        return repr(_real(cls))


def _real(face: Any) -> Any:
    return type.__getattribute__(face, "_real")


def _unchanged(value: Any) -> Any:
    return value


# Pickle knows classes by their name, under which it finds the real one.
copyreg.pickle(_Face, lambda face: (_unchanged, (_real(face),)))


def face_of(real: type) -> type:
    """The face of a class, made when it is first asked for and kept by the class itself."""
    face: type | None = vars(real).get("_face")
    if face is None:
        face = _Face(real.__name__, (_standard_class,), {"__slots__": (), "_real": real})
        type.__setattr__(real, "_face", face)
    return face
