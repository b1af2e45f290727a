"""recvmmsg and recvmmsg_into: what their doc strings promise."""

import array
import errno
import os
import socket as standard
import struct
import time
from socket import (
    AF_INET,
    AF_INET6,
    MSG_DONTWAIT,
    MSG_PEEK,
    MSG_TRUNC,
)

import pytest

import rsnet

LOOPBACK = {AF_INET: "127.0.0.1", AF_INET6: "::1"}
FAMILIES = [AF_INET, AF_INET6]


# recvmmsg.


@pytest.mark.parametrize("family", FAMILIES)
def test_datagrams_and_their_senders(endpoint, family):
    receiver, senders = endpoint(rsnet, family), [endpoint(standard, family) for _ in range(3)]
    expected = []
    for number in range(30):
        sender = senders[number % 3]
        sender.sendto(b"x" * number, receiver.getsockname())
        expected.append((b"x" * number, sender.getsockname()))
    datagrams = receiver.recvmmsg(64, 100)
    assert type(datagrams) is list
    assert [type(datagram) for datagram in datagrams] == [rsnet.Datagram] * 30
    assert [(datagram.data, datagram.address) for datagram in datagrams] == expected
    assert all(datagram.flags == 0 for datagram in datagrams)


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 200])
def test_no_more_than_count(endpoint, count):
    """What is not asked for stays; more than the kernel is asked for at once comes all the same."""
    sock = endpoint(rsnet)
    payloads = [struct.pack("=I", number) for number in range(220)]
    sock.sendmmsg([(payload, sock.getsockname()) for payload in payloads])
    assert [datagram.data for datagram in sock.recvmmsg(count, 9)] == payloads[:count]
    assert [datagram.data for datagram in sock.recvmmsg(999, 9)] == payloads[count:]


def test_no_count(endpoint, received):
    sock = endpoint(rsnet)
    sock.sendto(b"left alone", sock.getsockname())
    assert sock.recvmmsg(0, 100) == []
    assert sock.recvmmsg(0, 0, 0, 0, timeout=0) == []
    lengths, addresses = sock.recvmmsg_into(bytearray())
    assert (list(lengths), addresses) == ([], [])
    assert len(received(sock, 1)) == 1


@pytest.mark.parametrize("bufsize", [0, 1, 5, 6, 7])
def test_cut(endpoint, bufsize):
    """What is longer than bufsize is cut and says so; what fits does not."""
    sock = endpoint(rsnet)
    sock.sendmmsg([(b"123456", sock.getsockname()), (b"", sock.getsockname())])
    cut, empty = sock.recvmmsg(5, bufsize)
    assert (cut.data, cut.nbytes) == (b"123456"[:bufsize], min(bufsize, 6))
    assert cut.flags == (MSG_TRUNC if bufsize < 6 else 0)
    assert (empty.data, empty.flags) == (b"", 0)


def test_the_flag_that_asks_for_the_length(endpoint):
    """MSG_TRUNC given: the payload is what there was room for; lengths tell what there was."""
    sock = endpoint(rsnet)
    sock.sendmmsg([(b"123456", sock.getsockname())] * 2)
    (datagram,) = sock.recvmmsg(1, 4, 0, MSG_TRUNC)
    assert (datagram.data, datagram.flags) == (b"1234", MSG_TRUNC)
    rows = bytearray(4)
    lengths, _ = sock.recvmmsg_into(rows, 4, MSG_TRUNC)
    assert (list(lengths), rows) == ([6], b"1234")


def test_peek(endpoint, received):
    """A look shows the first datagram, once; the kernel would show it as often as it is asked."""
    sock = endpoint(rsnet)
    sock.sendmmsg([(b"still", sock.getsockname()), (b"there", sock.getsockname())])
    for count in (1, 5, 10**9):
        assert [datagram.data for datagram in sock.recvmmsg(count, 9, 0, MSG_PEEK)] == [b"still"]
    assert sock.recvmmsg_into(bytearray(100), 10, MSG_PEEK)[0].tolist() == [5]
    assert [data for data, _ in received(sock, 2)] == [b"still", b"there"]


def test_largest(endpoint):
    sock = endpoint(rsnet)
    payload = os.urandom(65_507)
    sock.sendto(payload, sock.getsockname())
    sock.sendto(payload, sock.getsockname())
    assert [datagram.data for datagram in sock.recvmmsg(4, 65_507)] == [payload] * 2
    sock.sendto(payload, sock.getsockname())
    # Room far beyond what any datagram has.
    assert sock.recvmmsg(1, 1 << 24)[0].data == payload


def test_memory_of_an_earlier_call_does_not_show(endpoint):
    sock = endpoint(rsnet)
    sock.sendto(b"secret" * 100, sock.getsockname())
    assert sock.recvmmsg(8, 1_000)[0].nbytes == 600
    sock.sendto(b"x", sock.getsockname())
    (datagram,) = sock.recvmmsg(8, 1_000)
    assert memoryview(datagram).tobytes() == b"x"


def test_results_outlive_the_next_call(endpoint):
    sock = endpoint(rsnet)
    kept = []
    for number in range(50):
        sock.sendto(bytes([number]) * 99, sock.getsockname())
        kept += sock.recvmmsg(8, 1_000)
    assert [datagram.data for datagram in kept] == [bytes([number]) * 99 for number in range(50)]


# Timeouts.


def refuses_in(seconds, call, kind):
    before = time.monotonic()
    with pytest.raises(kind) as caught:
        call()
    assert seconds <= time.monotonic() - before < seconds + 5
    return caught.value


RECEIVING = {
    "recvmmsg": lambda sock, **given: sock.recvmmsg(4, 100, **given),
    "recvmmsg_into": lambda sock, **given: sock.recvmmsg_into(bytearray(400), 100, **given),
}


@pytest.fixture(params=list(RECEIVING))
def receive(request):
    return RECEIVING[request.param]


def test_the_sockets_timeout(endpoint, receive):
    sock = endpoint(rsnet)
    sock.settimeout(0.05)
    assert refuses_in(0.05, lambda: receive(sock), TimeoutError).args == ("timed out",)
    sock.settimeout(0)
    assert refuses_in(0, lambda: receive(sock), BlockingIOError).errno == errno.EAGAIN


@pytest.mark.parametrize("own", [None, 0, 1e-9, 30])
def test_a_timeout_of_its_own(endpoint, receive, own):
    """Goes before the socket's, whichever that is, and leaves it as it was."""
    sock = endpoint(rsnet)
    sock.settimeout(own)
    assert refuses_in(0.05, lambda: receive(sock, timeout=0.05), TimeoutError).errno is None
    assert refuses_in(0, lambda: receive(sock, timeout=0), BlockingIOError).errno == errno.EAGAIN
    assert refuses_in(0, lambda: receive(sock, timeout=1e-9), TimeoutError).errno is None
    assert sock.gettimeout() == own


@pytest.mark.parametrize("own", [None, 0, 1e-9, 30])
@pytest.mark.parametrize("given", [{}, {"timeout": None}, {"timeout": 30}, {"timeout": 1e9}])
def test_waiting_for_the_first(endpoint, in_thread, receive, own, given):
    if own in (0, 1e-9) and not given:
        own = 30
    sock = endpoint(rsnet)
    sock.settimeout(own)
    waiting = in_thread(lambda: receive(sock, **given))
    waiting.until_blocked()
    sock.sendto(b"at last", sock.getsockname())
    # The others are not waited for.
    result = waiting.result()
    assert len(result) == 1 or list(result[0]) == [7]


def test_only_the_first_is_waited_for(endpoint, receive):
    sock = endpoint(rsnet)
    sock.settimeout(None)
    sock.sendto(b"one", sock.getsockname())
    receive(sock)
    sock.settimeout(60)
    sock.sendto(b"one", sock.getsockname())
    before = time.monotonic()
    receive(sock)
    assert time.monotonic() - before < 30


def test_the_flag_that_does_not_wait(endpoint, receive):
    sock = endpoint(rsnet)
    sock.settimeout(None)
    assert refuses_in(0, lambda: receive(sock, flags=MSG_DONTWAIT), BlockingIOError)
    sock.sendto(b"one", sock.getsockname())
    receive(sock, flags=MSG_DONTWAIT)


# recvmmsg_into.


@pytest.mark.parametrize(
    ("buffer", "bufsize", "rows", "row_bytes"),
    [
        (bytearray(12), 4, 3, 4),
        (bytearray(12), 0, 1, 12),
        (bytearray(13), 4, 3, 4),
        (bytearray(12), 12, 1, 12),
        (bytearray(3), 1, 3, 1),
        (memoryview(bytearray(12)).cast("B", (3, 4)), 0, 3, 4),
        (memoryview(bytearray(12)).cast("B", (2, 6)), 4, 3, 4),
        (memoryview(bytearray(12)).cast("B", (2, 3, 2)), 0, 2, 6),
        (memoryview(bytearray(48)).cast("I", (3, 4)), 0, 3, 16),
        (memoryview(array.array("I", bytes(12))), 0, 1, 12),
        (memoryview(array.array("I", bytes(12))), 4, 3, 4),
        (memoryview(bytearray(20))[4:16], 4, 3, 4),
    ],
)
def test_rows(endpoint, buffer, bufsize, rows, row_bytes, received):
    """A buffer's own rows, or those of bufsize; what is over at the end is not used."""
    sock = endpoint(rsnet)
    flat = memoryview(buffer).cast("B") if isinstance(buffer, bytearray) else buffer
    flat = flat.cast("B") if flat.format != "B" or flat.ndim > 1 else flat
    flat[:] = b"." * flat.nbytes
    payloads = [b"a" * row_bytes, b"", b"cc", b"dd"][:4]
    sock.sendmmsg([(payload, sock.getsockname()) for payload in payloads])
    lengths, addresses = sock.recvmmsg_into(buffer, bufsize)
    expected = [min(len(payload), row_bytes) for payload in payloads[:rows]]
    assert list(lengths) == expected
    assert addresses == [sock.getsockname()] * rows
    image = b"".join(
        payload[:row_bytes].ljust(row_bytes, b".") for payload in payloads[:rows]
    ).ljust(flat.nbytes, b".")
    assert bytes(flat) == image
    assert len(received(sock, 4 - rows)) == 4 - rows


def test_lengths_are_a_column(endpoint):
    sock = endpoint(rsnet)
    sock.sendmmsg([(bytes(size), sock.getsockname()) for size in (3, 0, 300)])
    lengths, addresses = sock.recvmmsg_into(bytearray(5 * 1_000), 1_000)
    assert type(lengths) is memoryview
    assert (lengths.format, lengths.itemsize, lengths.shape) == ("I", 4, (3,))
    assert lengths.tolist() == [3, 0, 300]
    assert type(addresses) is list
    assert len(addresses) == len(lengths) == 3
    # They are ours for good.
    sock.sendmmsg([(b"other", sock.getsockname())])
    sock.recvmmsg_into(bytearray(1_000))
    assert lengths.tolist() == [3, 0, 300]


def test_a_row_too_short(endpoint):
    sock = endpoint(rsnet)
    sock.sendmmsg([(b"123456", sock.getsockname()), (b"78", sock.getsockname())])
    rows = bytearray(b"." * 12)
    lengths, _ = sock.recvmmsg_into(rows, 4)
    assert (lengths.tolist(), rows) == ([4, 2], b"123478......")


@pytest.mark.parametrize(
    ("buffer", "bufsize", "kind"),
    [
        (b"read-only", 0, BufferError),
        (memoryview(b"read-only"), 0, BufferError),
        (memoryview(bytearray(8))[::2], 0, BufferError),
        (memoryview(bytearray(8))[::-1], 0, BufferError),
        (bytearray(4), 5, ValueError),
        (bytearray(4), (1 << 63) - 1, ValueError),
        (bytearray(), 1, ValueError),
        ("text", 0, TypeError),
        (None, 0, TypeError),
        ([bytearray(4)], 0, TypeError),
    ],
)
def test_buffers_in_error(endpoint, buffer, bufsize, kind, received):
    sock = endpoint(rsnet)
    sock.sendto(b"left alone", sock.getsockname())
    with pytest.raises(kind):
        sock.recvmmsg_into(buffer, bufsize)
    assert len(received(sock, 1)) == 1


def test_the_buffer_is_let_go_of(endpoint):
    sock = endpoint(rsnet)
    sock.setblocking(False)
    buffer = bytearray(8)
    with pytest.raises(BlockingIOError):
        sock.recvmmsg_into(buffer, 4)
    with pytest.raises(ValueError):
        sock.recvmmsg_into(buffer, 9)
    sock.sendto(b"x", sock.getsockname())
    sock.recvmmsg_into(buffer, 4)
    # An export that was still held would forbid it.
    buffer.append(0)
