"""getsockopt and setsockopt in all their forms."""

import socket as standard
import struct
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    SOCK_DGRAM,
    SOL_SOCKET,
)

import pytest

import rsnet

INTEGERS = [
    (AF_INET, SOL_SOCKET, "SO_REUSEADDR", 1),
    (AF_INET, SOL_SOCKET, "SO_REUSEPORT", 1),
    (AF_INET, SOL_SOCKET, "SO_KEEPALIVE", 1),
    (AF_INET, SOL_SOCKET, "SO_BROADCAST", 1),
    (AF_INET, SOL_SOCKET, "SO_RCVBUF", 10_000),
    (AF_INET, SOL_SOCKET, "SO_SNDBUF", 10_000),
    (AF_INET, SOL_SOCKET, "SO_PRIORITY", 3),
    (AF_INET, IPPROTO_TCP, "TCP_NODELAY", 1),
    (AF_INET, IPPROTO_TCP, "TCP_KEEPIDLE", 77),
    (AF_INET, IPPROTO_TCP, "TCP_USER_TIMEOUT", 5_000),
    (AF_INET, IPPROTO_IP, "IP_TTL", 9),
    (AF_INET, IPPROTO_IP, "IP_TOS", 0x10),
    (AF_INET6, IPPROTO_IPV6, "IPV6_V6ONLY", 1),
    (AF_INET6, IPPROTO_IPV6, "IPV6_UNICAST_HOPS", -1),
    (AF_INET6, IPPROTO_IPV6, "IPV6_TCLASS", 0x20),
]


class Number:
    def __index__(self):
        return 1


@pytest.mark.parametrize(("family", "level", "name", "value"), INTEGERS)
def test_integers(same, family, level, name, value):
    option = getattr(standard, name)

    def change(socket):
        with socket.socket(family) as sock:
            before = sock.getsockopt(level, option)
            assert sock.setsockopt(level, option, value) is None
            return before, sock.getsockopt(level, option), sock.getsockopt(level, option, 4)

    same.value(change)


@pytest.mark.parametrize(("family", "level", "name", "value"), INTEGERS)
def test_the_kernel_has_what_was_set(family, level, name, value):
    option = getattr(standard, name)
    with rsnet.socket(family) as sock:
        sock.setsockopt(level, option, value)
        with standard.socket(fileno=standard.dup(sock.fileno())) as witness:
            seen = witness.getsockopt(level, option)
            assert sock.getsockopt(level, option) == seen
            # The kernel doubles the sizes of buffers.
            assert seen == (value * 2 if name.endswith("BUF") else seen if value < 0 else value)


@pytest.mark.parametrize("value", [True, False, Number(), -1, 2**31 - 1, -(2**31)])
def test_integer_like_values(same, value):
    def change(socket):
        with socket.socket() as sock:
            sock.setsockopt(SOL_SOCKET, socket.SO_KEEPALIVE, value)
            return sock.getsockopt(SOL_SOCKET, socket.SO_KEEPALIVE)

    same.value(change)


@pytest.mark.parametrize(
    "value",
    [
        struct.pack("ii", 1, 7),
        bytearray(struct.pack("ii", 1, 7)),
        memoryview(struct.pack("ii", 1, 7)),
        memoryview(struct.pack("ii", 1, 7)).cast("i"),
    ],
)
def test_structures(same, value):
    def change(socket):
        with socket.socket() as sock:
            sock.setsockopt(SOL_SOCKET, socket.SO_LINGER, value)
            try:
                return sock.getsockopt(SOL_SOCKET, socket.SO_LINGER, 8)
            finally:
                sock.setsockopt(SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))

    assert same.value(change) == struct.pack("ii", 1, 7)


def test_strings(same):
    def change(socket):
        with socket.socket() as sock:
            sock.setsockopt(IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
            sock.setsockopt(SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
            return (
                sock.getsockopt(IPPROTO_TCP, socket.TCP_CONGESTION, 16),
                sock.getsockopt(SOL_SOCKET, socket.SO_BINDTODEVICE, 16),
            )

    assert same.value(change) == (b"reno".ljust(16, b"\0"), b"lo\0")


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 8, 104, 192, 256, 1023, 1024])
def test_lengths(same, length):
    def ask(socket):
        with socket.socket() as sock:
            info = sock.getsockopt(IPPROTO_TCP, socket.TCP_INFO, length)
            # The state, which is all that is the same in two sockets.
            first = info if isinstance(info, int) else info[:1]
            return first, sock.getsockopt(SOL_SOCKET, socket.SO_TYPE, length)

    same.value(ask)


@pytest.mark.parametrize("length", [-1, -(2**31), 1025, 2**31 - 1, 2**31, 2**64, 1.0, "4", None])
def test_bad_lengths(same, length):
    def ask(socket):
        with socket.socket() as sock:
            sock.getsockopt(SOL_SOCKET, socket.SO_TYPE, length)

    same.error(ask)


def test_none_with_a_length(same):
    def change(socket):
        with socket.socket() as sock:
            try:
                sock.setsockopt(SOL_SOCKET, socket.SO_BINDTODEVICE, None, 0)
            except OSError as error:
                return error
            return sock.getsockopt(SOL_SOCKET, socket.SO_BINDTODEVICE, 16)

    same.value(change)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (1,),
        (1, 2),
        (1, 2, None),
        (1, 2, None, -1),
        (1, 2, None, 2**32),
        (1, 2, 3, 4),
        (1, 2, b"", 4),
        (1, 2, 3, 4, 5),
        (1, 2, "text"),
        (1, 2, 1.5),
        (1, 2, 2**31),
        (1, 2, 2**40),
        (1, 2, 2**80),
        (1, 2, -(2**31) - 1),
        (1, 2, [1]),
        ("1", 2, 3),
        (1, None, 3),
        (2**31, 2, 3),
        (1, 2**63, 3),
        (1, 2, memoryview(b"12345678")[::2]),
        (1, 9999, 3),
        (9999, 1, 3),
        (1, 2, b""),
        (1, 2, b"1"),
        (1, 2, None, 8),
        (1, 2, None, "8"),
    ],
    ids=repr,
)
def test_bad_setsockopt(same, arguments):
    def change(socket):
        with socket.socket() as sock:
            sock.setsockopt(*arguments)

    same.error(change)


@pytest.mark.parametrize(
    "arguments",
    [(), (1,), (1, 2, 3, 4), ("1", 2), (1, 2.0), (2**31, 2), (1, -(2**40)), (9999, 1), (1, 9999)],
    ids=repr,
)
def test_bad_getsockopt(same, arguments):
    def ask(socket):
        with socket.socket() as sock:
            sock.getsockopt(*arguments)

    same.error(ask)


@pytest.mark.parametrize("membership", ["join", "twice", "leave without joining"])
def test_multicast(same, membership):
    group = standard.inet_aton("239.1.2.3") + standard.inet_aton("127.0.0.1")

    def change(socket):
        with socket.socket(AF_INET, SOCK_DGRAM) as sock:
            names = {
                "join": ["IP_ADD_MEMBERSHIP", "IP_DROP_MEMBERSHIP"],
                "twice": ["IP_ADD_MEMBERSHIP", "IP_ADD_MEMBERSHIP"],
                "leave without joining": ["IP_DROP_MEMBERSHIP"],
            }[membership]
            try:
                for name in names:
                    sock.setsockopt(IPPROTO_IP, getattr(socket, name), group)
            except OSError as error:
                return error
            return names

    same.value(change)
