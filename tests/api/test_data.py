"""Bytes go out and come in, whole, by every method and from and into every kind of buffer."""

import array
import ctypes
import hashlib
import mmap
import os
import random
import select
import socket as standard
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_PEEK,
    MSG_TRUNC,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
)

import pytest

import rsnet

STREAMS = [(AF_INET, SOCK_STREAM), (AF_INET6, SOCK_STREAM), (AF_UNIX, SOCK_STREAM)]
DATAGRAMS = [
    (AF_INET, SOCK_DGRAM),
    (AF_INET6, SOCK_DGRAM),
    (AF_UNIX, SOCK_DGRAM),
    (AF_UNIX, SOCK_SEQPACKET),
]
each_transport = pytest.mark.parametrize(("family", "type"), STREAMS + DATAGRAMS)
each_stream = pytest.mark.parametrize(("family", "type"), STREAMS)
each_datagram = pytest.mark.parametrize(("family", "type"), DATAGRAMS)


def random_bytes(count):
    # Seeded, so that what fails once fails again.
    return random.Random(count).randbytes(count)


def receive_all(sock, count):
    """`count` bytes, or what came before the end."""
    pieces = []
    while count > 0 and (piece := sock.recv(min(count, 1 << 16))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


# One message.

SENDERS = {
    "send": lambda sock, data: sock.send(data),
    "send, flags": lambda sock, data: sock.send(data, standard.MSG_NOSIGNAL),
    "sendall": lambda sock, data: sock.sendall(data),
    "sendall, flags": lambda sock, data: sock.sendall(data, 0),
    "sendmsg": lambda sock, data: sock.sendmsg([data]),
    "sendmsg, parts": lambda sock, data: sock.sendmsg([data[:3], b"", data[3:]]),
    "sendmsg, all arguments": lambda sock, data: sock.sendmsg([data], [], 0, None),
}


def receive_into(sock):
    buffer = bytearray(20)
    count = sock.recv_into(buffer)
    return count, bytes(buffer)


def receive_into_part(sock):
    buffer = bytearray(b"." * 20)
    count = sock.recv_into(memoryview(buffer)[5:], 7)
    return count, bytes(buffer)


def receive_from_into(sock):
    buffer = array.array("I", [0] * 5)
    count, _ = sock.recvfrom_into(buffer, 12, MSG_PEEK)
    return count, buffer.tobytes()


def receive_message_into(sock):
    buffers = [bytearray(3), bytearray(0), bytearray(4), bytearray(40)]
    count, ancillary, _, _ = sock.recvmsg_into(buffers)
    return count, ancillary, [bytes(buffer) for buffer in buffers]


RECEIVERS = {
    "recv": lambda sock: sock.recv(100),
    "recv, exactly": lambda sock: sock.recv(10),
    "recv, less": lambda sock: sock.recv(4),
    "recv, peek": lambda sock: (sock.recv(4, MSG_PEEK), sock.recv(9)),
    "recvfrom": lambda sock: sock.recvfrom(100)[0],
    "recvfrom, flags": lambda sock: sock.recvfrom(3, MSG_PEEK)[0],
    "recv_into": receive_into,
    "recv_into, part": receive_into_part,
    "recvfrom_into": receive_from_into,
    "recvmsg": lambda sock: sock.recvmsg(100)[:2],
    "recvmsg, all arguments": lambda sock: sock.recvmsg(100, 100, MSG_DONTWAIT)[:2],
    "recvmsg_into": receive_message_into,
}


@each_transport
@pytest.mark.parametrize("sender", SENDERS)
def test_senders(same, pair, family, type, sender):
    def talk(socket):
        client, server = pair(socket, family, type)
        return SENDERS[sender](client, b"0123456789"), server.recv(99)

    assert same.value(talk)[1] == b"0123456789"


@each_transport
@pytest.mark.parametrize("receiver", RECEIVERS)
def test_receivers(same, pair, family, type, receiver):
    def talk(socket):
        client, server = pair(socket, family, type)
        client.send(b"0123456789")
        return RECEIVERS[receiver](server)

    same.value(talk)


@pytest.mark.parametrize("receiver", RECEIVERS)
@each_stream
def test_receivers_at_the_end_of_a_stream(same, pair, family, type, receiver):
    def talk(socket):
        client, server = pair(socket, family, type)
        client.close()
        return RECEIVERS[receiver](server)

    same.value(talk)


@pytest.mark.parametrize("flags_first", [False, True])
@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_sendto(same, pair, opened, family, flags_first):
    def talk(socket):
        _, server = pair(socket, family, SOCK_DGRAM)
        with socket.socket(family, SOCK_DGRAM) as sender:
            server.connect(sender_address(sender, family))
            to = server.getsockname()
            count = sender.sendto(b"data", 0, to) if flags_first else sender.sendto(b"data", to)
            return count, server.recv(9)

    assert same.value(talk) == (4, b"data")


def sender_address(sender, family):
    sender.bind(("127.0.0.1" if family == AF_INET else "::1", 0))
    return sender.getsockname()


def test_sendto_a_connected_peer(same, pair):
    def talk(socket):
        client, server = pair(socket, AF_INET)
        return client.sendto(b"data", server.getsockname()), server.recv(9)

    assert same.value(talk) == (4, b"data")


@each_datagram
def test_empty_messages(same, pair, family, type):
    def talk(socket):
        client, server = pair(socket, family, type)
        found = [client.send(b""), client.sendall(b""), client.sendmsg([]), client.sendmsg([b""])]
        # One to tell that none is missing before it.
        client.send(b"end")
        while found[-1] != b"end":
            found.append(server.recv(9))
        return found

    same.value(talk)


@each_stream
def test_empty_sends_and_receives_on_a_stream(same, pair, family, type):
    def talk(socket):
        client, server = pair(socket, family, type)
        server.settimeout(0)
        return (
            client.send(b""),
            client.sendall(b""),
            client.sendmsg([]),
            client.sendmsg([b"", b""]),
            server.recv(0),
            server.recv_into(bytearray(0)),
        )

    same.value(talk)


@each_datagram
def test_a_long_datagram_is_cut(same, pair, family, type):
    def talk(socket):
        client, server = pair(socket, family, type)
        for _ in range(5):
            client.send(b"0123456789")
        return [
            server.recv(4),
            server.recv_into(bytearray(4)),
            len(server.recv(4, MSG_TRUNC)),
            server.recv_into(bytearray(4), 0, MSG_TRUNC),
            server.recvmsg(4)[:3],
        ]

    assert same.value(talk) == [b"0123", 4, 10, 10, (b"0123", [], MSG_TRUNC)]


@pytest.mark.parametrize("length", [10, 5_000, 65_507])
@pytest.mark.parametrize("method", ["recv", "recvfrom", "recvmsg"])
def test_the_length_that_msg_trunc_tells_shows_nobody_s_memory(pair, length, method):
    # The kernel tells the length of the whole datagram and writes no more than there is room for.
    # CPython fills up with whatever its memory held before.
    client, server = pair(rsnet, AF_INET, SOCK_DGRAM)
    secret = b"s" * length
    client.send(secret)
    assert server.recv(length) == secret
    client.send(b"d" * length)
    data = getattr(server, method)(4, *([0] if method == "recvmsg" else []), MSG_TRUNC)
    data = data if method == "recv" else data[0]
    assert data[:4] == b"dddd"
    assert data[4:] == bytes(len(data) - 4)


def test_the_largest_datagram(same, pair):
    def talk(socket):
        client, server = pair(socket, AF_INET, SOCK_DGRAM)
        data = random_bytes(65_507)
        return client.send(data), server.recv(70_000) == data, len(data)

    assert same.value(talk) == (65_507, True, 65_507)


def test_a_datagram_that_is_too_long(same, pair):
    def send(socket):
        pair(socket, AF_INET, SOCK_DGRAM)[0].send(bytes(65_508))

    same.error(send, OSError)


def test_urgent_data(same, pair):
    def talk(socket):
        client, server = pair(socket)
        client.send(b"!", socket.MSG_OOB)
        select.select([], [], [server], 5)
        return server.recv(9, socket.MSG_OOB)

    assert same.value(talk) == b"!"


# Buffers.


def shared_memory():
    memory = mmap.mmap(-1, 16)
    memory[:] = b"0123456789abcdef"
    return memory


READABLE = {
    "bytes": lambda: b"0123456789abcdef",
    "bytearray": lambda: bytearray(b"0123456789abcdef"),
    "memoryview": lambda: memoryview(b"0123456789abcdef"),
    "part of a memoryview": lambda: memoryview(b"..0123456789abcdef..")[2:18],
    "memoryview of ints": lambda: memoryview(b"0123456789abcdef").cast("I"),
    "memoryview of two dimensions": lambda: memoryview(b"0123456789abcdef").cast("B", (4, 4)),
    "array of shorts": lambda: array.array("H", b"0123456789abcdef"),
    "array of doubles": lambda: array.array("d", b"0123456789abcdef"),
    "mmap": shared_memory,
    "ctypes": lambda: (ctypes.c_char * 16)(*b"0123456789abcdef"),
}


@pytest.mark.parametrize("kind", READABLE)
@pytest.mark.parametrize("method", ["send", "sendall", "sendto", "sendmsg"])
def test_buffers_to_send_from(same, pair, opened, kind, method):
    def talk(socket):
        client, server = pair(socket, AF_INET, SOCK_DGRAM)
        data = READABLE[kind]()
        if method == "sendmsg":
            sent = client.sendmsg([data, data])
        elif method == "sendto":
            sent = client.sendto(data, server.getsockname())
        else:
            sent = getattr(client, method)(data)
        return sent, server.recv(99)

    twice = 2 if method == "sendmsg" else 1
    assert same.value(talk)[1] == b"0123456789abcdef" * twice


class FourInts(ctypes.Structure):
    _fields_ = (("numbers", ctypes.c_int * 4),)


WRITABLE = {
    "bytearray": lambda: bytearray(16),
    "memoryview": lambda: memoryview(bytearray(16)),
    "part of a memoryview": lambda: memoryview(bytearray(20))[2:18],
    "memoryview of two dimensions": lambda: memoryview(bytearray(16)).cast("B", (2, 8)),
    "array of ints": lambda: array.array("I", [0] * 4),
    "mmap": lambda: mmap.mmap(-1, 16),
    "ctypes": lambda: (ctypes.c_char * 16)(),
    "ctypes structure": lambda: FourInts(),
}


@pytest.mark.parametrize("kind", WRITABLE)
@pytest.mark.parametrize("method", ["recv_into", "recvfrom_into", "recvmsg_into"])
def test_buffers_to_receive_into(same, pair, kind, method):
    def talk(socket):
        client, server = pair(socket, AF_INET, SOCK_DGRAM)
        buffer = WRITABLE[kind]()
        client.send(b"0123456789ab")
        if method == "recvmsg_into":
            count = server.recvmsg_into([buffer])[0]
        elif method == "recvfrom_into":
            count = server.recvfrom_into(buffer)[0]
        else:
            count = server.recv_into(buffer)
        return count, bytes(memoryview(buffer))

    assert same.value(talk) == (12, b"0123456789ab\0\0\0\0")


@pytest.mark.parametrize("count", [1, 2, 64, 1023, 1024, 4096, 65_536, 1 << 20])
def test_what_recv_gives_is_bytes_of_the_right_length(pair, count):
    # The room made for the data is cut to what came; its end must not show.
    client, server = pair(rsnet)
    client.sendall(b"abc")
    data = server.recv(count)
    assert type(data) is bytes
    assert data == b"abc"[: len(data)]
    assert data + b"." == b"abc"[: len(data)] + b"."
    assert hash(data) == hash(b"abc"[: len(data)])


# Much data.


@each_stream
@pytest.mark.parametrize("timeout_s", [None, 20])
@pytest.mark.parametrize("method", ["sendall", "sendmsg", "send"])
def test_much_data_in_both_directions(pair, in_thread, family, type, timeout_s, method):
    client, server = pair(rsnet, family, type)
    there, back = random_bytes(2_000_001), random_bytes(3_000_017)
    for sock in (client, server):
        sock.settimeout(timeout_s)

    def send(sock, data):
        view = memoryview(data)
        while view:
            if method == "sendall":
                sent = sock.sendall(view) or len(view)
            elif method == "send":
                sent = sock.send(view)
            else:
                sent = sock.sendmsg([view[:1000], view[1000:]])
            view = view[sent:]

    calls = [
        in_thread(send, client, there),
        in_thread(send, server, back),
        in_thread(receive_all, server, len(there)),
    ]
    assert digest(receive_all(client, len(back))) == digest(back)
    assert digest(calls[2].result()) == digest(there)
    for call in calls:
        call.result()


def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


@each_stream
def test_a_blocking_send_sends_everything(pair, in_thread, family, type):
    # As the kernel's own blocking write does, however small its buffer.
    client, server = pair(rsnet, family, type)
    data = random_bytes(5_000_000)
    sent = in_thread(client.send, data)
    assert digest(receive_all(server, len(data))) == digest(data)
    assert sent.result() == len(data)


@each_stream
def test_shutdown_ends_the_other_side_s_reading(same, pair, family, type):
    def talk(socket):
        client, server = pair(socket, family, type)
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        found = [server.recv(99), server.recv(99), server.recv(99)]
        server.sendall(b"answer")
        server.shutdown(socket.SHUT_RDWR)
        return [*found, client.recv(99), client.recv(99)]

    assert same.value(talk) == [b"last words", b"", b"", b"answer", b""]


def test_msg_waitall(pair, in_thread):
    client, server = pair(rsnet)
    received = in_thread(server.recv, 6, standard.MSG_WAITALL)
    received.until_blocked()
    client.sendall(b"abc")
    client.sendall(b"def")
    assert received.result() == b"abcdef"


# Many buffers.


@pytest.mark.parametrize(
    "collection",
    [
        list,
        tuple,
        iter,
        lambda parts: (part for part in parts),
        lambda parts: dict.fromkeys(parts),
        lambda parts: dict(enumerate(parts)).values(),
        lambda parts: map(bytes, parts),
    ],
)
def test_any_iterable_of_buffers(same, pair, collection):
    def talk(socket):
        client, server = pair(socket, AF_UNIX, SOCK_DGRAM)
        into = [bytearray(2), bytearray(3), bytearray(9)]
        sent = client.sendmsg(collection([b"ab", b"cd", b"efg"]), iter([]))
        return sent, server.recvmsg_into(iter(into))[0], [bytes(b) for b in into]

    assert same.value(talk) == (7, 7, [b"ab", b"cde", b"fg" + b"\0" * 7])


@pytest.mark.parametrize("count", [0, 1, 2, 100, os.sysconf("SC_IOV_MAX")])
def test_numbers_of_buffers(same, pair, count):
    def talk(socket):
        client, server = pair(socket, AF_UNIX, SOCK_STREAM)
        into = [bytearray(2) for _ in range(count)]
        sent = client.sendmsg([b"ab"] * count)
        client.close()
        return sent, server.recvmsg_into(into)[0] if count else None, into

    assert same.value(talk)[0] == 2 * count


def test_too_many_buffers(same, pair):
    def send(socket):
        pair(socket)[0].sendmsg([b"a"] * (os.sysconf("SC_IOV_MAX") + 1))

    def receive(socket):
        pair(socket)[0].recvmsg_into([bytearray(1)] * (os.sysconf("SC_IOV_MAX") + 1))

    same.error(send, OSError)
    same.error(receive, OSError)
