"""Signals: how soon they reach a call, that none is lost, and that storms of them lose nothing."""

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from socket import AF_INET, AF_UNIX

import pytest

import rsnet

# The runner's own limit must not use SIGALRM where the tests do.
pytestmark = pytest.mark.timeout(method="thread")
LATE_S = 5
each_timeout = pytest.mark.parametrize("timeout_s", [None, 60])


class Raised(Exception):
    """What the handlers of these tests raise."""


def fail(*_):
    raise Raised


@each_timeout
def test_ctrl_c_ends_a_receive_of_everything(pair, when_blocked, timeout_s):
    sock, _ = pair(rsnet)
    sock.settimeout(timeout_s)
    sending = when_blocked(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        sock.recv(9, rsnet.MSG_WAITALL)
    sending.result()


@each_timeout
def test_how_soon(pair, when_blocked, timeout_s):
    # The best of several: one that is noticed by looking now and then is late every time.
    sock, _ = pair(rsnet)
    sock.settimeout(timeout_s)
    delays = []
    for _ in range(10):
        sent = []

        def interrupt(sent=sent):
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        sending = when_blocked(interrupt)
        with pytest.raises(KeyboardInterrupt):
            sock.recv(1)
        delays.append(time.monotonic() - sent[0])
        sending.result()
    assert min(delays) < 0.02


def test_signals_leave_the_calls_of_other_threads_alone(pair, in_thread, on_signal):
    runs = []
    on_signal(signal.SIGUSR1, lambda *_: runs.append(threading.current_thread()))
    sock, peer = pair(rsnet)
    receiving = in_thread(sock.recv, 9)
    receiving.until_blocked()
    # Delivered to the very thread that blocks; handled, as always, by the main one.
    signal.pthread_kill(receiving._thread.ident, signal.SIGUSR1)
    while not runs:
        os.sched_yield()
    receiving.until_blocked()
    peer.send(b"data")
    assert receiving.result() == b"data"
    assert runs == [threading.main_thread()]


def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


@each_timeout
@pytest.mark.parametrize("family", [AF_INET, AF_UNIX])
@pytest.mark.parametrize("method", ["sendall", "send", "sendmsg"])
def test_a_storm_while_sending(pair, in_thread, storm, family, method, timeout_s):
    runs = []
    sock, peer = pair(rsnet, family)
    sock.settimeout(timeout_s)
    data = random.Random(3).randbytes(4_000_000)

    def receive():
        received = bytearray()
        while piece := peer.recv(10_000):
            received += piece
        return received

    receiving = in_thread(receive)
    storm(0.0005, lambda *_: runs.append(1))
    view = memoryview(data)
    while view:
        if method == "sendmsg":
            view = view[sock.sendmsg([view[:1000], view[1000:]]) :]
        else:
            view = view[getattr(sock, method)(view) or len(view) :]
    sock.shutdown(rsnet.SHUT_WR)
    assert digest(receiving.result()) == digest(data)
    assert runs


@each_timeout
@pytest.mark.parametrize("family", [AF_INET, AF_UNIX])
def test_a_storm_while_receiving(pair, in_thread, storm, family, timeout_s):
    runs = []
    sock, peer = pair(rsnet, family)
    sock.settimeout(timeout_s)
    data = random.Random(4).randbytes(4_000_000)
    sending = in_thread(peer.sendall, data)
    storm(0.0005, lambda *_: runs.append(1))
    received = bytearray()
    buffer = bytearray(5_000)
    while len(received) < len(data):
        received += sock.recv(5_000)
        received += sock.recvmsg(5_000)[0] if len(received) < len(data) else b""
        if len(received) < len(data):
            received += buffer[: sock.recv_into(buffer)]
    sending.result()
    assert digest(received) == digest(data)
    assert runs


def test_no_signal_is_lost_before_the_wait(pair, on_signal):
    # Signals that land in every microsecond between the entry of the call and its sleep. Without a
    # timeout the kernel's own recv sleeps, as in CPython, and only the look at the pending signals
    # just before it guards against that.
    on_signal(signal.SIGALRM, fail)
    sock, _ = pair(rsnet)
    sock.settimeout(LATE_S)
    for delay_us in list(range(1, 60)) * 5:
        began = time.monotonic()
        with pytest.raises(Raised):
            signal.setitimer(signal.ITIMER_REAL, delay_us * 1e-6)
            sock.recv(1)
        assert time.monotonic() - began < LATE_S


def test_a_pending_signal_is_handled_before_data_is_waited_for(pair, on_signal):
    on_signal(signal.SIGUSR1, fail)
    sock, _ = pair(rsnet)
    with contextlib.suppress(Raised):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Raised):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
            sock.recv(1)


def test_a_wakeup_descriptor_that_is_an_rsnet_socket(pair, on_signal):
    on_signal(signal.SIGUSR1, lambda *_: None)
    left, right = pair(rsnet, AF_UNIX)
    left.setblocking(False)
    before = signal.set_wakeup_fd(left.fileno())
    try:
        signal.raise_signal(signal.SIGUSR1)
        assert right.recv(9) == bytes([signal.SIGUSR1])
    finally:
        signal.set_wakeup_fd(before)
