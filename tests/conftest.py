"""What the tests of all folders share: sockets to talk over, threads and processes to watch."""

import contextlib
import gc
import os
import platform
import shutil
import signal
import socket as standard
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

# No test needs as long; what takes longer hangs.
LIMIT_S = 20

# What net.core.rmem_max allows where nobody has changed it.
USUAL_RCVBUF_BYTES = 212_992

LOOPBACK = {standard.AF_INET: "127.0.0.1", standard.AF_INET6: "::1"}

# Where a thread that waits for the interpreter (or for a lock) sleeps.
FUTEX = {"x86_64": "202"}.get(platform.machine(), "98")


def pytest_configure() -> None:
    # A shell ignores some in what it runs in the background, nohup another, and programs that the
    # tests start and interrupt would inherit that.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)


def pytest_sessionstart() -> None:
    # A skipped test is a green one to whoever does not read the list.
    lacks = list(machine_lacks())
    if lacks:
        pytest.exit(f"this machine cannot run the tests: {'; '.join(lacks)}", returncode=1)


def machine_lacks() -> Iterator[str]:
    try:
        standard.create_server(("::1", 0), family=standard.AF_INET6).close()
    except OSError as error:
        yield f"no IPv6 on the loopback interface ({error})"
    try:
        state_of(threading.get_native_id())
    except OSError as error:
        yield f"/proc does not tell which system call a thread is in ({error})"
    if shutil.which("cc") is None:
        yield "no C compiler (`cc`), with which the tests count lookups"
    if shutil.which("nft", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is None:
        yield "no `nft` (Debian's package nftables), with which the tests drop packets"
    if not can_make_networks():
        yield "no network namespaces for users (`unshare --user --net`)"


def can_make_networks() -> bool:
    command = ["unshare", "--user", "--map-root-user", "--net", "true"]
    return shutil.which("unshare") is not None and subprocess.run(command).returncode == 0


# Sockets.


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Any]]:
    """`opened(x)` gives x back and closes it when the test is over."""
    with contextlib.ExitStack() as stack:
        yield lambda thing: stack.enter_context(contextlib.closing(thing))


@pytest.fixture
def pair(opened: Callable[[Any], Any]) -> Callable[..., tuple[Any, Any]]:
    """`pair(module, family, type)`: two connected sockets of the module, the client first."""

    def make(
        module: ModuleType, family: int = standard.AF_INET, type: int = standard.SOCK_STREAM
    ) -> tuple[Any, Any]:
        if family == standard.AF_UNIX:
            client, server = module.socketpair(family, type)
        elif type == standard.SOCK_STREAM:
            client, server = stream_pair(module, family)
        else:
            client, server = datagram_pair(module, family)
        return opened(client), opened(server)

    return make


def stream_pair(module: ModuleType, family: int) -> tuple[Any, Any]:
    with module.create_server((LOOPBACK[family], 0), family=family) as listener:
        client = module.socket(family)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    return client, server


def datagram_pair(module: ModuleType, family: int) -> tuple[Any, Any]:
    ends = [module.socket(family, standard.SOCK_DGRAM) for _ in range(2)]
    for end in ends:
        end.bind((LOOPBACK[family], 0))
    for end, other in zip(ends, reversed(ends), strict=True):
        end.connect(other.getsockname())
    return ends[0], ends[1]


@pytest.fixture
def endpoint(opened: Callable[[Any], Any]) -> Callable[..., Any]:
    """`endpoint(module, family)`: a UDP socket of the module on loopback."""

    def make(module: ModuleType, family: int = standard.AF_INET) -> Any:
        sock = opened(module.socket(family, standard.SOCK_DGRAM))
        sock.bind((LOOPBACK[family], 0))
        sock.setsockopt(standard.SOL_SOCKET, standard.SO_RCVBUF, USUAL_RCVBUF_BYTES)
        sock.settimeout(5)
        return sock

    return make


@pytest.fixture
def received() -> Callable[..., list[tuple[bytes, Any]]]:
    """`received(sock, count)`: so many datagrams and their senders; there must be no more."""

    def receive(sock: Any, count: int) -> list[tuple[bytes, Any]]:
        datagrams = [sock.recvfrom(1 << 16) for _ in range(count)]
        timeout_s = sock.gettimeout()
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recvfrom(1)
        sock.settimeout(timeout_s)
        return datagrams

    return receive


@pytest.fixture
def listener(opened: Callable[[Any], Any]) -> Callable[..., Any]:
    """`listener(module, family)`: a TCP server on loopback, on a free port."""
    return lambda module, family=standard.AF_INET: opened(
        module.create_server((LOOPBACK[family], 0), family=family)
    )


@pytest.fixture
def refused_port() -> Iterator[int]:
    """A TCP port on 127.0.0.1 that nobody listens on, nor can begin to meanwhile."""
    with standard.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def unanswered(opened: Callable[[Any], Any]) -> tuple[str, int]:
    """An address that takes no connection and refuses none: its listener's queue is full."""
    listener = opened(standard.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    opened(standard.create_connection(listener.getsockname()))
    return listener.getsockname()


@pytest.fixture(autouse=True)
def no_socket_left_open() -> Iterator[None]:
    """No test leaves a socket open, whoever opened it."""
    before = open_sockets()
    yield
    if open_sockets() - before:
        # A caught exception can hold its frames, and they a file over a socket, in a cycle.
        gc.collect()
    left = open_sockets() - before
    assert not left, f"left open: {list(left)}"


def open_sockets() -> Counter[str]:
    """The sockets among this process's descriptors, each by the kernel's name for it."""
    found = Counter[str]()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[os.readlink(f"/proc/self/fd/{descriptor}")] += 1
    return Counter({name: count for name, count in found.items() if name.startswith("socket:")})


# Threads.


class Background:
    """A call in a thread of its own; a daemon, so that a hang fails one test and no more."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._call = call
        self._arguments = arguments
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call(*self._arguments)
        except BaseException as error:
            self._error = error

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def wait(self, within_s: float = LIMIT_S) -> None:
        self._thread.join(within_s)
        assert not self.is_running, f"{self._call} still blocks after {within_s} s"

    def result(self, within_s: float = LIMIT_S) -> Any:
        """What the call returned, or raises what it raised."""
        self.wait(within_s)
        if self._error is not None:
            raise self._error
        return self._value

    def until_blocked(self) -> None:
        """Returns once the call waits in the kernel."""
        assert self._thread.native_id is not None
        until_blocked(self._thread.native_id, lambda: not self.is_running)


@pytest.fixture
def in_thread() -> Iterator[Callable[..., Background]]:
    """`in_thread(call, *arguments)` starts a call; it has to have ended when the test has."""
    started: list[Background] = []

    def start(call: Callable[..., Any], *arguments: Any) -> Background:
        started.append(Background(call, *arguments))
        return started[-1]

    yield start
    for call in started:
        call.wait()


@pytest.fixture
def when_blocked(in_thread: Callable[..., Background]) -> Callable[..., Background]:
    """`when_blocked(act)` calls act, in a thread, once this thread waits in the kernel."""
    caller = threading.get_native_id()

    def start(act: Callable[[], Any]) -> Background:
        def wait_and_act() -> Any:
            until_blocked(caller)
            return act()

        return in_thread(wait_and_act)

    return start


def until_blocked(thread_id: int, is_over: Callable[[], bool] = lambda: False) -> None:
    """Returns once a thread sleeps in a system call other than for a lock of the interpreter's."""
    end = time.monotonic() + LIMIT_S
    while (state := state_of(thread_id)) in ("running", "-1", FUTEX):
        assert not is_over(), "the call returned instead of blocking"
        assert time.monotonic() < end, f"the thread never blocked (state {state})"
        os.sched_yield()


def state_of(thread_id: int) -> str:
    """The number of the system call that a thread sleeps in, "running", or "-1" for neither."""
    try:
        return Path(f"/proc/self/task/{thread_id}/syscall").read_text().split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return "-1"


# Processes.


@pytest.fixture
def run_python() -> Callable[..., str]:
    """`run_python(source, *arguments, env=..., status=0)`: what such a program prints.

    It has to end with that status and, if that is 0, must not have written to stderr.
    """

    def run(
        source: str, *arguments: object, env: dict[str, str] | None = None, status: int = 0
    ) -> str:
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-W", "error", "-c", dedent(source)]
            + [str(argument) for argument in arguments],
            env=os.environ | (env or {}),
            capture_output=True,
            text=True,
            timeout=LIMIT_S * 2,
        )
        assert done.returncode == status, f"exit status {done.returncode}:\n{done.stderr}"
        assert status or not done.stderr, done.stderr
        return done.stdout

    return run
