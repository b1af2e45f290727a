"""recverr: what the network says of datagrams that were sent."""

import contextlib
import errno
import socket as standard
import struct
from socket import AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM

import pytest

import rsnet

# linux/in.h, linux/in6.h; Python has the names from 3.14 on.
IP_RECVERR, IPV6_RECVERR = 11, 25
SWITCH = {AF_INET: (standard.IPPROTO_IP, IP_RECVERR), AF_INET6: (41, IPV6_RECVERR)}
FAMILIES = [AF_INET, AF_INET6]
FROM_ICMP, FROM_ICMP6 = 2, 3


@pytest.fixture
def nobody(endpoint):
    """`nobody(family)`: an address that takes no datagrams, and that nobody gets meanwhile."""

    def make(family=AF_INET):
        holder = endpoint(standard, family)
        address = holder.getsockname()
        # Its peer is itself: what others send is not for it.
        holder.connect(address)
        return address

    return make


def asking(endpoint, family=AF_INET):
    sock = endpoint(rsnet, family)
    sock.setsockopt(*SWITCH[family], 1)
    return sock


@pytest.mark.parametrize("family", FAMILIES)
def test_every_field(endpoint, nobody, family):
    address = nobody(family)
    sock = asking(endpoint, family)
    sock.sendto(b"anybody?", address)
    (error,) = sock.recverr()
    assert type(error) is rsnet.QueuedError
    assert error.errno == errno.ECONNREFUSED
    # Port unreachable: RFC 792 and RFC 4443.
    if family == AF_INET:
        assert (error.origin, error.type, error.code) == (FROM_ICMP, 3, 3)
    else:
        assert (error.origin, error.type, error.code) == (FROM_ICMP6, 1, 4)
    assert error.info == 0
    assert error.offender[0] == address[0]
    assert error.destination == address
    assert error.data == b"anybody?"
    assert error.timestamp_ns is None
    # It has been taken.
    assert sock.recverr() == []


@pytest.mark.parametrize("family", FAMILIES)
def test_what_recvmsg_says(endpoint, nobody, family):
    """The same as the standard library's recvmsg with MSG_ERRQUEUE, parsed by linux/errqueue.h."""
    address = nobody(family)
    senders = [endpoint(standard, family), endpoint(rsnet, family)]
    for sock in senders:
        sock.setsockopt(*SWITCH[family], 1)
        sock.sendto(b"anybody?", address)
    data, ancillary, _, destination = senders[0].recvmsg(99, 999, standard.MSG_ERRQUEUE)
    ((level, kind, record),) = ancillary
    assert (level, kind) == SWITCH[family]
    number, origin, type, code, _, info, _ = struct.unpack_from("@IBBBBII", record)
    (error,) = senders[1].recverr()
    assert (error.errno, error.origin, error.type) == (number, origin, type)
    assert (error.code, error.info, error.data) == (code, info, data)
    assert error.destination == destination


def test_time(endpoint, nobody):
    sock = asking(endpoint)
    sock.metadata = True
    sock.sendto(b"x", nobody())
    (error,) = sock.recverr()
    # This century.
    assert error.timestamp_ns > 10**18


def test_none(endpoint):
    """Never blocks, whatever the socket's timeout."""
    for sock in (endpoint(rsnet), asking(endpoint)):
        for timeout in (None, 0, 60):
            sock.settimeout(timeout)
            assert sock.recverr() == []
            assert sock.recverr(1) == []


def test_nothing_is_queued_unless_asked_for(endpoint, nobody):
    sock = endpoint(rsnet)
    sock.sendto(b"x", nobody())
    assert sock.recverr() == []


def test_in_the_order_of_sending(endpoint, nobody):
    sock, addresses = asking(endpoint), [nobody() for _ in range(3)]
    messages = [(b"x" * (size + 1), addresses[size % 3]) for size in range(30)]
    sent = []
    while len(sent) < len(messages):
        try:
            sock.sendmmsg([messages[len(sent)]])
        except ConnectionRefusedError:
            # The error of one before it: this one has not gone.
            continue
        sent.append(messages[len(sent)])
    errors = sock.recverr()
    assert [(error.data, error.destination) for error in errors] == messages


@pytest.mark.parametrize("count", [0, 1, 5, 64])
def test_no_more_than_count(endpoint, nobody, count):
    sock, address = asking(endpoint), nobody()
    sent = 0
    while sent < 150:
        with contextlib.suppress(ConnectionRefusedError):
            sock.sendto(b"x", address)
            sent += 1
    assert len(sock.recverr(count)) == count
    # 64 unless told otherwise.
    assert len(sock.recverr()) == 64
    assert len(sock.recverr(10**9)) == 150 - count - 64


def test_long_payloads_are_cut(endpoint, nobody):
    sock = asking(endpoint)
    sock.sendto(bytes(range(250)) * 40, nobody())
    (error,) = sock.recverr()
    assert len(error.data) > 400
    assert (bytes(range(250)) * 40).startswith(error.data)


def test_datagrams_that_wait_are_left_alone(endpoint, nobody, received):
    sock = asking(endpoint)
    sock.sendto(b"left alone", sock.getsockname())
    sock.sendto(b"x", nobody())
    assert [error.data for error in sock.recverr()] == [b"x"]
    assert sock.recverr() == []
    assert [data for data, _ in received(sock, 1)] == [b"left alone"]


def test_streams(pair):
    client, server = pair(rsnet)
    server.sendall(b"left alone")
    client.setsockopt(*SWITCH[AF_INET], 1)
    assert client.recverr() == []
    assert client.recv(99) == b"left alone"


def test_mixed_with_a_batch(endpoint, nobody, received):
    """A closed port in the middle: the others' datagrams arrive, the error names the closed one."""
    receiver, sock, closed = endpoint(standard), asking(endpoint), nobody()
    order = [receiver.getsockname(), closed, receiver.getsockname(), receiver.getsockname()]
    messages = [(b"%d" % index, address) for index, address in enumerate(order)]
    assert sock.sendmmsg(messages) == 4
    assert [(error.data, error.destination) for error in sock.recverr()] == [(b"1", closed)]
    assert [data for data, _ in received(receiver, 3)] == [b"0", b"2", b"3"]


@pytest.mark.parametrize("count", [1, 2, 10])
def test_a_connected_peer_that_is_not_there(endpoint, nobody, count):
    """Each that is counted has gone, and the error is not lost: the call or the next one has it."""
    sock = asking(endpoint)
    sock.connect(nobody())
    errors, sent = 0, 0
    for _ in range(20):
        messages = [b"x" * (size + 1) for size in range(count)]
        try:
            sent += sock.sendmmsg(messages)
        except ConnectionRefusedError as error:
            errors += 1
            sent += error.messages_sent
    assert errors > 0
    assert len(sock.recverr(10_000)) == sent


@pytest.mark.parametrize("recverr", [False, True])
def test_recvmmsg_raises_what_waits_and_then_receives(endpoint, nobody, recverr):
    """As recvfrom() does: the error first, once, and the datagrams after it."""
    far, sock = endpoint(standard), endpoint(rsnet)
    if recverr:
        sock.setsockopt(*SWITCH[AF_INET], 1)
    sock.connect(far.getsockname())
    far.connect(sock.getsockname())
    far.send(b"before")
    far.close()
    assert sock.sendmmsg([b"x"]) == 1
    for receive in (
        lambda: sock.recvmmsg(9, 9),
        lambda: sock.recvmmsg_into(bytearray(90), 9, standard.MSG_PEEK),
    ):
        with pytest.raises(ConnectionRefusedError):
            receive()
        # Once.
        assert sock.recvmmsg(9, 9, 0, standard.MSG_PEEK)[0].data == b"before"
        sock.send(b"x")


def test_text(endpoint, nobody):
    address = nobody()
    sock = asking(endpoint)
    sock.sendto(b"x", address)
    (error,) = sock.recverr()
    assert repr(error) == (
        "<rsnet.QueuedError Connection refused: ICMP type 3 code 3 from ('127.0.0.1', 0), "
        f"sent to {address!r}>"
    )
    six = asking(endpoint, AF_INET6)
    six.sendto(b"x", nobody(AF_INET6))
    assert "ICMPv6 type 1 code 4 from ('::1'" in repr(six.recverr()[0])


def test_read_only(endpoint, nobody):
    sock = asking(endpoint)
    sock.sendto(b"x", nobody())
    (error,) = sock.recverr()
    for name in ("errno", "data", "more"):
        with pytest.raises(AttributeError):
            setattr(error, name, 1)
    with pytest.raises(TypeError):
        rsnet.QueuedError()
    with pytest.raises(TypeError):
        type("Derived", (rsnet.QueuedError,), {})
    assert rsnet.QueuedError.__module__ == "rsnet"


@pytest.mark.parametrize(
    ("count", "kind"),
    [
        (-1, ValueError),
        (-(1 << 63), ValueError),
        (1 << 63, OverflowError),
        (1.0, TypeError),
        ("1", TypeError),
        (None, TypeError),
    ],
)
def test_bad_counts(endpoint, nobody, count, kind):
    sock = asking(endpoint)
    sock.sendto(b"x", nobody())
    with pytest.raises(kind):
        sock.recverr(count)
    with pytest.raises(TypeError):
        sock.recverr(1, 2)
    with pytest.raises(TypeError):
        sock.recverr(more=1)
    assert len(sock.recverr(count=5)) == 1


def test_closed(endpoint):
    sock = endpoint(rsnet)
    sock.close()
    with pytest.raises(OSError) as caught:
        sock.recverr()
    assert caught.value.errno == errno.EBADF


def test_unix_sockets_queue_none(pair):
    for type in (SOCK_DGRAM, standard.SOCK_SEQPACKET, standard.SOCK_STREAM):
        near, _ = pair(rsnet, AF_UNIX, type)
        assert near.recverr() == []
