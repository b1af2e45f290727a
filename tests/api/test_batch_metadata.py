"""gro and metadata: joined datagrams taken apart, and what is known of each."""

import errno
import os
import socket as standard
import struct
import time
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    MSG_PEEK,
    MSG_TRUNC,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
)

import pytest

import rsnet

LOOPBACK = {AF_INET: "127.0.0.1", AF_INET6: "::1"}
FAMILIES = [AF_INET, AF_INET6]


# gro.


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([100] * 5, id="equal"),
        pytest.param([100] * 5 + [7], id="last shorter"),
        pytest.param([100] * 5 + [101], id="last longer"),
        pytest.param([0, 5, 5, 0, 0, 5], id="empty in between"),
        pytest.param([1_400] * 40, id="40 of 1,400"),
        pytest.param([1] * 200, id="200 of 1"),
        pytest.param([20_000] * 5, id="large"),
        pytest.param([65_507], id="the most"),
    ],
)
def test_joined_datagrams_are_taken_apart(endpoint, family, sizes):
    receiver, sender = endpoint(rsnet, family), endpoint(rsnet, family)
    receiver.gro = True
    payloads = [os.urandom(size) for size in sizes]
    sender.sendmmsg([(payload, receiver.getsockname()) for payload in payloads])
    datagrams = []
    while len(datagrams) < len(sizes):
        datagrams += receiver.recvmmsg(64, 65_507)
    assert [tuple(datagram) for datagram in datagrams] == [
        (payload, sender.getsockname()) for payload in payloads
    ]
    assert all(datagram.flags == 0 for datagram in datagrams)


def test_joined_datagrams_do_come(endpoint):
    """On loopback the kernel joins what went as segments: else nothing above is proved."""
    receiver, sender = endpoint(rsnet), endpoint(rsnet)
    receiver.gro = True
    sender.sendmmsg([(b"x" * 100, receiver.getsockname())] * 10)
    assert len(receiver.recv(65_536)) == 1_000


def test_no_fewer_than_count_and_the_rest_of_the_last(endpoint):
    """The list may be longer than count by what the last one held; nothing is lost."""
    receiver, sender = endpoint(rsnet), endpoint(rsnet)
    receiver.gro = True
    sender.sendmmsg([(bytes([number]) * 50, receiver.getsockname()) for number in range(60)])
    sender.sendmmsg([(bytes([number]) * 50, receiver.getsockname()) for number in range(60, 120)])
    first = receiver.recvmmsg(1, 100)
    assert [datagram.data[0] for datagram in first] == list(range(60))
    assert [datagram.data[0] for datagram in receiver.recvmmsg(99, 100)] == list(range(60, 120))


def test_joined_datagrams_are_cut_each(endpoint):
    receiver, sender = endpoint(rsnet), endpoint(rsnet)
    receiver.gro = True
    sender.sendmmsg(
        [(b"0123456789", receiver.getsockname())] * 4 + [(b"012", receiver.getsockname())]
    )
    sender.sendmmsg([(b"alone, and too long", receiver.getsockname())])
    datagrams = receiver.recvmmsg(9, 5)
    assert [datagram.data for datagram in datagrams] == [b"01234"] * 4 + [b"012", b"alone"]
    assert [datagram.flags for datagram in datagrams] == [MSG_TRUNC] * 4 + [0, MSG_TRUNC]


def test_joined_datagrams_have_metadata_each(endpoint):
    receiver, sender = endpoint(rsnet), endpoint(rsnet)
    receiver.gro = receiver.metadata = True
    sender.sendmmsg([(b"x" * 50, receiver.getsockname())] * 4)
    datagrams = receiver.recvmmsg(9, 100)
    assert len(datagrams) == 4
    for datagram in datagrams:
        assert (datagram.destination, datagram.ttl, datagram.tos) == ("127.0.0.1", 64, 0)
        assert datagram.timestamp_ns == datagrams[0].timestamp_ns


def test_gro_is_refused_where_rows_would_be_wrong(endpoint):
    sock = endpoint(rsnet)
    sock.gro = True
    sock.sendto(b"left alone", sock.getsockname())
    with pytest.raises(ValueError, match="gro = False"):
        sock.recvmmsg_into(bytearray(100), 10)
    sock.gro = False
    lengths, _ = sock.recvmmsg_into(bytearray(100), 50)
    assert lengths.tolist() == [10]


class Undecided:
    def __bool__(self):
        raise LookupError


@pytest.mark.parametrize("name", ["gro", "metadata"])
def test_switches(endpoint, name):
    sock = endpoint(rsnet)
    assert getattr(sock, name) is False
    for value in (True, True, False, False, True):
        setattr(sock, name, value)
        assert getattr(sock, name) is value
    # Whatever is true or not, as with setblocking().
    for value in (0, 1, "", "yes", None):
        setattr(sock, name, value)
        assert getattr(sock, name) is bool(value)
    setattr(sock, name, True)
    with pytest.raises(LookupError):
        setattr(sock, name, Undecided())
    assert getattr(sock, name) is True
    with pytest.raises((AttributeError, TypeError)):
        delattr(sock, name)


def test_gro_off_again(endpoint, received):
    receiver, sender = endpoint(rsnet), endpoint(rsnet)
    receiver.gro = True
    receiver.gro = False
    sender.sendmmsg([(b"x" * 100, receiver.getsockname())] * 10)
    assert len(received(receiver, 10)) == 10


def test_gro_where_there_is_none(pair):
    for family, type in ((AF_INET, SOCK_STREAM), (AF_UNIX, SOCK_DGRAM), (AF_UNIX, SOCK_STREAM)):
        for sock in pair(rsnet, family, type):
            with pytest.raises(OSError) as caught:
                sock.gro = True
            assert caught.value.errno in (errno.ENOPROTOOPT, errno.EOPNOTSUPP)
            assert sock.gro is False


# metadata.

# linux/in.h and linux/in6.h; not all of them are among Python's names.
IP_TOS, IP_TTL, IP_PKTINFO = standard.IP_TOS, standard.IP_TTL, 8
FIELDS = ("timestamp_ns", "destination", "interface_index", "ttl", "tos", "ecn")


def parsed(ancdata):
    """The fields, by the control messages that recvmsg() gives."""
    fields = dict.fromkeys(FIELDS)
    for level, kind, data in ancdata:
        if (level, kind) == (SOL_SOCKET, 35):
            seconds, nanoseconds = struct.unpack("@ll", data)
            fields["timestamp_ns"] = seconds * 10**9 + nanoseconds
        elif (level, kind) == (standard.IPPROTO_IP, IP_PKTINFO):
            fields["interface_index"] = struct.unpack("@i", data[:4])[0]
            fields["destination"] = standard.inet_ntop(AF_INET, data[8:12])
        elif (level, kind) == (standard.IPPROTO_IPV6, standard.IPV6_PKTINFO):
            fields["destination"] = standard.inet_ntop(AF_INET6, data[:16])
            fields["interface_index"] = struct.unpack("@I", data[16:20])[0]
        elif (level, kind) in (
            (standard.IPPROTO_IP, IP_TTL),
            (standard.IPPROTO_IPV6, standard.IPV6_HOPLIMIT),
        ):
            fields["ttl"] = struct.unpack("@i", data)[0]
        elif (level, kind) == (standard.IPPROTO_IP, IP_TOS):
            fields["tos"] = data[0]
        elif (level, kind) == (standard.IPPROTO_IPV6, standard.IPV6_TCLASS):
            fields["tos"] = struct.unpack("@i", data)[0]
        else:
            raise AssertionError((level, kind, data))
    fields["ecn"] = fields["tos"] & 3 if fields["tos"] is not None else None
    return fields


def mark(sock, ttl, tos):
    if sock.family == AF_INET:
        sock.setsockopt(standard.IPPROTO_IP, IP_TTL, ttl)
        sock.setsockopt(standard.IPPROTO_IP, IP_TOS, tos)
    else:
        sock.setsockopt(standard.IPPROTO_IPV6, standard.IPV6_UNICAST_HOPS, ttl)
        sock.setsockopt(standard.IPPROTO_IPV6, standard.IPV6_TCLASS, tos)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("ttl", "tos"), [(64, 0), (1, 0xB8), (255, 0x01), (7, 0xFE), (128, 0x03)])
def test_metadata_is_what_the_control_messages_say(endpoint, family, ttl, tos):
    receiver, sender = endpoint(rsnet, family), endpoint(standard, family)
    receiver.metadata = True
    mark(sender, ttl, tos)
    before = time.time_ns()
    sender.sendto(b"x", receiver.getsockname())
    sender.sendto(b"x", receiver.getsockname())
    after = time.time_ns()
    _, peeked, _, _ = receiver.recvmsg(9, 1_000, MSG_PEEK)
    first, second = receiver.recvmmsg(2, 9)
    assert {name: getattr(first, name) for name in FIELDS} == parsed(peeked)
    assert (first.destination, first.ttl, first.tos) == (LOOPBACK[family], ttl, tos)
    assert first.ecn == tos & 3
    assert standard.if_indextoname(first.interface_index) == "lo"
    # The clock of the kernel's stamps and Python's are the same, but read a little differently.
    assert before - 10**7 <= first.timestamp_ns <= second.timestamp_ns <= after + 10**7
    # The room for them is not the caller's.
    assert first.ancdata == []


@pytest.mark.parametrize("family", FAMILIES)
def test_metadata_and_control_messages(endpoint, family):
    receiver, sender = endpoint(rsnet, family), endpoint(standard, family)
    receiver.metadata = True
    sender.sendto(b"x", receiver.getsockname())
    _, peeked, _, _ = receiver.recvmsg(9, 1_000, MSG_PEEK)
    (datagram,) = receiver.recvmmsg(1, 9, 1_000)
    assert datagram.ancdata == peeked
    assert {name: getattr(datagram, name) for name in FIELDS} == parsed(peeked)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_metadata_unless_asked_for(endpoint, family):
    receiver, sender = endpoint(rsnet, family), endpoint(rsnet, family)
    for on in (False, True, False):
        receiver.metadata = on
        sender.sendmmsg([(b"x", receiver.getsockname())] * 2)
        for datagram in receiver.recvmmsg(2, 9):
            missing = [getattr(datagram, name) is None for name in FIELDS]
            assert missing == [not on] * len(FIELDS)


def test_control_messages_that_somebody_else_asked_for(endpoint):
    """Without `metadata`: as recvmsg() gives them, and the fields as well, as far as they go."""
    receiver, sender = endpoint(rsnet), endpoint(rsnet)
    receiver.setsockopt(standard.IPPROTO_IP, 12, 1)  # IP_RECVTTL
    sender.sendto(b"x", receiver.getsockname())
    _, peeked, _, _ = receiver.recvmsg(9, 100, MSG_PEEK)
    (datagram,) = receiver.recvmmsg(1, 9, 100)
    assert datagram.ancdata == peeked == [(standard.IPPROTO_IP, IP_TTL, struct.pack("@i", 64))]


def test_metadata_where_there_is_none(pair):
    for type in (SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM):
        for sock in pair(rsnet, AF_UNIX, type):
            with pytest.raises(OSError) as caught:
                sock.metadata = True
            assert caught.value.errno == errno.EOPNOTSUPP
            assert sock.metadata is False


def test_metadata_of_a_duplicate(endpoint, opened):
    """The options are the open file's."""
    sock = endpoint(rsnet)
    duplicate = opened(sock.dup())
    sock.metadata = True
    assert duplicate.metadata is True
    duplicate.sendto(b"x", sock.getsockname())
    assert duplicate.recvmmsg(1, 9)[0].destination == "127.0.0.1"
    duplicate.metadata = False
    assert sock.metadata is False


def test_metadata_by_message(endpoint):
    """Control data that sendmmsg() is given for one message is that message's alone."""
    receiver, sender = endpoint(rsnet), endpoint(rsnet)
    receiver.metadata = True
    sender.connect(receiver.getsockname())
    marks = [
        [(standard.IPPROTO_IP, IP_TOS, struct.pack("@i", 0x12))],
        [],
        [(standard.IPPROTO_IP, IP_TTL, struct.pack("@i", 7))],
    ]
    messages = [([b"x" * 50], control, None) for control in marks]
    assert sender.sendmmsg([b"x" * 50, *messages, b"x" * 50]) == 5
    datagrams = receiver.recvmmsg(9, 100)
    assert [(datagram.ttl, datagram.tos) for datagram in datagrams] == [
        (64, 0),
        (64, 0x12),
        (64, 0),
        (7, 0),
        (64, 0),
    ]
