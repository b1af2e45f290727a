"""Signals during a call: handlers run at once, and what they raise ends it; else it goes on."""

import contextlib
import hashlib
import itertools
import os
import random
import signal
import socket as standard
import threading
import time

import pytest

import rsnet

# These tests use SIGALRM themselves.
pytestmark = pytest.mark.timeout(method="thread")

each_mode = pytest.mark.parametrize("timeout_s", [None, 30])
# A busy machine may be as late as this; early it may not be at all.
LATE_S = 5


class Raised(Exception):
    pass


def signal_oneself(number):
    return lambda: os.kill(os.getpid(), number)


@each_mode
def test_ctrl_c_ends_a_call_at_once(blocking, on_signal, when_blocked, timeout_s):
    on_signal(signal.SIGINT, signal.default_int_handler)
    _, call, _ = blocking(timeout_s)
    begin = time.monotonic()
    when_blocked(signal_oneself(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        call()
    assert time.monotonic() - begin < LATE_S


@each_mode
@pytest.mark.parametrize(
    "blocking",
    ["recv", "recv_into", "recvmsg", "recvfrom", "send", "sendmsg", "sendall", "accept"],
    indirect=True,
)
def test_what_a_handler_raises_ends_the_call_and_not_the_socket(
    blocking, on_signal, when_blocked, timeout_s
):
    def handler(*_):
        raise Raised("by the handler")

    on_signal(signal.SIGUSR1, handler)
    _, call, let_go = blocking(timeout_s)
    when_blocked(signal_oneself(signal.SIGUSR1))
    with pytest.raises(Raised, match="by the handler"):
        call()
    let_go()
    call()


@each_mode
def test_after_a_handler_the_call_goes_on(blocking, on_signal, when_blocked, timeout_s):
    countdown = iter([3, 2, 1])

    def handler(*_):
        if next(countdown) == 1:
            let_go()
        else:
            when_blocked(signal_oneself(signal.SIGUSR1))

    on_signal(signal.SIGUSR1, handler)
    _, call, let_go = blocking(timeout_s)
    when_blocked(signal_oneself(signal.SIGUSR1))
    call()
    assert next(countdown, None) is None


def test_a_handler_may_use_the_socket_it_interrupts(pair, on_signal, when_blocked):
    peer, sock = pair(rsnet)
    got = []

    def handler(*_):
        peer.send(b"onetwo")
        got.append(sock.recv(3))

    on_signal(signal.SIGUSR1, handler)
    when_blocked(signal_oneself(signal.SIGUSR1))
    assert sock.recv(3) == b"two"
    assert got == [b"one"]


@pytest.mark.parametrize(
    "blocking",
    ["recv", "recvfrom", "recvmsg_into", "send", "sendmsg", "sendall", "accept", "connect"],
    indirect=True,
)
def test_signals_do_not_move_the_deadline(blocking, storm):
    timeout_s, signals = 0.2, itertools.count()
    _, call, _ = blocking(timeout_s)
    storm(0.005, lambda *_: next(signals))
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        call()
    assert timeout_s <= time.monotonic() - begin < timeout_s + LATE_S
    assert next(signals) > 5


def test_progress_does_not_move_the_deadline(pair, storm):
    """sendall has one deadline for all that it sends."""
    timeout_s = 0.3
    sock, peer = pair(rsnet, standard.AF_UNIX)
    sock.settimeout(timeout_s)
    peer.setblocking(False)
    taken = []

    def take_some(*_):
        # Room for a few hundredths of what is to be sent.
        with contextlib.suppress(BlockingIOError):
            for _ in range(4):
                taken.append(len(peer.recv(1 << 16)))

    storm(0.01, take_some)
    begin = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        sock.sendall(bytes(1 << 26))
    assert timeout_s <= time.monotonic() - begin < timeout_s + LATE_S
    signal.setitimer(signal.ITIMER_REAL, 0)
    sock.close()
    peer.setblocking(True)
    rest = b"".join(iter(lambda: peer.recv(1 << 20), b""))
    assert len(taken) > 5
    assert sum(taken) + len(rest) == caught.value.bytes_sent


@pytest.mark.parametrize("family", [standard.AF_INET, standard.AF_UNIX])
@each_mode
def test_a_storm_loses_nothing(pair, in_thread, storm, family, timeout_s):
    near, far = pair(rsnet, family)
    near.settimeout(timeout_s)
    data = random.Random(7).randbytes(1 << 21)
    signals = []
    storm(0.0005, lambda *_: signals.append(threading.current_thread()))
    while len(signals) < 200:
        echo = in_thread(echo_after_all, far, len(data))
        near.sendall(data)
        assert digest(received(near, len(data))) == digest(data)
        echo.result()
    assert set(signals) == {threading.main_thread()}


def echo_after_all(sock, length):
    sock.sendall(received(sock, length))


def received(sock, length):
    whole, count = bytearray(length), 0
    while count < length:
        got = sock.recv_into(memoryview(whole)[count:])
        assert got > 0
        count += got
    return whole


def digest(data):
    return hashlib.sha256(data).hexdigest()


def test_a_storm_during_accepts_and_connects(listener, storm):
    server = listener(rsnet)
    signals = itertools.count()
    storm(0.0005, lambda *_: next(signals))
    while next(signals) < 100:
        with rsnet.create_connection(server.getsockname(), timeout=30) as client:
            accepted, address = server.accept()
            with accepted:
                assert address == client.getsockname()


def test_a_line_without_an_end_is_interrupted(run_python):
    # The buffered file reads on and on in C; only the reads themselves can see the signal.
    program = """
        import os, signal, threading
        import rsnet
        near, far = rsnet.socketpair()
        def flood():
            while True:
                far.sendall(bytes(1 << 14))
        def interrupt(signum, frame):
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, interrupt)
        threading.Thread(target=flood, daemon=True).start()
        file = near.makefile("rb")
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            file.readline()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        os._exit(0)
    """
    assert run_python(program) == "interrupted\n"
