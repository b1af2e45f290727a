"""Calls that block, and what can happen to a thread that is in one."""

import contextlib
import os
import signal
import socket as standard
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

import rsnet

# More than a loopback connection holds under way.
PLENTY_BYTES = 1 << 26


class Blocking(NamedTuple):
    """A call that blocks until its peer acts."""

    sock: Any
    call: Callable[[], Any]
    """What blocks."""
    let_go: Callable[[], Any]
    """The peer's act, after which the call succeeds."""


def receiving(call: Callable[[Any], Any], type: int) -> Callable[..., Blocking]:
    def make(request: pytest.FixtureRequest) -> Blocking:
        peer, sock = request.getfixturevalue("pair")(rsnet, type=type)
        return Blocking(sock, lambda: call(sock), lambda: peer.send(b"x"))

    return make


def sending(call: Callable[[Any], Any]) -> Callable[..., Blocking]:
    def make(request: pytest.FixtureRequest) -> Blocking:
        # A UNIX socket that is full stays full, to the byte, until its peer reads.
        sock, peer = request.getfixturevalue("pair")(rsnet, standard.AF_UNIX)
        fill(sock)
        return Blocking(sock, lambda: call(sock), lambda: empty(peer))

    return make


def sending_plenty(request: pytest.FixtureRequest) -> Blocking:
    sock, peer = request.getfixturevalue("pair")(rsnet)
    in_thread = request.getfixturevalue("in_thread")
    data = bytes(PLENTY_BYTES)
    return Blocking(
        sock,
        lambda: sock.sendall(data),
        lambda: in_thread(
            lambda: [peer.recv(1 << 20, standard.MSG_WAITALL) for _ in range(1 << 6)]
        ),
    )


def accepting(request: pytest.FixtureRequest) -> Blocking:
    sock = request.getfixturevalue("listener")(rsnet)
    opened = request.getfixturevalue("opened")
    return Blocking(
        sock,
        lambda: sock.accept()[0].close(),
        lambda: opened(standard.create_connection(sock.getsockname())),
    )


def connecting(request: pytest.FixtureRequest) -> Blocking:
    listener, address = full_listener(request.getfixturevalue("opened"))
    sock = request.getfixturevalue("opened")(rsnet.socket())
    return Blocking(sock, lambda: sock.connect(address), lambda: listener.accept()[0].close())


def full_listener(opened: Callable[[Any], Any]) -> tuple[Any, tuple[str, int]]:
    """One that answers no connection before it accepts the one that waits."""
    listener = opened(standard.create_server(("127.0.0.1", 0), backlog=0))
    opened(standard.create_connection(listener.getsockname()))
    return listener, listener.getsockname()


def fill(sock: Any) -> None:
    """Sends until the kernel takes no more."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(1 << 16))


def empty(sock: Any) -> None:
    """Receives until there is no more."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.recv(1 << 16)


STREAM, DATAGRAM = standard.SOCK_STREAM, standard.SOCK_DGRAM
CALLS: dict[str, Callable[[pytest.FixtureRequest], Blocking]] = {
    "recv": receiving(lambda sock: sock.recv(1), STREAM),
    "recv_into": receiving(lambda sock: sock.recv_into(bytearray(1)), STREAM),
    "recvmsg": receiving(lambda sock: sock.recvmsg(1), STREAM),
    "recvmsg_into": receiving(lambda sock: sock.recvmsg_into([bytearray(1)]), STREAM),
    "recvfrom": receiving(lambda sock: sock.recvfrom(1), DATAGRAM),
    "recvfrom_into": receiving(lambda sock: sock.recvfrom_into(bytearray(1)), DATAGRAM),
    "send": sending(lambda sock: sock.send(b"x")),
    "sendmsg": sending(lambda sock: sock.sendmsg([b"x"])),
    "sendall": sending(lambda sock: sock.sendall(b"x")),
    "sendall, plenty": sending_plenty,
    "accept": accepting,
    "connect": connecting,
}


@pytest.fixture(params=list(CALLS))
def blocking(request: pytest.FixtureRequest) -> Callable[[float | None], Blocking]:
    """`blocking(timeout_s)`: a call of every kind, one a test; a test may choose by their names."""

    def make(timeout_s: float | None) -> Blocking:
        made = CALLS[request.param](request)
        made.sock.settimeout(timeout_s)
        return made

    return make


@pytest.fixture
def on_signal() -> Iterator[Callable[[int, Callable[..., Any]], None]]:
    """`on_signal(number, handler)`, until the test is over."""
    before: dict[int, Any] = {}

    def handle(number: int, handler: Callable[..., Any]) -> None:
        before.setdefault(number, signal.getsignal(number))
        signal.signal(number, handler)

    yield handle
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def storm(on_signal: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """`storm(interval_s, handler)`: SIGALRM again and again, until the test is over."""

    def begin(interval_s: float, handler: Callable[..., Any]) -> None:
        on_signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, interval_s, interval_s)

    yield begin
    signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def in_fork() -> Callable[[Callable[[], Any]], Callable[[], None]]:
    """`in_fork(check)` runs it in a forked child; call what it gives to wait for the verdict."""

    def fork(check: Callable[[], Any]) -> Callable[[], None]:
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            # That threads run while it forks is what these tests are about.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            complaint = complaint_of(check)
            os.write(writing, complaint.encode())
            os._exit(0)
        os.close(writing)

        def verdict() -> None:
            with open(reading) as pipe:
                complaint = pipe.read()
            _, status = os.waitpid(child, 0)
            assert (complaint, status) == ("", 0)

        return verdict

    return fork


def complaint_of(check: Callable[[], Any]) -> str:
    try:
        check()
    except BaseException:
        return traceback.format_exc()
    return ""
