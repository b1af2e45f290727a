"""1,000 rounds of batches leave as many descriptors, blocks and references as there were."""

import array
import contextlib
import gc
import os
import re
import socket as standard
import sys
from pathlib import Path

import pytest

import rsnet

# As in test_leaks.py: the stretch with the least growth tells.
ROUNDS = 1_000
STRETCHES = 5
WARM_UP_ROUNDS = 50
MOST_BLOCKS = 20
REFUSALS = (OSError, TypeError, ValueError, OverflowError, MemoryError, BufferError)
RIGHTS = [(standard.SOL_SOCKET, standard.SCM_RIGHTS, array.array("i", [0]))]


@pytest.fixture
def no_collections_in_between():
    """What is freed is freed by counting references, and nothing else comes and goes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def blocks_in_use():
    gc.collect()
    return sys.getallocatedblocks()


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def resident_bytes():
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def to_itself(sock):
    address = sock.getsockname()
    messages = [(b"x" * 100, address), (bytearray(b"y" * 100), address)] * 3
    messages += [([b"ga", memoryview(b"thered")], [], tuple(address)), (b"", address)]
    assert sock.sendmmsg(messages) == sock.sendmmsg(iter(messages)) == 8
    for datagram in sock.recvmmsg(20, 200, 50):
        data, sender = datagram
        assert (data, sender, repr(datagram)) and memoryview(datagram) == data
        assert (datagram.ancdata, datagram.flags, datagram.ttl) == ([], 0, None)


def with_metadata(sock):
    sock.gro = sock.metadata = True
    sock.sendmmsg([(b"x" * 100, sock.getsockname())] * 10)
    for datagram in sock.recvmmsg(20, 200, 100):
        assert datagram.destination and datagram.ancdata and datagram.timestamp_ns
    sock.gro = sock.metadata = False


def into_rows(sock):
    sock.sendmmsg([(b"x" * 100, sock.getsockname())] * 4)
    lengths, addresses = sock.recvmmsg_into(memoryview(bytearray(400)).cast("B", (4, 100)))
    assert list(lengths) == [100] * 4
    assert len(addresses) == 4


def refused(sock):
    address = sock.getsockname()
    for call in (
        lambda: sock.sendmmsg([(b"x", address), (b"x" * 70_000, address)]),
        lambda: sock.sendmmsg([bytearray(b"x"), b"y"]),
        lambda: sock.sendmmsg([bytearray(b"x"), "y"]),
        lambda: sock.sendmmsg([(bytearray(b"x"), ("127.0.0.1", 1 << 20))]),
        lambda: sock.sendmmsg([([bytearray(b"x"), 1], [], address)]),
        lambda: sock.sendmmsg([([b"x"], [(1, 2, "x")], address)]),
        lambda: sock.sendmmsg(1),
        lambda: sock.recvmmsg(1, 1, timeout="x"),
        lambda: sock.recvmmsg(1, -1),
        lambda: sock.recvmmsg(1, 1 << 62),
        lambda: sock.recvmmsg_into(bytearray(4), 5),
        lambda: sock.recvmmsg_into(b"1234"),
        lambda: sock.recverr(-1),
    ):
        with pytest.raises(REFUSALS):
            call()
    assert sock.recv(9) == b"x"


def nothing_there(sock):
    for call in (
        lambda: sock.recvmmsg(4, 100, timeout=0),
        lambda: sock.recvmmsg(4, 100, timeout=1e-6),
        lambda: sock.recvmmsg_into(bytearray(9), timeout=0),
    ):
        with contextlib.suppress(BlockingIOError, TimeoutError):
            call()
            pytest.fail("something there")
    assert sock.recverr() == []


def errors_queued(sock):
    with rsnet.socket(rsnet.AF_INET, rsnet.SOCK_DGRAM) as asking:
        asking.setsockopt(rsnet.IPPROTO_IP, 11, 1)
        asking.metadata = True
        # The receiver's peer is itself: it takes nothing from others.
        sock.connect(sock.getsockname())
        asking.sendto(b"anybody?", sock.getsockname())
        (error,) = asking.recverr()
        assert (error.data, error.destination) == (b"anybody?", sock.getsockname())
        assert error.offender and error.timestamp_ns and repr(error)


def descriptors(_):
    near, far = rsnet.socketpair(rsnet.AF_UNIX, rsnet.SOCK_DGRAM)
    with near, far:
        near.sendmmsg([([b"x"], RIGHTS, None), b"y", ([b"z"], RIGHTS, None)])
        for datagram in far.recvmmsg(9, 9, 100):
            for _, _, data in datagram.ancdata:
                os.close(*array.array("i", data))


def full(_):
    near, far = rsnet.socketpair(rsnet.AF_UNIX, rsnet.SOCK_DGRAM)
    with near, far:
        near.setblocking(False)
        assert near.sendmmsg([bytes(10_000)] * 100) < 100
        near.settimeout(1e-6)
        with pytest.raises(TimeoutError):
            near.sendmmsg([bytes(10_000)] * 100)


SCENARIOS = [
    to_itself,
    with_metadata,
    into_rows,
    refused,
    nothing_there,
    errors_queued,
    descriptors,
    full,
]


def growth(scenario, sock):
    before = blocks_in_use()
    for _ in range(ROUNDS // STRETCHES):
        scenario(sock)
    return blocks_in_use() - before


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_rounds(endpoint, no_collections_in_between, scenario):
    sock = endpoint(rsnet)
    for _ in range(WARM_UP_ROUNDS):
        scenario(sock)
    before = open_descriptors()
    growths = [growth(scenario, sock) for _ in range(STRETCHES)]
    assert open_descriptors() == before
    assert min(growths) < MOST_BLOCKS, growths


@pytest.mark.parametrize("gro", [False, True])
def test_memory_that_is_not_python_s(endpoint, gro):
    """Datagrams, what they share, and the memory they are received into."""
    sock = endpoint(rsnet)
    sock.gro = sock.metadata = gro

    def rounds(count):
        for _ in range(count):
            sock.sendmmsg([(b"x" * 1_000, sock.getsockname())] * 20)
            taken = 0
            while taken < 20:
                taken += len(sock.recvmmsg(64, 2_000, 2_000))

    rounds(WARM_UP_ROUNDS)
    before = resident_bytes()
    rounds(ROUNDS)
    # A round's datagrams alone have 20 KiB.
    assert resident_bytes() - before < ROUNDS << 11


def test_large_memory_is_given_back(endpoint):
    """Room for a datagram of 64 MiB, of which a page is used, is not kept for the next call."""
    sock = endpoint(rsnet)

    def a_round(bufsize):
        sock.sendto(b"x", sock.getsockname())
        sock.recvmmsg(8, bufsize, bufsize)

    a_round(100)
    before = mapped_bytes()
    a_round(1 << 26)
    assert mapped_bytes() - before < 1 << 24


def mapped_bytes():
    return int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def test_threads_that_come_and_go(in_thread, endpoint):
    """What is kept for a thread goes with it."""
    sock = endpoint(rsnet)

    def rounds(count):
        for _ in range(count):
            sock.sendto(b"x" * 1_000, sock.getsockname())
            assert in_thread(sock.recvmmsg, 128, 2_000).result()[0].nbytes == 1_000

    rounds(WARM_UP_ROUNDS)
    before = resident_bytes()
    rounds(300)
    # A thread's memory for datagrams alone is 250 KiB, its names and headers some 30.
    assert resident_bytes() - before < 300 * (8 << 10)


def test_references(endpoint, no_collections_in_between):
    """Of what is given, none is kept and none is let go of once too often."""
    sock = endpoint(rsnet)
    host, port = "".join(["127.0.", "0.1"]), sock.getsockname()[1]
    address, payload, part, rows = (host, port), bytes(300), bytearray(300), bytearray(3_000)
    messages = [(payload, address), ([payload, part], [], address), (part, address)]
    held = [None, True, False, 0, "", b"", (), host, port, address, payload, part, rows]
    held += [messages, *messages, rsnet.Datagram, rsnet.QueuedError, TimeoutError]

    def a_round():
        assert sock.sendmmsg(messages) == sock.sendmmsg(iter(messages)) == 3
        assert len(sock.recvmmsg(6, 900)) == 6
        assert sock.sendmmsg(messages) == 3
        assert len(sock.recvmmsg_into(rows, 1_000)[0]) == 3
        with contextlib.suppress(TypeError):
            sock.sendmmsg([*messages, None])
        with contextlib.suppress(OSError):
            sock.sendmmsg([payload, part])
        sock.recverr()

    for _ in range(WARM_UP_ROUNDS):
        a_round()
    before = [sys.getrefcount(each) for each in held]
    for _ in range(ROUNDS):
        a_round()
    after = [sys.getrefcount(each) for each in held]
    for each, count_before, count_after in zip(held, before, after, strict=True):
        # Those that the interpreter itself uses come and go a little.
        assert abs(count_after - count_before) < 20, each
    # Exports that were not released would forbid it.
    part.append(0)
    rows.append(0)
