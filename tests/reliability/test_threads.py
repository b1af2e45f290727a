"""Several threads, one socket."""

import contextlib
import hashlib
import random
from collections import Counter
from socket import AF_INET, AF_UNIX, SOCK_DGRAM, SOCK_SEQPACKET

import pytest

import rsnet

COUNT = 2_000


@pytest.mark.parametrize("timeout_s", [None, 20])
def test_each_message_reaches_one_receiver(pair, in_thread, timeout_s):
    sock, peer = pair(rsnet, AF_UNIX, SOCK_SEQPACKET)
    sock.settimeout(timeout_s)

    def receive():
        return list(iter(lambda: sock.recv(99), b""))

    receivers = [in_thread(receive) for _ in range(4)]
    for number in range(COUNT):
        peer.send(b"%d" % number)
    peer.shutdown(rsnet.SHUT_WR)
    received = [message for call in receivers for message in call.result()]
    assert sorted(map(int, received)) == list(range(COUNT))


@pytest.mark.parametrize("timeout_s", [None, 20])
def test_messages_of_many_senders_arrive_whole(pair, in_thread, timeout_s):
    sock, peer = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    sock.settimeout(timeout_s)

    def send(letter):
        for _ in range(COUNT // 4):
            sock.send(letter * 100)

    senders = [in_thread(send, letter) for letter in (b"a", b"b", b"c", b"d")]
    received = Counter(peer.recv(999) for _ in range(COUNT // 4 * 4))
    for call in senders:
        call.result()
    assert received == {letter * 100: COUNT // 4 for letter in (b"a", b"b", b"c", b"d")}


@pytest.mark.parametrize("timeout_s", [None, 20])
def test_one_reads_while_the_other_writes(pair, in_thread, timeout_s):
    client, server = pair(rsnet)
    for sock in (client, server):
        sock.settimeout(timeout_s)
    data = random.Random(5).randbytes(3_000_000)

    def read(sock):
        received = hashlib.sha256()
        left = len(data)
        while left:
            piece = sock.recv(min(left, 1 << 16))
            received.update(piece)
            left -= len(piece)
        return received.digest()

    reading = [in_thread(read, sock) for sock in (client, server)]
    writing = [in_thread(sock.sendall, data) for sock in (client, server)]
    assert {call.result() for call in reading} == {hashlib.sha256(data).digest()}
    for call in writing:
        call.result()


@pytest.mark.parametrize("timeout_s", [None, 20])
def test_each_connection_is_accepted_once(listener, in_thread, timeout_s):
    server = listener(rsnet)
    server.settimeout(timeout_s)
    address = server.getsockname()

    def accept():
        names = []
        while True:
            sock, name = server.accept()
            with sock:
                if sock.recv(9) == b"stop":
                    return names
                names.append(name)

    def connect(message, count):
        names = []
        for _ in range(count):
            with rsnet.create_connection(address) as sock:
                names.append(sock.getsockname())
                sock.sendall(message)
        return names

    acceptors = [in_thread(accept) for _ in range(3)]
    connectors = [in_thread(connect, b"data", 40) for _ in range(3)]
    connected = [name for call in connectors for name in call.result()]
    connect(b"stop", len(acceptors))
    accepted = [name for call in acceptors for name in call.result()]
    assert sorted(accepted) == sorted(connected)


def test_a_blocked_call_lets_others_run(pair, in_thread):
    sock, peer = pair(rsnet)
    waiting = in_thread(sock.recv, 9)
    waiting.until_blocked()
    assert sum(range(100_000)) == 4_999_950_000
    assert waiting.is_running
    peer.send(b"data")
    assert waiting.result() == b"data"


@pytest.mark.parametrize("changed_to_s", [None, 30])
def test_the_timeout_of_a_call_is_that_at_its_beginning(pair, in_thread, changed_to_s):
    sock, peer = pair(rsnet, AF_INET, SOCK_DGRAM)
    sock.settimeout(60)
    waiting = in_thread(sock.recv, 9)
    waiting.until_blocked()
    sock.settimeout(changed_to_s)
    waiting.until_blocked()
    peer.send(b"data")
    assert waiting.result() == b"data"
    assert sock.gettimeout() == changed_to_s


def test_all_methods_at_once(pair, in_thread):
    """Whatever the order, nothing but an OSError may come of it."""
    client, server = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    client.setblocking(False)
    server.setblocking(False)

    def hammer(operation):
        for _ in range(COUNT):
            with contextlib.suppress(OSError):
                operation()

    operations = [
        lambda: client.send(b"x" * 100),
        lambda: client.sendmsg([b"x", b"y"]),
        lambda: server.recv(99),
        lambda: server.recvmsg(9, 99),
        lambda: server.settimeout(0.0),
        lambda: repr(server),
        lambda: server.getsockopt(1, 3),
        lambda: server.dup().close(),
        lambda: (server.getsockname(), server.fileno(), server.family),
    ]
    calls = [in_thread(hammer, operation) for operation in operations]
    for call in calls:
        call.result()
