"""What a tool's file says: its name, what it needs, its server, its client's operations."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol, cast

Operation = Callable[[], object]

FOLDER = Path(__file__).absolute().parent.parent


@dataclass(frozen=True)
class Operations:
    """What a client can do, each without arguments, and with a result that says what came of it.

    Those of `compared` are run with both modules, and results or exceptions have to be equal; they
    are the failures. Those of `timed` have to give equal results as well.
    """

    timed: dict[str, Operation]
    compared: dict[str, Operation] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A program of a server, and the Debian package that has it."""

    name: str
    package: str


class Tool(Protocol):
    """A tool's file."""

    NAME: str
    # The setting that gives its sockets a timeout; empty when there is none.
    TIMEOUT: str
    PROGRAMS: tuple[Program, ...]

    def server(self, place: Path) -> AbstractContextManager[dict[str, Any]]:
        """Run the server in the folder `place`; what the client has to know of it."""

    def client(
        self, at: SimpleNamespace, timeout_s: float | None
    ) -> AbstractContextManager[Operations]:
        """The client's operations on the server `at`."""


def files() -> dict[str, Path]:
    """The tools' files by the tools' names. The name stands in the file: it is not imported."""
    found = {}
    for path in sorted(FOLDER.glob("[!_]*.py")):
        line = next(line for line in path.read_text().splitlines() if line.startswith("NAME = "))
        found[line.partition(" = ")[2].strip('"')] = path
    return found


def load(path: Path) -> Tool:
    """The tool's file as a module; ModuleNotFoundError when its library is not installed."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return cast(Tool, module)
