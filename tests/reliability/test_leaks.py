"""1,000 rounds leave as many descriptors, blocks of memory and references as there were."""

import array
import contextlib
import gc
import os
import re
import signal
import socket as standard
import sys
from pathlib import Path

import pytest

import rsnet

# What leaks in a round leaks in every stretch of rounds, 200 times. The interpreter's own caches
# fill and empty by a hundred blocks or so (with the standard library too), but do not grow in every
# stretch: the stretch with the least growth tells.
ROUNDS = 1_000
STRETCHES = 5
WARM_UP_ROUNDS = 50
MOST_BLOCKS = 20


def open_and_close(_):
    with rsnet.socket() as sock:
        sock.settimeout(1.5)
        repr(sock)


def construct_from_a_number(_):
    with rsnet.socket() as sock, rsnet.socket(fileno=os.dup(sock.fileno())) as twin:
        rsnet.socket(fileno=twin.dup().detach()).close()


def connect_and_accept(listener):
    with rsnet.create_connection(listener.getsockname(), 5) as client:
        server, address = listener.accept()
        with server:
            assert address == client.getsockname() == server.getpeername()
            client.sendall(b"x" * 100)
            assert len(server.recv(1 << 17)) == 100
            server.sendto(b"y", address)
            assert client.recvfrom_into(bytearray(3))[0] == 1


def datagrams(_):
    with rsnet.socket(type=rsnet.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"x", 0, sock.getsockname())
        assert sock.recvfrom(10)[1] == sock.getsockname()


def messages(_):
    near, far = rsnet.socketpair()
    with near, far:
        rights = array.array("i", [near.fileno(), far.fileno()])
        near.sendmsg([b"ab", bytearray(b"c")], [(standard.SOL_SOCKET, standard.SCM_RIGHTS, rights)])
        data, ancillary, _, _ = far.recvmsg(10, 1_000)
        assert data == b"abc"
        for number in array.array("i", ancillary[0][2]):
            os.close(number)
        near.sendmsg(iter([b"x"]))
        assert far.recvmsg_into([bytearray(1), bytearray(1)])[0] == 1


def messages_cut_short(_):
    near, far = rsnet.socketpair()
    with near, far:
        rsnet.send_fds(near, [b"x"], [0, 1, 2])
        # Room for one of the three.
        ancillary = far.recvmsg(1, rsnet.CMSG_LEN(4))[1]
        os.close(*array.array("i", ancillary[0][2]))


def timeouts(listener):
    near, far = rsnet.socketpair()
    with near, far:
        far.settimeout(1e-6)
        listener.settimeout(1e-6)
        for call in (lambda: far.recv(1), lambda: far.sendall(bytes(1 << 20)), listener.accept):
            with contextlib.suppress(TimeoutError):
                call()
        listener.settimeout(None)
        far.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            far.recv(1)


def errors_of_the_kernel(_):
    with rsnet.socket() as sock:
        for call in (
            lambda: sock.connect(("127.0.0.1", 1)),
            lambda: sock.bind(("198.51.100.1", 1)),
            lambda: sock.getpeername(),
            lambda: sock.setsockopt(1, 9999, 1),
            lambda: sock.sendall(b"x"),
            lambda: rsnet.socket(1, 99),
            lambda: rsnet.socket(fileno=-5),
        ):
            with contextlib.suppress(OSError, ValueError):
                call()
                pytest.fail("no error")
    with contextlib.suppress(OSError):
        sock.send(b"x")


# Calls that end before they let go of the interpreter.
REFUSED = {
    "port": lambda sock: sock.connect(("127.0.0.1", 1 << 20)),
    "address": lambda sock: sock.connect("nowhere"),
    "NUL": lambda sock: sock.connect(("a\0b", 1)),
    "long host": lambda sock: sock.connect(("x" * 1_000, 1)),
    "buffers": lambda sock: sock.sendmsg([b"x", "y"]),
    "control data": lambda sock: sock.sendmsg([b"x"], [(1, 2, "z")]),
    "read-only": lambda sock: sock.recv_into(b"read-only"),
    "small": lambda sock: sock.recv_into(bytearray(2), 3),
    "negative": lambda sock: sock.recv(-1),
    "timeout": lambda sock: sock.settimeout(-1),
    "option": lambda sock: sock.setsockopt(1, 2, "x"),
    "option's size": lambda sock: sock.getsockopt(1, 2, 9999),
    "text": lambda sock: sock.send("x"),
}


def files(_):
    near, far = rsnet.socketpair()
    with near, far, near.makefile("rwb") as file, far.makefile("r") as lines:
        file.write(b"abc\n")
        file.flush()
        assert lines.readline() == "abc\n"


def addresses(_):
    for host in ("127.0.0.1", b"127.0.0.1", "::1", None):
        rsnet.getaddrinfo(host, 80, 0, rsnet.SOCK_STREAM)
    with rsnet.socket(rsnet.AF_INET6) as sock:
        sock.bind(("::1", 0, 0, 0))
        sock.getsockname()
    with rsnet.socket(rsnet.AF_UNIX) as sock:
        sock.bind("")
        sock.getsockname()


def unclosed(_):
    gc.collect(0)
    rsnet.socket()


def subclasses(_):
    class Sub(rsnet.socket):
        pass

    with Sub() as sock:
        sock.note = Sub
        isinstance(sock, standard.socket)
    del sock, Sub
    # A class is always part of a cycle.
    gc.collect()


SCENARIOS = [
    open_and_close,
    construct_from_a_number,
    connect_and_accept,
    datagrams,
    messages,
    messages_cut_short,
    timeouts,
    errors_of_the_kernel,
    files,
    addresses,
    unclosed,
]


@pytest.fixture
def no_collections_in_between():
    """What is freed is freed by counting references, and nothing else comes and goes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def blocks_in_use():
    # Also empties the interpreter's free lists, which keep what is not in use.
    gc.collect()
    return sys.getallocatedblocks()


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:received malformed:RuntimeWarning")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_rounds(listener, no_collections_in_between, scenario):
    server = listener(rsnet)
    for _ in range(WARM_UP_ROUNDS):
        scenario(server)
    descriptors = open_descriptors()
    growths = [growth(scenario, server) for _ in range(STRETCHES)]
    assert open_descriptors() == descriptors
    assert min(growths) < MOST_BLOCKS, growths


@pytest.mark.parametrize("refused", REFUSED)
def test_refused_arguments(no_collections_in_between, refused):
    """What such a call made is freed by itself, not when another call comes to wait."""

    def a_round(sock):
        with pytest.raises((OSError, TypeError, ValueError, OverflowError)):
            REFUSED[refused](sock)

    with rsnet.socket() as sock:
        for _ in range(WARM_UP_ROUNDS):
            a_round(sock)
        growths = [growth(a_round, sock) for _ in range(STRETCHES)]
    assert min(growths) < MOST_BLOCKS, growths


def growth(scenario, server):
    before = blocks_in_use()
    for _ in range(ROUNDS // STRETCHES):
        scenario(server)
    return blocks_in_use() - before


def test_threads_that_come_and_go(in_thread, pair):
    """What is kept for a thread goes with it."""
    peer, sock = pair(rsnet)

    def rounds(count):
        for _ in range(count):
            blocked = in_thread(sock.recv, 1)
            peer.send(b"x")
            assert blocked.result() == b"x"

    rounds(WARM_UP_ROUNDS)
    before = resident_bytes()
    rounds(ROUNDS)
    # A thread's scratch memory alone has 64 KiB.
    assert resident_bytes() - before < ROUNDS * (16 << 10)


def resident_bytes():
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def test_memory_that_is_not_python_s(pair):
    """Room for control data is 64 KiB a call, in memory that Python does not count."""
    peer, sock = pair(rsnet)

    def rounds(count):
        for _ in range(count):
            peer.sendmsg([b"x"] * 1_000)
            assert sock.recvmsg(1_000, 1 << 16)[0] == b"x" * 1_000

    rounds(WARM_UP_ROUNDS)
    before = resident_bytes()
    rounds(ROUNDS)
    assert resident_bytes() - before < ROUNDS << 12


def test_closed_under_a_call(in_thread):
    """The number that a blocked call kept is given back."""
    descriptors = open_descriptors()
    for _ in range(100):
        near, far = rsnet.socketpair()
        with near, far:
            blocked = in_thread(far.recv, 1)
            blocked.until_blocked()
            far.close()
            with pytest.raises(OSError, match="Bad file"):
                blocked.result()
    assert open_descriptors() == descriptors


def test_interrupted_calls(on_signal, when_blocked):
    def handler(*_):
        raise LookupError

    on_signal(signal.SIGUSR1, handler)
    descriptors = open_descriptors()
    buffer = bytearray(1)
    for _ in range(100):
        near, far = rsnet.socketpair()
        with near, far:
            when_blocked(lambda: os.kill(os.getpid(), signal.SIGUSR1))
            with pytest.raises(LookupError):
                far.recv_into(buffer)
    # An export that was not released would forbid this.
    buffer.append(0)
    assert open_descriptors() == descriptors


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_references(listener, no_collections_in_between):
    """Of what is shared and of what is given, none is kept and none is taken once too often."""
    server = listener(rsnet)
    host, payload, room = "".join(["127.0.", "0.1"]), bytes(300), bytearray(300)
    port = server.getsockname()[1]
    address = (host, port)
    shared = [None, True, False, 0, "", b"", (), rsnet.AF_INET, rsnet.SOCK_STREAM, rsnet.socket]
    shared += [TimeoutError, OSError, host, port, address, payload, room]

    def a_round():
        with rsnet.socket(rsnet.AF_INET, rsnet.SOCK_STREAM) as sock:
            sock.settimeout(None)
            sock.connect(address)
            accepted, _ = server.accept()
            with accepted:
                assert sock.family is rsnet.AF_INET
                assert sock.type is rsnet.SOCK_STREAM
                sock.setblocking(True)
                sock.sendall(payload)
                sock.sendmsg([payload], [], 0)
                accepted.recv_into(room)
                accepted.recvmsg_into([room])
                accepted.recv(0)
            with contextlib.suppress(OSError):
                sock.connect(address)
        rsnet.getaddrinfo(host, port)
        with contextlib.suppress(OSError):
            sock.sendto(payload, address)

    for _ in range(WARM_UP_ROUNDS):
        a_round()
    before = [sys.getrefcount(each) for each in shared]
    for _ in range(ROUNDS):
        a_round()
    after = [sys.getrefcount(each) for each in shared]
    for each, count_before, count_after in zip(shared, before, after, strict=True):
        # Those that the interpreter itself uses come and go a little.
        assert abs(count_after - count_before) < 20, each


def test_classes_go(no_collections_in_between):
    """A subclass, and what stands for it in isinstance(), is not kept alive."""
    for _ in range(10):
        subclasses(None)
    blocks = blocks_in_use()
    for _ in range(100):
        subclasses(None)
    # A class is some thirty blocks.
    assert blocks_in_use() - blocks < 10 * MOST_BLOCKS
