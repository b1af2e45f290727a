"""Several threads on one rsnet socket: each datagram, connection and byte goes to one of them."""

import threading
import weakref
from collections import Counter

import pytest

import rsnet

COUNT = 500
DATA = bytes(range(256)) * 8_000
LIMIT_S = 20
THREADS = 4


@pytest.fixture(params=[None, LIMIT_S], ids=["blocking", "timeout"])
def timeout_s(request):
    return request.param


@pytest.fixture
def stream(pair, timeout_s):
    return timed(pair(rsnet), timeout_s)


@pytest.fixture
def datagrams(pair, timeout_s):
    # UNIX datagrams are never lost: their sender waits for room.
    return timed(pair(rsnet, rsnet.AF_UNIX, rsnet.SOCK_DGRAM), timeout_s)


def timed(ends, timeout_s):
    for end in ends:
        end.settimeout(timeout_s)
    return ends


def received(sock, count):
    data = bytearray()
    while len(data) < count and (piece := sock.recv(1 << 16)):
        data += piece
    return bytes(data)


def test_one_sends_while_one_receives(stream, in_thread):
    client, server = stream
    calls = [in_thread(sock.sendall, DATA) for sock in (client, server)]
    receivers = [in_thread(received, sock, len(DATA)) for sock in (client, server)]
    assert [call.result() for call in receivers] == [DATA, DATA]
    for call in calls:
        call.result()


def test_datagrams_from_many_senders(datagrams, in_thread):
    client, server = datagrams
    start = threading.Barrier(THREADS)

    def send(sender):
        start.wait(LIMIT_S)
        for number in range(COUNT):
            assert client.send(b"%d:%d" % (sender, number)) > 0

    calls = [in_thread(send, sender) for sender in range(THREADS)]
    came = [tuple(map(int, server.recv(99).split(b":"))) for _ in range(COUNT * THREADS)]
    for call in calls:
        call.result()
    for sender in range(THREADS):
        assert [number for who, number in came if who == sender] == list(range(COUNT))


def test_datagrams_to_many_receivers(datagrams, in_thread):
    client, server = datagrams

    def receive():
        return list(iter(lambda: server.recv(99), b"end"))

    calls = [in_thread(receive) for _ in range(THREADS)]
    for number in range(COUNT):
        client.send(b"%d" % number)
    for _ in calls:
        client.send(b"end")
    came = Counter(item for call in calls for item in call.result())
    assert came == Counter(b"%d" % number for number in range(COUNT))


def test_bytes_to_many_receivers(stream, in_thread):
    client, server = stream
    # Each into a buffer of its own: none may be written by another thread's call.
    calls = [in_thread(received, server, len(DATA)) for _ in range(THREADS)]
    client.sendall(DATA)
    client.close()
    came = Counter[int]()
    for call in calls:
        came += Counter(call.result())
    assert came == Counter(DATA)


def test_many_accept_on_one_listener(listener, in_thread, timeout_s):
    server = listener(rsnet)
    server.settimeout(timeout_s)

    def answer():
        sock, address = server.accept()
        with sock:
            assert sock.getpeername() == address
            sock.sendall(sock.recv(99))

    calls = [in_thread(answer) for _ in range(THREADS)]
    for call in calls:
        call.until_blocked()
    for number in range(THREADS):
        with rsnet.create_connection(server.getsockname(), timeout=LIMIT_S) as sock:
            sock.sendall(b"%d" % number)
            assert sock.recv(99) == b"%d" % number
    for call in calls:
        call.result()


def test_one_file_read_while_another_is_written(stream, in_thread):
    client, server = stream
    lines = [b"%d\n" % number for number in range(5_000)]

    def echo():
        with server, server.makefile("rb") as reading, server.makefile("wb") as writing:
            writing.writelines(reading)

    def send():
        with client.makefile("wb") as writing:
            writing.writelines(lines)
        client.shutdown(rsnet.SHUT_WR)

    calls = [in_thread(echo), in_thread(send)]
    with client.makefile("rb") as reading:
        assert list(reading) == lines
    for call in calls:
        call.result()


def test_a_call_keeps_the_timeout_it_began_with(pair, in_thread):
    client, server = pair(rsnet)
    call = in_thread(server.recv, 9)
    call.until_blocked()
    server.settimeout(LIMIT_S)
    assert server.gettimeout() == LIMIT_S
    client.send(b"data")
    assert call.result() == b"data"


def test_a_socket_of_which_only_a_call_knows(pair, in_thread):
    # The call itself keeps the object: it is not closed under it, but as soon as it is over.
    client, server = pair(rsnet)
    copies = [server.dup()]
    copy = weakref.ref(copies[0])
    with pytest.warns(ResourceWarning, match="unclosed"):
        call = in_thread(lambda: copies.pop().recv(9))
        call.until_blocked()
        assert copies == [] and copy() is not None
        client.send(b"data")
        assert call.result() == b"data"
    assert copy() is None


def test_options_and_names_asked_while_another_thread_receives(stream, in_thread):
    client, server = stream
    call = in_thread(server.recv, 9)
    call.until_blocked()
    server.setsockopt(rsnet.IPPROTO_TCP, rsnet.TCP_NODELAY, 1)
    assert server.getsockopt(rsnet.IPPROTO_TCP, rsnet.TCP_NODELAY) == 1
    assert server.getpeername() == client.getsockname()
    assert "laddr" in repr(server)
    server.sendall(b"the other way")
    assert client.recv(99) == b"the other way"
    client.send(b"data")
    assert call.result() == b"data"
