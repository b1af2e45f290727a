"""A world runs programs with one `socket` module and tells what could be seen after each line.

Two worlds are compared, so the kernel has to be in the same state in both and nothing in here may
depend on time: after each line a world waits until what the line set off on the loopback interface
has arrived, and lines that would wait for longer than a blink are left out.
"""

import contextlib
import gc
import io
import os
import re
import resource
import select
import signal
import socket as standard
import struct
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from . import vocabulary
from .outcome import Reader

Program = tuple[str, ...]

SOCKETS = ("a", "b", "c", "d")
_VARIABLES = (*SOCKETS, "s", "f", "file", "address")

# A timeout above this is as good as none: lines that would wait as long are left out.
_LONG_S = 1.0
# How long a line may sleep that was thought not to wait; then it is interrupted.
_PATIENCE_S = 0.1
# How long a line may compute; a call that tries again and again without a pause is interrupted too.
_BUSY_S = 1.0

_RECEIVING = r"recv\w*|accept|_accept"
_WAITING = re.compile(
    rf"\b(?P<socket>[abcd])\.(?:(?P<receives>{_RECEIVING})|send\w*)\("
    rf"|\.(?:(?P<receives_of>{_RECEIVING})|send\w*)\((?P<argument>[abcd])\b"
)
_DATA = b"some data in a file\n" * 50


class Blocked(BaseException):
    """The line would have waited for ever."""


@dataclass
class Seen:
    """What could be seen after one line."""

    result: Any
    variables: dict[str, Any]
    buffers: list[bytes]
    events: list[Any]
    warnings: list[Any]
    # The lowest number that is free: another one when one descriptor too many is open, or closed.
    free_descriptor: int


class Surroundings:
    """What all programs of a run share: peers, and a process in which nothing comes by chance."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Surroundings":
        enter = self._stack.enter_context
        # Refused, whatever other processes do: the port is taken and nobody listens.
        holder = enter(standard.socket())
        holder.bind(("127.0.0.1", 0))
        self.refused = holder.getsockname()
        # Neither accepted nor refused: the queue is full.
        deaf = enter(standard.create_server(("127.0.0.1", 0), backlog=0))
        enter(standard.create_connection(deaf.getsockname()))
        self.silent = deaf.getsockname()
        # To be passed on.
        self.spare = enter(standard.socket(standard.AF_INET, standard.SOCK_DGRAM)).fileno()
        self._echo = enter(standard.socket(standard.AF_INET, standard.SOCK_DGRAM))
        self._echo.bind(("127.0.0.1", 0))
        self._echo.connect(self._echo.getsockname())
        # Names of UNIX sockets are relative to here, so that they are the same in both worlds.
        enter(contextlib.chdir(self._folder))
        Path("data").write_bytes(_DATA)
        enter(_one_processor())
        enter(_alarm())
        enter(_audience())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def settle(self) -> None:
        """Returns when everything sent over the loopback interface so far has arrived.

        The kernel works packets off in order, one queue for each processor, and this process
        keeps to one. Thrice, for an answer can set off an answer (a handshake).
        """
        for _ in range(3):
            self._echo.send(b"")
            self._echo.recv(1)


@contextlib.contextmanager
def _one_processor() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[os.getpid() % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


# Lines that wait although they were thought not to are interrupted.

_at_start: tuple[int, float] | None = None


def _sleeps_and_work_s() -> tuple[int, float]:
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_nvcsw, usage.ru_utime + usage.ru_stime


def _interrupt(signum: int, frame: FrameType | None) -> None:
    if _at_start is None:
        return
    (sleeps_before, work_before_s), (sleeps, work_s) = _at_start, _sleeps_and_work_s()
    if sleeps == sleeps_before and work_s < work_before_s + _BUSY_S:
        # It did not wait at all: the machine gave the time to others.
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
        return
    raise Blocked


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _with_patience() -> Iterator[None]:
    global _at_start
    _at_start = _sleeps_and_work_s()
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
    try:
        yield
    finally:
        _at_start = None
        signal.setitimer(signal.ITIMER_REAL, 0)


# Audit events, and exceptions that nobody could catch. An audit hook cannot be taken out again:
# there is one, and it has an ear while lines run.

_reader: Reader | None = None
_events: list[Any] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _reader is not None and event.startswith("socket."):
        _events.append(_reader.event(event, arguments))


@lru_cache(maxsize=1)
def _install_hook() -> None:
    sys.addaudithook(_hear)


def _hear_unraisable(unraisable: Any) -> None:
    _events.append(("unraisable", type(unraisable.exc_value), str(unraisable.exc_value)))


@contextlib.contextmanager
def _audience() -> Iterator[None]:
    _install_hook()
    before, sys.unraisablehook = sys.unraisablehook, _hear_unraisable
    try:
        yield
    finally:
        sys.unraisablehook = before


class World:
    """One `socket` module, and what programs find around it."""

    def __init__(self, module: ModuleType, surroundings: Surroundings) -> None:
        self._module = module
        self._surroundings = surroundings
        words = {name: getattr(vocabulary, name) for name in vocabulary.__all__}
        self._words = words | {
            "socket": module,
            "Derived": type("Derived", (module.socket,), {}),
            "refused": surroundings.refused,
            "silent": surroundings.silent,
            "spare": surroundings.spare,
        }
        self._wait_once()

    def _wait_once(self) -> None:
        """A module may open a descriptor the first time that it waits, to keep."""
        one, other = self._module.socketpair()
        with one, other, contextlib.suppress(OSError):
            one.settimeout(0.001)
            one.recv(1)

    def run(self, program: Program, hasty: int | None = None) -> Iterator[Seen]:
        """What is seen after each line, then of all variables, then of what is left of it all.

        Before the line with the number `hasty` all sockets are made non-blocking.
        """
        global _reader
        self._before = _descriptors()
        self._read = _reader = Reader(self._module)
        self._buffers: list[Any] = []
        self._names = dict(self._words, seen=self._remember)
        with _no_collection(), warnings.catch_warnings(record=True) as self._warnings:
            warnings.simplefilter("always")
            try:
                for number, line in enumerate(program):
                    if number == hasty:
                        self._make_nonblocking()
                    yield self._step(line)
                yield self._seen("at the end", _VARIABLES)
            finally:
                self._close_all()
                left = self._left()
                _reader = None
            yield left

    def _remember(self, buffer: Any) -> Any:
        self._buffers.append(buffer)
        return buffer

    def _step(self, line: str) -> Seen:
        code = _compiled(line)
        self._keep_flags()
        if self._would_wait(line):
            return self._seen("left out: it would wait", ())
        result = self._result(code)
        self._surroundings.settle()
        return self._seen(result, [name for name in _VARIABLES if name in code.co_names])

    def _result(self, code: CodeType) -> Any:
        try:
            with _with_patience():
                value = eval(code, self._names)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            return self._read.raised(error)
        return self._read.plain(value)

    def _seen(self, result: Any, variables: Iterable[str]) -> Seen:
        names = self._names
        events, warned = _events[:], [self._warning(warning) for warning in self._warnings]
        buffers = [_content(buffer) for buffer in self._buffers]
        _events.clear()
        self._warnings.clear()
        self._buffers.clear()
        return Seen(
            result,
            {name: self._read.plain(names[name]) for name in variables if name in names},
            buffers,
            events,
            warned,
            _free_descriptor(),
        )

    def _warning(self, warning: warnings.WarningMessage) -> Any:
        # Not where it points to: a native function has no lines of its own.
        return warning.category, self._read.text(str(warning.message)), warning.filename

    def _sockets(self) -> Iterator[tuple[str, Any]]:
        for name in SOCKETS:
            sock = self._names.get(name)
            if hasattr(sock, "gettimeout") and sock.fileno() >= 0:
                yield name, sock

    def _keep_flags(self) -> None:
        """Sets O_NONBLOCK where a timeout asks for it.

        A duplicate shares the flag, and a program can take it away. CPython would then block in
        the kernel for as long as it pleases; rsnet would not.
        """
        for _, sock in self._sockets():
            if sock.gettimeout() is not None:
                with contextlib.suppress(OSError):
                    os.set_blocking(sock.fileno(), False)

    def _make_nonblocking(self) -> None:
        for _, sock in self._sockets():
            sock.setblocking(False)

    def _would_wait(self, line: str) -> bool:
        found = _WAITING.search(line)
        sock = found and dict(self._sockets()).get(found["socket"] or found["argument"])
        if not sock or not _may_wait_long(sock):
            return False
        poll = select.poll()
        receives = found["receives"] or found["receives_of"]
        poll.register(sock.fileno(), select.POLLIN if receives else select.POLLOUT)
        return not poll.poll(0)

    def _close_all(self) -> None:
        own = [value for name, value in self._names.items() if name not in self._words]
        with contextlib.suppress(Blocked), _with_patience():
            for value in [*own, *(item for items in own if type(items) is tuple for item in items)]:
                _close(value)
        del own, value
        self._names.clear()
        self._module.setdefaulttimeout(None)
        standard.setdefaulttimeout(None)
        for entry in os.listdir():
            if entry != "data":
                os.unlink(entry)

    def _left(self) -> Seen:
        """Descriptors that are still open: what a program detached, or else a leak."""
        if _descriptors() - self._before:
            # The youngest are enough: nothing was collected while the program ran.
            gc.collect(0)
        left = sorted(_descriptors() - self._before)
        seen = self._seen(("left open", *left), ())
        for descriptor in left:
            os.close(descriptor)
        return seen


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Objects go with the last reference to them, not when the collector happens to come by."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@lru_cache(maxsize=20_000)
def _compiled(line: str) -> CodeType:
    # The line is its own file name: what faulthandler says of a crash then shows it.
    try:
        return compile(line, line, "eval")
    except SyntaxError:
        return compile(line, line, "exec")


def _content(buffer: Any) -> bytes:
    try:
        return memoryview(buffer).tobytes()
    except (TypeError, ValueError) as error:
        return str(error).encode()


def _descriptors() -> set[int]:
    listed = {int(name) for name in os.listdir("/proc/self/fd")}
    # listdir has one open while it looks: the lowest free number, which is free again now.
    return listed - {_free_descriptor()}


def _free_descriptor() -> int:
    lowest_free = os.dup(0)
    os.close(lowest_free)
    return lowest_free


def _may_wait_long(sock: Any) -> bool:
    timeout = sock.gettimeout()
    return timeout is None or timeout > _LONG_S


def _close(value: Any) -> None:
    if isinstance(value, io.IOBase):
        with contextlib.suppress(Exception):
            value.close()
    elif hasattr(value, "detach") and hasattr(value, "setsockopt"):
        with contextlib.suppress(Exception):
            # By reset, for thousands of connections would stay in TIME_WAIT.
            value.setsockopt(standard.SOL_SOCKET, standard.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(Exception):
            value.close()
