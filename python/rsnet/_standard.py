"""The running interpreter's own `socket` module, for rsnet's use.

Constants, enums, exceptions, sentinels and helpers are taken from it as they are. Its Python
functions look names up in the module they were written for; a copy of one that is bound to rsnet's
namespace does the same with rsnet's names, and follows what a program (or a test) puts there.
"""

from __future__ import annotations

import socket as module
from types import FunctionType

# What only type checkers need would double the time of the import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["functions", "module", "names", "rebound"]


def rebound(function: FunctionType, namespace: dict[str, Any]) -> FunctionType:
    """A copy of `function` that looks its globals up in `namespace`."""
    copy = FunctionType(
        function.__code__,
        namespace,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    copy.__annotations__ = function.__annotations__
    copy.__doc__ = function.__doc__
    copy.__module__ = namespace["__name__"]
    return copy


def functions(owner: object) -> Iterator[tuple[str, FunctionType]]:
    """The Python functions that `owner`, the module or a class of it, defines."""
    for name, value in vars(owner).items():
        if isinstance(value, FunctionType) and value.__globals__ is vars(module):
            yield name, value


def names() -> dict[str, Any]:
    """Everything in the module but what makes it that module."""
    own = {name for name in vars(module) if name.startswith("__") and name != "__all__"}
    return {name: value for name, value in vars(module).items() if name not in own}
