"""sendmmsg: what its doc string promises."""

import array
import errno
import os
import socket as standard
import struct
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    CMSG_LEN,
    CMSG_SPACE,
    MSG_CTRUNC,
    MSG_PEEK,
    SCM_RIGHTS,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOL_SOCKET,
)

import pytest

import rsnet

LOOPBACK = {AF_INET: "127.0.0.1", AF_INET6: "::1"}
FAMILIES = [AF_INET, AF_INET6]


# The forms of a message.


@pytest.mark.parametrize("family", FAMILIES)
def test_all_forms_mixed(endpoint, family, received):
    receiver, sender = endpoint(standard, family), endpoint(rsnet, family)
    sender.connect(receiver.getsockname())
    address = receiver.getsockname()
    messages = [
        b"bytes",
        bytearray(b"bytearray"),
        memoryview(b"-view-")[1:5],
        array.array("H", [1, 2]),
        (b"to", address),
        (bytearray(b"to its peer"), None),
        ([b"ga", bytearray(b"the"), memoryview(b"red")], [], address),
        (iter([b"by ", b"iterator"]), iter([]), None),
        ([], [], None),
        b"",
        (b"", address),
    ]
    payloads = [b"bytes", b"bytearray", b"view", array.array("H", [1, 2]).tobytes(), b"to"]
    payloads += [b"to its peer", b"gathered", b"by iterator", b"", b"", b""]
    assert sender.sendmmsg(messages) == len(messages)
    assert received(receiver, len(messages)) == [
        (payload, sender.getsockname()) for payload in payloads
    ]


@pytest.mark.parametrize("wrap", [list, tuple, iter, lambda items: (item for item in items)])
def test_any_iterable(endpoint, wrap, received):
    receiver, sender = endpoint(standard), endpoint(rsnet)
    sender.connect(receiver.getsockname())
    assert sender.sendmmsg(wrap([b"one", b"two"])) == 2
    assert [data for data, _ in received(receiver, 2)] == [b"one", b"two"]


def test_keywords(endpoint):
    sock = endpoint(rsnet)
    sock.connect(sock.getsockname())
    assert sock.sendmmsg(messages=[b"one", b"two"], flags=0) == 2
    (one,) = sock.recvmmsg(count=1, bufsize=10, ancbufsize=0, flags=MSG_PEEK, timeout=5)
    assert one.data == b"one"
    rows = bytearray(10)
    lengths, _ = sock.recvmmsg_into(buffer=rows, bufsize=5, flags=0, timeout=5)
    assert list(lengths) == [3, 3]
    assert rows == b"one\0\0two\0\0"


class Pair(tuple):
    """A tuple by inheritance."""


def test_subclasses_of_tuple_are_tuples(endpoint, received):
    receiver, sender = endpoint(standard), endpoint(rsnet)
    address = receiver.getsockname()
    assert sender.sendmmsg([Pair((b"one", address)), Pair(([b"t", b"wo"], [], address))]) == 2
    assert [data for data, _ in received(receiver, 2)] == [b"one", b"two"]


# Sizes.


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([100], id="one"),
        pytest.param([0], id="one, empty"),
        pytest.param([0] * 5, id="empty"),
        pytest.param([7, 0, 7, 7, 0, 0, 7], id="empty in between"),
        pytest.param([100] * 5, id="equal"),
        pytest.param([100] * 5 + [99], id="last shorter"),
        pytest.param([100] * 5 + [101], id="last longer"),
        pytest.param([100] * 5 + [0], id="last empty"),
        pytest.param([100, 99, 100, 99], id="up and down"),
        pytest.param(list(range(1, 60)), id="rising"),
        pytest.param(list(range(60, 0, -1)), id="falling"),
        pytest.param([50] * 64, id="64"),
        pytest.param([50] * 65, id="65"),
        pytest.param([50] * 129, id="129"),
        pytest.param([50] * 63 + [49] + [50] * 64 + [20], id="a run, a shorter one, a run"),
        pytest.param([1] * 200, id="one byte"),
        pytest.param([1_472] * 50, id="a usual MTU"),
        pytest.param([9_000] * 20, id="more than 64 KiB in all"),
        pytest.param([32_743, 32_743, 32_744, 32_744], id="half of the most"),
        pytest.param([65_487, 65_487], id="nearly the most"),
        pytest.param([65_507, 65_507], id="the most"),
    ],
)
def test_sizes(endpoint, family, sizes, received):
    """What arrives is what plain sendto() calls would have sent, each its own content."""
    receiver, sender = endpoint(standard, family), endpoint(rsnet, family)
    address = receiver.getsockname()
    payloads = [os.urandom(size) for size in sizes]
    assert sender.sendmmsg([(payload, address) for payload in payloads]) == len(sizes)
    assert received(receiver, len(sizes)) == [
        (payload, sender.getsockname()) for payload in payloads
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_connected(endpoint, family, received):
    receiver, sender = endpoint(standard, family), endpoint(rsnet, family)
    sender.connect(receiver.getsockname())
    payloads = [bytes([number]) * 300 for number in range(100)]
    assert sender.sendmmsg(payloads) == 100
    assert [data for data, _ in received(receiver, 100)] == payloads


@pytest.mark.parametrize("size_of", [lambda index: 40, lambda index: 40 + index % 7])
def test_more_than_the_kernel_takes_at_once(endpoint, size_of, received):
    """1,500 messages; 1,024 is the kernel's bound of one call."""
    receivers, sender = [endpoint(standard) for _ in range(15)], endpoint(rsnet)
    messages = [
        (struct.pack("=I", index) + bytes(size_of(index)), receivers[index // 100].getsockname())
        for index in range(1_500)
    ]
    assert sender.sendmmsg(messages) == 1_500
    arrived = [data for receiver in receivers for data, _ in received(receiver, 100)]
    assert arrived == [data for data, _ in messages]


def test_mixed_peers(endpoint, received):
    receivers, sender = [endpoint(standard) for _ in range(3)], endpoint(rsnet)
    # One after the other, two of each, and runs.
    order = [0, 1, 2] * 5 + [0, 0, 1, 1, 2, 2] + [0] * 20 + [1] * 20 + [2] * 20 + [0, 2, 1]
    messages = [
        (struct.pack("=I", index) * 9, receivers[peer].getsockname())
        for index, peer in enumerate(order)
    ]
    assert sender.sendmmsg(messages) == len(order)
    for peer, receiver in enumerate(receivers):
        mine = [messages[index][0] for index in range(len(order)) if order[index] == peer]
        assert [data for data, _ in received(receiver, len(mine))] == mine


def test_addresses_that_are_equal_but_not_one_object(endpoint, received):
    receiver, sender = endpoint(standard), endpoint(rsnet)
    assert sender.sendmmsg([(b"same", tuple(receiver.getsockname())) for _ in range(99)]) == 99
    assert len(received(receiver, 99)) == 99


def test_peers_of_a_dual_stack_socket(opened, endpoint, received):
    four, six = endpoint(standard), endpoint(standard, AF_INET6)
    dual = opened(rsnet.socket(AF_INET6, SOCK_DGRAM))
    dual.setsockopt(standard.IPPROTO_IPV6, standard.IPV6_V6ONLY, 0)
    dual.bind(("::", 0))
    dual.settimeout(5)
    mapped = (f"::ffff:{four.getsockname()[0]}", four.getsockname()[1])
    messages = [(b"six", six.getsockname()), (b"mapped", mapped)]
    messages += [(b"a run", mapped)] * 70 + [(b"a run", six.getsockname())] * 70
    assert dual.sendmmsg(messages) == len(messages)
    assert [data for data, _ in received(four, 71)] == [b"mapped"] + [b"a run"] * 70
    assert [data for data, _ in received(six, 71)] == [b"six"] + [b"a run"] * 70
    port = dual.getsockname()[1]
    four.setblocking(True)
    four.sendto(b"from 4", ("127.0.0.1", port))
    six.setblocking(True)
    six.sendto(b"from 6", ("::1", port))
    assert [tuple(datagram) for datagram in dual.recvmmsg(2, 100)] == [
        (b"from 4", (*mapped, 0, 0)),
        (b"from 6", six.getsockname()),
    ]


def test_hosts_are_looked_up_once_an_object(endpoint, received):
    receiver, sender = endpoint(standard), endpoint(rsnet)
    address = ("localhost", receiver.getsockname()[1])
    assert sender.sendmmsg([(b"by name", address)] * 3) == 3
    assert [data for data, _ in received(receiver, 3)] == [b"by name"] * 3


def test_to_itself_and_back_with_datagrams_as_buffers(endpoint):
    """A datagram is a buffer: it can be sent on as it is."""
    near, far = endpoint(rsnet), endpoint(rsnet)
    near.sendmmsg([(b"over", far.getsockname()), (b"and back", far.getsockname())])
    first, second = far.recvmmsg(2, 100)
    assert far.sendmmsg([(first, first.address), ([second, first], [], second.address)]) == 2
    assert far.sendto(second, near.getsockname()) == 8
    assert [datagram.data for datagram in near.recvmmsg(3, 100)] == [
        b"over",
        b"and backover",
        b"and back",
    ]


def test_no_messages(endpoint):
    sock = endpoint(rsnet)
    for nothing in ([], (), iter([]), {}, b"", ""):
        assert sock.sendmmsg(nothing) == 0
    sock.close()
    with pytest.raises(OSError) as caught:
        sock.sendmmsg([])
    assert caught.value.errno == errno.EBADF


# UNIX sockets.


@pytest.mark.parametrize("type", [SOCK_DGRAM, SOCK_SEQPACKET])
def test_unix_pairs(pair, type):
    near, far = pair(rsnet, AF_UNIX, type)
    payloads = [b"", b"x", bytes(5_000), b"y" * 300, b"y" * 300]
    if type == SOCK_SEQPACKET:
        # An empty packet would read as the end of the stream.
        payloads = payloads[1:]
    assert near.sendmmsg(payloads) == len(payloads)
    assert [datagram.data for datagram in far.recvmmsg(20, 9_000)] == payloads
    assert near.sendmmsg(payloads) == len(payloads)
    rows = bytearray(20 * 9_000)
    lengths, addresses = far.recvmmsg_into(rows, 9_000)
    assert list(lengths) == [len(payload) for payload in payloads]
    assert addresses == [None] * len(payloads)
    for index, payload in enumerate(payloads):
        assert rows[index * 9_000 :].startswith(payload)


@pytest.mark.parametrize("form", [os.fsencode, str])
def test_unix_names(opened, tmp_path, form):
    receivers = [opened(rsnet.socket(AF_UNIX, SOCK_DGRAM)) for _ in range(2)]
    for number, receiver in enumerate(receivers):
        receiver.bind(str(tmp_path / f"receiver-{number}"))
    # Of every length that there is room for.
    room = 107 - len(str(tmp_path)) - 1
    for length in (1, 2, 20, room):
        with rsnet.socket(AF_UNIX, SOCK_DGRAM) as sender:
            sender.bind(str(tmp_path / ("s" * length)))
            sender.sendmmsg([(b"hello", form(receiver.getsockname())) for receiver in receivers])
            for receiver in receivers:
                (datagram,) = receiver.recvmmsg(5, 50)
                assert tuple(datagram) == (b"hello", sender.getsockname())
                assert receiver.sendmmsg([(b"hi", datagram.address)]) == 1
                assert sender.recv(9) == b"hi"
    with rsnet.socket(AF_UNIX, SOCK_DGRAM) as unnamed:
        unnamed.sendto(b"x", receivers[0].getsockname())
        unnamed.sendto(b"x", receivers[0].getsockname())
        assert receivers[0].recvmmsg(1, 9)[0].address == receivers[0].recvfrom(9)[1]


@pytest.mark.parametrize("length", [26, 27, 50, 107])
def test_long_abstract_unix_names(opened, length):
    receiver, sender = (opened(rsnet.socket(AF_UNIX, SOCK_DGRAM)) for _ in range(2))
    receiver.bind("")
    name = b"\0" + os.urandom(8).hex().encode().ljust(length, b"-")
    sender.bind(name)
    sender.sendto(b"x", receiver.getsockname())
    assert receiver.recvmmsg(1, 9)[0].address == name


@pytest.mark.parametrize("type", [SOCK_DGRAM, SOCK_SEQPACKET])
def test_descriptors_travel(pair, type):
    near, far = pair(rsnet, AF_UNIX, type)
    ends = [os.pipe() for _ in range(2)]
    rights = [[(SOL_SOCKET, SCM_RIGHTS, array.array("i", [reader]))] for reader, _ in ends]
    messages = [([b"first"], rights[0], None), b"none", ([b"second"], rights[1], None)]
    assert near.sendmmsg(messages) == 3
    datagrams = far.recvmmsg(5, 100, CMSG_SPACE(4))
    assert [datagram.data for datagram in datagrams] == [b"first", b"none", b"second"]
    assert datagrams[1].ancdata == []
    for datagram, (reader, writer) in zip(datagrams[::2], ends, strict=True):
        assert datagram.flags & MSG_CTRUNC == 0
        ((level, kind, data),) = datagram.ancdata
        assert (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
        (copy,) = array.array("i", data)
        assert copy != reader
        assert os.path.sameopenfile(copy, reader)
        # Nobody made new ones by looking twice.
        assert datagram.ancdata == [(level, kind, data)]
        for descriptor in (copy, reader, writer):
            os.close(descriptor)


def test_descriptors_without_room_are_not_received(pair, received):
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    rights = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    near.sendmmsg([([b"x"], rights, None)] * 2)
    before = os.listdir("/proc/self/fd")
    for datagram in far.recvmmsg(2, 9):
        assert (datagram.flags, datagram.ancdata) == (MSG_CTRUNC, [])
    assert os.listdir("/proc/self/fd") == before


def test_descriptors_with_room_for_some(pair):
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    near.sendmmsg([([b"x"], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [0, 1, 2]))], None)])
    before = len(os.listdir("/proc/self/fd"))
    (datagram,) = far.recvmmsg(1, 9, CMSG_LEN(4))
    assert datagram.flags & MSG_CTRUNC
    ((_, _, data),) = datagram.ancdata
    told = array.array("i", data[: len(data) // 4 * 4])
    # Each that was opened is told of.
    assert len(os.listdir("/proc/self/fd")) == before + len(told)
    for number in told:
        os.close(number)


# What stops a batch.


@pytest.mark.parametrize("index", [0, 1, 3, 70, 200])
@pytest.mark.parametrize("size_of", [lambda index: 60, lambda index: 60 + index % 3])
def test_too_large_names_the_index(endpoint, index, size_of, received):
    """Over 64 KiB: EMSGSIZE; those before it are sent, those behind it are not."""
    receiver, sender = endpoint(standard), endpoint(rsnet)
    sender.connect(receiver.getsockname())
    payloads = [bytes(size_of(each)) for each in range(index)]
    with pytest.raises(OSError) as caught:
        sender.sendmmsg([*payloads, bytes(65_508), b"not sent"])
    error = caught.value
    assert (error.errno, error.messages_sent) == (errno.EMSGSIZE, index)
    (note,) = error.__notes__
    assert f"{index} of {index + 2} messages were sent" in note
    assert "65508 bytes" in note
    assert [data for data, _ in received(receiver, index)] == payloads
    # The socket is as good as before.
    receiver.settimeout(5)
    assert sender.sendmmsg([b"again", b"again"]) == 2
    assert receiver.recv(9) == b"again"


@pytest.mark.parametrize("count", [1, 2, 70])
def test_all_too_large(endpoint, count, received):
    receiver, sender = endpoint(standard), endpoint(rsnet)
    for size in (65_508, 65_536, 1 << 20):
        with pytest.raises(OSError) as caught:
            sender.sendmmsg([(bytes(size), receiver.getsockname())] * count)
        assert (caught.value.errno, caught.value.messages_sent) == (errno.EMSGSIZE, 0)
    received(receiver, 0)


def test_too_large_on_ipv6(endpoint, received):
    receiver, sender = endpoint(standard, AF_INET6), endpoint(rsnet, AF_INET6)
    sender.connect(receiver.getsockname())
    with pytest.raises(OSError) as caught:
        sender.sendmmsg([bytes(65_527), bytes(65_528)])
    assert (caught.value.errno, caught.value.messages_sent) == (errno.EMSGSIZE, 1)
    assert [len(data) for data, _ in received(receiver, 1)] == [65_527]


def test_too_large_for_a_unix_socket(pair):
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    with pytest.raises(OSError) as caught:
        near.sendmmsg([b"one", b"two", bytes(1 << 24), b"three"])
    assert (caught.value.errno, caught.value.messages_sent) == (errno.EMSGSIZE, 2)
    assert [datagram.data for datagram in far.recvmmsg(9, 9)] == [b"one", b"two"]


def test_too_many_parts(endpoint, received):
    receiver, sender = endpoint(standard), endpoint(rsnet)
    sender.connect(receiver.getsockname())
    assert sender.sendmmsg([([b"x"] * 1_024, [], None), ([b"y"] * 1_024, [], None)]) == 2
    with pytest.raises(OSError) as caught:
        sender.sendmmsg([b"before", ([b"x"] * 1_025, [], None), b"after"])
    assert (caught.value.errno, caught.value.messages_sent) == (errno.EMSGSIZE, 1)
    assert [data for data, _ in received(receiver, 3)] == [b"x" * 1_024, b"y" * 1_024, b"before"]


@pytest.mark.parametrize("count", [1, 2])
def test_nowhere_to_send(endpoint, count):
    sender = endpoint(rsnet)
    for messages in ([b"x"] * count, [(b"x", None)] * count, [([b"x"], [], None)] * count):
        with pytest.raises(OSError) as caught:
            sender.sendmmsg(messages)
        assert (caught.value.errno, caught.value.messages_sent) == (errno.EDESTADDRREQ, 0)


def test_an_error_in_the_middle(endpoint, received):
    """Port 0 is nobody's: EINVAL, the error that refused segments have as well."""
    receiver, sender = endpoint(standard), endpoint(rsnet)
    address = receiver.getsockname()
    for nobody in ([(b"x", ("127.0.0.1", 0))], [(b"x", ("127.0.0.1", 0))] * 3):
        with pytest.raises(OSError) as caught:
            sender.sendmmsg([(b"x", address)] * 3 + nobody + [(b"x", address)] * 3)
        assert (caught.value.errno, caught.value.messages_sent) == (errno.EINVAL, 3)
    assert len(received(receiver, 6)) == 6


def test_a_control_message_that_the_kernel_refuses(endpoint, received):
    receiver, sender = endpoint(standard), endpoint(rsnet)
    sender.connect(receiver.getsockname())
    bad = ([b"x"], [(standard.IPPROTO_IP, 9_999, b"1234")], None)
    for messages, sent in (([bad], 0), ([b"x", b"x", bad, b"x"], 2)):
        with pytest.raises(OSError) as caught:
            sender.sendmmsg(messages)
        assert (caught.value.errno, caught.value.messages_sent) == (errno.EINVAL, sent)
    assert len(received(receiver, 2)) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_a_peer_that_has_gone(pair, count):
    near, far = pair(rsnet, AF_UNIX, SOCK_DGRAM)
    far.close()
    with pytest.raises(ConnectionRefusedError) as caught:
        near.sendmmsg([b"x"] * count)
    assert caught.value.messages_sent == 0


@pytest.mark.parametrize("family", [AF_INET, AF_UNIX])
@pytest.mark.parametrize(
    "call",
    [
        lambda sock: sock.sendmmsg([b"x"]),
        lambda sock: sock.sendmmsg([]),
        lambda sock: sock.recvmmsg(1, 1),
        lambda sock: sock.recvmmsg(0, 1),
        lambda sock: sock.recvmmsg_into(bytearray(1)),
    ],
)
def test_streams_have_no_messages(pair, family, call):
    near, far = pair(rsnet, family)
    far.sendall(b"untouched")
    with pytest.raises(OSError) as caught:
        call(near)
    assert caught.value.errno == errno.EOPNOTSUPP
    assert near.recv(99) == b"untouched"
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(1)


@pytest.mark.parametrize(
    "call",
    [
        lambda sock: sock.sendmmsg([b"x"]),
        lambda sock: sock.sendmmsg([b"x", b"y"]),
        lambda sock: sock.recvmmsg(1, 1),
        lambda sock: sock.recvmmsg(0, 0),
        lambda sock: sock.recvmmsg_into(bytearray(1)),
        lambda sock: sock.recvmmsg_into(bytearray(0)),
        lambda sock: setattr(sock, "gro", True),
        lambda sock: setattr(sock, "metadata", True),
    ],
)
def test_closed(endpoint, call):
    sock = endpoint(rsnet)
    sock.close()
    with pytest.raises(OSError) as caught:
        call(sock)
    assert caught.value.errno == errno.EBADF
