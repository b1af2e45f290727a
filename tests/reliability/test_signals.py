"""Signals reach blocked calls at once, lose nothing, and do not end what they need not end."""

import contextlib
import errno
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

CALLS = {
    "recv": lambda sock: sock.recv(9),
    "recv_into": lambda sock: sock.recv_into(bytearray(9)),
    "recvfrom": lambda sock: sock.recvfrom(9),
    "recvmsg": lambda sock: sock.recvmsg(9),
    "recv, all": lambda sock: sock.recv(9, rsnet.MSG_WAITALL),
    "sendall": lambda sock: sock.sendall(bytes(50_000_000)),
    "send": lambda sock: sock.send(bytes(50_000_000)),
}
each_call = pytest.mark.parametrize("call", CALLS)
each_timeout = pytest.mark.parametrize("timeout_s", [None, 60])


class Raised(Exception):
    """What the handlers of these tests raise."""


@pytest.fixture
def handling():
    """`handling(signal, handler)` until the test is over."""
    before = {}

    def install(number, handler):
        before[number] = signal.signal(number, handler)

    yield install
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def fail(*_):
    raise Raised


def send_to_main(number):
    signal.pthread_kill(threading.main_thread().ident, number)


@each_timeout
@each_call
def test_ctrl_c(pair, when_blocked, call, timeout_s):
    sock, _ = pair(rsnet)
    sock.settimeout(timeout_s)
    sending = when_blocked(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        CALLS[call](sock)
    sending.result()


@each_timeout
def test_ctrl_c_ends_accept(listener, when_blocked, timeout_s):
    sock = listener(rsnet)
    sock.settimeout(timeout_s)
    sending = when_blocked(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        sock.accept()
    sending.result()


@each_timeout
def test_ctrl_c_ends_connect(opened, unanswered, when_blocked, timeout_s):
    sock = opened(rsnet.socket())
    sock.settimeout(timeout_s)
    sending = when_blocked(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        sock.connect(unanswered)
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


@each_timeout
@each_call
def test_a_handler_that_raises(pair, when_blocked, handling, call, timeout_s):
    handling(signal.SIGUSR1, fail)
    sock, peer = pair(rsnet)
    sock.settimeout(timeout_s)
    sending = when_blocked(lambda: send_to_main(signal.SIGUSR1))
    with pytest.raises(Raised):
        CALLS[call](sock)
    sending.result()
    # The socket is as good as before.
    peer.send(b"data")
    assert sock.recv(9) == b"data"


@each_timeout
@pytest.mark.parametrize("call", ["recv", "recv_into", "recvfrom", "recvmsg"])
def test_a_handler_that_returns(pair, when_blocked, handling, call, timeout_s):
    runs = []
    sock, peer = pair(rsnet)
    sock.settimeout(timeout_s)

    def handler(*_):
        runs.append(1)
        # Data that is there at once would not show that the call goes on waiting.
        following.append(when_blocked(lambda: peer.send(b"data")))

    following = []
    handling(signal.SIGUSR1, handler)
    sending = when_blocked(lambda: send_to_main(signal.SIGUSR1))
    result = CALLS[call](sock)
    sending.result()
    assert (runs, following[0].result()) == ([1], 4)
    assert result in (b"data", 4) or result[0] == b"data"


@each_timeout
def test_a_handler_that_returns_to_accept(listener, when_blocked, handling, opened, timeout_s):
    sock = listener(rsnet)
    sock.settimeout(timeout_s)
    following = []

    def handler(*_):
        address = sock.getsockname()
        following.append(when_blocked(lambda: opened(rsnet.create_connection(address))))

    handling(signal.SIGUSR1, handler)
    sending = when_blocked(lambda: send_to_main(signal.SIGUSR1))
    opened(sock.accept()[0])
    sending.result()
    following[0].result()


@each_timeout
def test_a_handler_that_returns_to_connect(opened, when_blocked, handling, timeout_s):
    # The connection under way goes on: it is neither begun again nor given up.
    listener = opened(rsnet.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    opened(rsnet.create_connection(listener.getsockname()))
    runs = []
    following = []

    def handler(*_):
        runs.append(1)
        following.append(when_blocked(lambda: opened(listener.accept()[0])))

    handling(signal.SIGUSR1, handler)
    sock = opened(rsnet.socket())
    sock.settimeout(timeout_s)
    sending = when_blocked(lambda: send_to_main(signal.SIGUSR1))
    assert sock.connect(listener.getsockname()) is None
    sending.result()
    following[0].result()
    assert runs == [1]
    assert sock.getpeername() == listener.getsockname()


def test_a_handler_that_closes_the_socket(pair, when_blocked, handling):
    sock, _ = pair(rsnet)
    handling(signal.SIGUSR1, lambda *_: sock.close())
    sending = when_blocked(lambda: send_to_main(signal.SIGUSR1))
    with pytest.raises(OSError) as caught:
        sock.recv(9)
    sending.result()
    assert caught.value.errno == errno.EBADF


def test_a_handler_that_uses_the_socket(pair, when_blocked, handling):
    sock, peer = pair(rsnet)
    heard = []

    def handler(*_):
        # Takes the data that the call waits for: the call goes on waiting.
        peer.send(b"first")
        heard.append(sock.recv(9))
        following.append(when_blocked(lambda: peer.send(b"second")))

    following = []
    handling(signal.SIGUSR1, handler)
    sending = when_blocked(lambda: send_to_main(signal.SIGUSR1))
    assert sock.recv(9) == b"second"
    assert heard == [b"first"]
    sending.result()
    following[0].result()


def test_signals_leave_the_calls_of_other_threads_alone(pair, in_thread, handling):
    runs = []
    handling(signal.SIGUSR1, lambda *_: runs.append(threading.current_thread()))
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


# Deadlines.


def test_signals_do_not_move_the_deadline(pair, handling):
    handling(signal.SIGALRM, lambda *_: None)
    sock, _ = pair(rsnet)
    sock.settimeout(0.2)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        sock.recv(9)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert 0.2 <= time.monotonic() - began < LATE_S


def test_signals_do_not_move_the_deadline_of_connect(opened, unanswered, handling):
    handling(signal.SIGALRM, lambda *_: None)
    sock = opened(rsnet.socket())
    sock.settimeout(0.2)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        sock.connect(unanswered)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert 0.2 <= time.monotonic() - began < LATE_S


# Storms.


def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


@each_timeout
@pytest.mark.parametrize("family", [AF_INET, AF_UNIX])
@pytest.mark.parametrize("method", ["sendall", "send", "sendmsg"])
def test_a_storm_while_sending(pair, in_thread, handling, family, method, timeout_s):
    runs = []
    handling(signal.SIGALRM, lambda *_: runs.append(1))
    sock, peer = pair(rsnet, family)
    sock.settimeout(timeout_s)
    data = random.Random(3).randbytes(4_000_000)

    def receive():
        received = bytearray()
        while piece := peer.recv(10_000):
            received += piece
        return received

    receiving = in_thread(receive)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    view = memoryview(data)
    while view:
        if method == "sendmsg":
            view = view[sock.sendmsg([view[:1000], view[1000:]]) :]
        else:
            view = view[getattr(sock, method)(view) or len(view) :]
    signal.setitimer(signal.ITIMER_REAL, 0)
    sock.shutdown(rsnet.SHUT_WR)
    assert digest(receiving.result()) == digest(data)
    assert runs


@each_timeout
@pytest.mark.parametrize("family", [AF_INET, AF_UNIX])
def test_a_storm_while_receiving(pair, in_thread, handling, family, timeout_s):
    runs = []
    handling(signal.SIGALRM, lambda *_: runs.append(1))
    sock, peer = pair(rsnet, family)
    sock.settimeout(timeout_s)
    data = random.Random(4).randbytes(4_000_000)
    sending = in_thread(peer.sendall, data)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    received = bytearray()
    buffer = bytearray(5_000)
    while len(received) < len(data):
        received += sock.recv(5_000)
        received += sock.recvmsg(5_000)[0] if len(received) < len(data) else b""
        if len(received) < len(data):
            received += buffer[: sock.recv_into(buffer)]
    signal.setitimer(signal.ITIMER_REAL, 0)
    sending.result()
    assert digest(received) == digest(data)
    assert runs


def test_a_storm_while_connecting_and_accepting(listener, in_thread, handling, opened):
    runs = []
    handling(signal.SIGALRM, lambda *_: runs.append(1))
    server = listener(rsnet)

    def connect_often():
        for _ in range(100):
            with rsnet.create_connection(server.getsockname(), timeout=20) as sock:
                assert sock.recv(9) == b"welcome"

    connecting = in_thread(connect_often)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    for _ in range(100):
        sock, _ = server.accept()
        with sock:
            sock.sendall(b"welcome")
    signal.setitimer(signal.ITIMER_REAL, 0)
    connecting.result()
    assert runs


def test_no_signal_is_lost_before_the_wait(pair, handling):
    # Signals that land in every microsecond between the entry of the call and its sleep. Without a
    # timeout the kernel's own recv sleeps, as in CPython, and only the look at the pending signals
    # just before it guards against that.
    handling(signal.SIGALRM, fail)
    sock, _ = pair(rsnet)
    sock.settimeout(LATE_S)
    for delay_us in list(range(1, 60)) * 5:
        began = time.monotonic()
        with pytest.raises(Raised):
            signal.setitimer(signal.ITIMER_REAL, delay_us * 1e-6)
            sock.recv(1)
        assert time.monotonic() - began < LATE_S


def test_a_pending_signal_is_handled_before_data_is_waited_for(pair, handling):
    handling(signal.SIGUSR1, fail)
    sock, _ = pair(rsnet)
    with contextlib.suppress(Raised):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Raised):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
            sock.recv(1)


def test_a_wakeup_descriptor_that_is_an_rsnet_socket(pair, handling):
    handling(signal.SIGUSR1, lambda *_: None)
    left, right = pair(rsnet, AF_UNIX)
    left.setblocking(False)
    before = signal.set_wakeup_fd(left.fileno())
    try:
        signal.raise_signal(signal.SIGUSR1)
        assert right.recv(9) == bytes([signal.SIGUSR1])
    finally:
        signal.set_wakeup_fd(before)
