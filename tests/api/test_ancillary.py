"""Control messages, both ways."""

import array
import errno
import os
import socket as standard
import struct
import warnings
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    CMSG_LEN,
    CMSG_SPACE,
    SCM_RIGHTS,
    SOCK_DGRAM,
    SOL_SOCKET,
)

import pytest

import rsnet

INT = array.array("i").itemsize
# linux/in.h; Python has the name from 3.14 on.
IP_PKTINFO = getattr(standard, "IP_PKTINFO", 8)


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def rights(*descriptors):
    return (SOL_SOCKET, SCM_RIGHTS, array.array("i", descriptors))


def received_descriptors(ancillary):
    """Every descriptor in the control messages, closed, as what it leads to."""
    found = []
    for level, kind, data in ancillary:
        assert (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
        for descriptor in array.array("i", data[: len(data) - len(data) % INT]):
            found.append(os.fstat(descriptor).st_ino)
            os.close(descriptor)
    return found


@pytest.mark.parametrize("type", [standard.SOCK_STREAM, SOCK_DGRAM, standard.SOCK_SEQPACKET])
@pytest.mark.parametrize("form", [array.array, bytes, bytearray, memoryview])
def test_descriptors(same, pair, pipe, type, form):
    def talk(socket):
        client, server = pair(socket, AF_UNIX, type)
        data = array.array("i", pipe)
        data = data if form is array.array else form(data)
        sent = client.sendmsg([b"data"], [(SOL_SOCKET, SCM_RIGHTS, data)])
        message, ancillary, flags, _ = server.recvmsg(99, CMSG_SPACE(2 * INT))
        return sent, message, received_descriptors(ancillary), flags

    *_, inodes, _ = same.value(talk)
    assert inodes == [os.fstat(end).st_ino for end in pipe]


def test_received_descriptors_are_inheritable_as_in_cpython(same, pair, pipe):
    def talk(socket, flags):
        client, server = pair(socket, AF_UNIX)
        client.sendmsg([b"data"], [rights(pipe[0])])
        _, [(_, _, data)], *_ = server.recvmsg(9, CMSG_LEN(INT), flags)
        (descriptor,) = array.array("i", data)
        try:
            return os.get_inheritable(descriptor)
        finally:
            os.close(descriptor)

    same.value(lambda socket: talk(socket, 0))
    assert same.value(lambda socket: talk(socket, socket.MSG_CMSG_CLOEXEC)) is False


def test_descriptors_into_buffers(same, pair, pipe):
    def talk(socket):
        client, server = pair(socket, AF_UNIX)
        client.sendmsg([b"data"], [rights(*pipe)])
        buffers = [bytearray(1), bytearray(9)]
        count, ancillary, flags, address = server.recvmsg_into(buffers, CMSG_LEN(2 * INT))
        return count, buffers, received_descriptors(ancillary), flags, address

    same.value(talk)


@pytest.mark.parametrize("room", range(0, CMSG_SPACE(3 * INT) + 2))
def test_too_little_room(same, pair, pipe, room):
    def talk(socket):
        client, server = pair(socket, AF_UNIX)
        client.sendmsg([b"data"], [rights(*pipe, pipe[0])])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            message, ancillary, flags, _ = server.recvmsg(9, room)
        lengths = [len(data) for *_, data in ancillary]
        texts = [(warning.category, str(warning.message)) for warning in caught]
        return message, lengths, received_descriptors(ancillary), flags, texts

    same.value(talk)


def test_several_messages_at_once(same, pair, pipe):
    def talk(socket):
        client, server = pair(socket, AF_UNIX)
        server.setsockopt(SOL_SOCKET, standard.SO_PASSCRED, 1)
        own = struct.pack("iII", os.getpid(), os.getuid(), os.getgid())
        client.sendmsg(
            [b"data"], iter([(SOL_SOCKET, standard.SCM_CREDENTIALS, own), rights(pipe[0])])
        )
        message, ancillary, flags, _ = server.recvmsg(9, 1024)
        others = [entry for entry in ancillary if entry[1] != SCM_RIGHTS]
        passed = [entry for entry in ancillary if entry[1] == SCM_RIGHTS]
        assert others == [(SOL_SOCKET, standard.SCM_CREDENTIALS, own)]
        return message, received_descriptors(passed), flags

    same.value(talk)


def test_ip_packet_information(same, pair):
    def talk(socket):
        client, server = pair(socket, AF_INET, SOCK_DGRAM)
        server.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        server.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x10)
        client.send(b"data")
        return server.recvmsg(9, 1024)[:3]

    _, ancillary, _ = same.value(talk)
    assert (standard.IPPROTO_IP, standard.IP_TOS, b"\x10") in ancillary
    assert len(ancillary) == 2


def test_ipv6_control_messages_set_what_the_packet_carries(same, pair):
    def talk(socket):
        client, server = pair(socket, AF_INET6, SOCK_DGRAM)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        hops = (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("i", 7))
        traffic_class = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack("i", 17))
        client.sendmsg([b"data"], [hops, traffic_class])
        return server.recvmsg(9, CMSG_SPACE(INT) * 2)[:3]

    _, ancillary, _ = same.value(talk)
    assert {struct.unpack("i", data)[0] for *_, data in ancillary} == {7, 17}


def test_sendmsg_to_an_address(same, pair, opened):
    def talk(socket):
        _, server = pair(socket, AF_INET, SOCK_DGRAM)
        with socket.socket(AF_INET, SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            server.connect(sender.getsockname())
            sent = sender.sendmsg([b"da", b"ta"], [], 0, server.getsockname())
            return sent, server.recv(9)

    assert same.value(talk) == (4, b"data")


BAD = [
    [5],
    [(1, 2)],
    [(1, 2, b"", 4)],
    [(1, 2, "text")],
    [("1", 2, b"")],
    [(1, None, b"")],
    [(1, 2, 3)],
    [(2**40, 1, b"")],
    [[SOL_SOCKET, SCM_RIGHTS, b"1234"]],
    5,
    None,
]


@pytest.mark.parametrize("ancillary", BAD, ids=repr)
def test_bad_control_messages(same, pair, ancillary):
    def send(socket):
        try:
            return pair(socket, AF_UNIX)[0].sendmsg([b"data"], ancillary)
        except Exception as error:
            return error

    same.value(send)


@pytest.mark.parametrize(
    "message",
    [
        (SOL_SOCKET, SCM_RIGHTS, struct.pack("i", -1)),
        (SOL_SOCKET, SCM_RIGHTS, struct.pack("i", 1 << 30)),
        (SOL_SOCKET, SCM_RIGHTS, b"123"),
        (SOL_SOCKET, SCM_RIGHTS, b""),
        (SOL_SOCKET, SCM_RIGHTS, struct.pack("i", 0) * 300),
        (SOL_SOCKET, 999, b"1234"),
        (999, 1, b"1234"),
        (standard.IPPROTO_TCP, 1, b"1234"),
    ],
)
def test_control_messages_that_the_kernel_judges(same, pair, message):
    def send(socket):
        try:
            return pair(socket, AF_UNIX)[0].sendmsg([b"data"], [message])
        except OSError as error:
            return error

    same.value(send)


@pytest.mark.parametrize("room", [-1, -(2**31), 2**31, 2**40, 2**63, 0x7FFFFFFF + 1, 1.0, "9"])
def test_bad_room(same, pair, room):
    def receive(socket, method, first):
        client, server = pair(socket, AF_UNIX)
        client.send(b"data")
        return getattr(server, method)(first, room)

    same.error(lambda socket: receive(socket, "recvmsg", 9))
    same.error(lambda socket: receive(socket, "recvmsg_into", [bytearray(9)]))


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1, 2**31, 2**62, 2**63 - 17, 2**64, 1.5, "1"])
@pytest.mark.parametrize("name", ["CMSG_LEN", "CMSG_SPACE"])
def test_lengths(same, name, length):
    def compute(socket):
        try:
            return getattr(socket, name)(length)
        except Exception as error:
            return error

    same.value(compute)


def test_send_fds(same, pair, pipe):
    def talk(socket):
        client, server = pair(socket, AF_UNIX)
        sent = socket.send_fds(client, [b"da", b"ta"], list(pipe))
        data, descriptors, flags, address = socket.recv_fds(server, 99, 5)
        inodes = [os.fstat(descriptor).st_ino for descriptor in descriptors]
        for descriptor in descriptors:
            os.close(descriptor)
        return sent, data, inodes, flags, address

    same.value(talk)


def test_fds_between_the_two_modules(pair, pipe):
    for sender, receiver in ((rsnet, standard), (standard, rsnet)):
        client, server = pair(rsnet, AF_UNIX)
        sender.send_fds(client, [b"x"], [pipe[1]])
        _, [descriptor], *_ = receiver.recv_fds(server, 9, 1)
        os.write(descriptor, b"through")
        os.close(descriptor)
        assert os.read(pipe[0], 99) == b"through"


def test_descriptors_that_did_not_fit_are_closed(pair, pipe):
    # The kernel installs what fits; nothing else may be left in this process.
    client, server = pair(rsnet, AF_UNIX)
    before = set(os.listdir("/proc/self/fd"))
    client.sendmsg([b"data"], [rights(*pipe)])
    _, ancillary, flags, _ = server.recvmsg(9, 0)
    assert (ancillary, flags & standard.MSG_CTRUNC) == ([], standard.MSG_CTRUNC)
    assert set(os.listdir("/proc/self/fd")) == before


def test_an_error_while_sending_descriptors_keeps_them_open(pair, pipe):
    client, server = pair(rsnet, AF_UNIX)
    server.close()
    with pytest.raises(OSError) as caught:
        client.sendmsg([b"data"], [rights(*pipe)])
    assert caught.value.errno == errno.EPIPE
    for end in pipe:
        os.fstat(end)
