"""Batches of what makes no sense: refused before anything is sent or received."""

import math
from socket import (
    AF_INET,
    AF_INET6,
)

import pytest

import rsnet

LOOPBACK = {AF_INET: "127.0.0.1", AF_INET6: "::1"}
FAMILIES = [AF_INET, AF_INET6]


# Arguments in error: refused before anything is sent.

ADDRESS = ("127.0.0.1", 9)
BAD_MESSAGES = {
    "None": (None, TypeError),
    "a number": (1, TypeError),
    "bytes": (b"abc", TypeError),
    "text": ("abc", TypeError),
    "numbers": ([1], TypeError),
    "texts": (["x"], TypeError),
    "Nones": ([None], TypeError),
    "lists": ([[b"x", ADDRESS]], TypeError),
    "tuple of none": ([()], TypeError),
    "tuple of one": ([(b"x",)], TypeError),
    "tuple of four": ([(b"x", [], ADDRESS, 0)], TypeError),
    "the address first": ([(ADDRESS, b"x")], TypeError),
    "text to an address": ([("x", ADDRESS)], TypeError),
    "a buffer for buffers": ([(b"x", [], ADDRESS)], TypeError),
    "a number for buffers": ([(1, [], ADDRESS)], TypeError),
    "buffers of numbers": ([([1], [], ADDRESS)], TypeError),
    "no ancdata": ([([b"x"], None, ADDRESS)], TypeError),
    "ancdata of numbers": ([([b"x"], [1], ADDRESS)], TypeError),
    "ancdata of pairs": ([([b"x"], [(1, 2)], ADDRESS)], TypeError),
    "ancdata of text": ([([b"x"], [(1, 2, "x")], ADDRESS)], TypeError),
    "ancdata too large a level": ([([b"x"], [(1 << 31, 2, b"x")], ADDRESS)], OverflowError),
    "address of text": ([(b"x", "127.0.0.1")], TypeError),
    "address as a list": ([(b"x", list(ADDRESS))], TypeError),
    "address without a port": ([(b"x", ("127.0.0.1",))], TypeError),
    "address with a bad port": ([(b"x", ("127.0.0.1", "x"))], TypeError),
    "address with a large port": ([(b"x", ("127.0.0.1", 1 << 16))], OverflowError),
    "address with a huge port": ([(b"x", ("127.0.0.1", 1 << 80))], OverflowError),
    "address with a negative port": ([(b"x", ("127.0.0.1", -1))], OverflowError),
    "address with NUL": ([(b"x", ("127.0.0.1\0", 9))], (TypeError, ValueError)),
    "address of another family": ([(b"x", ("::1", 9))], rsnet.gaierror),
    "a buffer with gaps": ([memoryview(b"abcdef")[::2]], BufferError),
}


@pytest.mark.parametrize("case", BAD_MESSAGES)
def test_bad_messages(endpoint, case, received):
    given, kind = BAD_MESSAGES[case]
    sock = endpoint(rsnet)
    sock.connect(sock.getsockname())
    if isinstance(given, list):
        # Those before the one in error are not sent either.
        with pytest.raises(kind):
            sock.sendmmsg([b"good", *given, b"good"])
    with pytest.raises(kind) as caught:
        sock.sendmmsg(given)
    assert not hasattr(caught.value, "messages_sent")
    received(sock, 0)


def test_ipv6_addresses_in_error(endpoint, received):
    sock = endpoint(rsnet, AF_INET6)
    for address, kind in (
        (("::1", 9, -1), OverflowError),
        (("::1", 9, 1 << 20), OverflowError),
        (("::1",), TypeError),
        (("::1", 9, 0, 0, 0), TypeError),
    ):
        with pytest.raises(kind):
            sock.sendmmsg([(b"x", ("::1", sock.getsockname()[1])), (b"x", address)])
    received(sock, 0)


BAD_NUMBERS = [
    (1 << 31, OverflowError),
    (1 << 63, OverflowError),
    (-(1 << 63) - 1, OverflowError),
    (1.0, TypeError),
    ("1", TypeError),
    (None, TypeError),
    (b"1", TypeError),
]
BAD_SIZES = [(-1, ValueError), (-(1 << 63), ValueError), *BAD_NUMBERS[1:]]


def refused(call, kind):
    with pytest.raises(kind) as caught:
        call()
    # Not what an internal error of ours looks like, which is none of these classes.
    assert "rsnet" not in str(caught.value)


@pytest.mark.parametrize(("value", "kind"), BAD_NUMBERS, ids=repr)
def test_bad_flags(endpoint, value, kind, received):
    sock = endpoint(rsnet)
    sock.connect(sock.getsockname())
    refused(lambda: sock.sendmmsg([b"x", b"y"], value), kind)
    refused(lambda: sock.sendmmsg([], value), kind)
    received(sock, 0)
    sock.setblocking(True)
    sock.send(b"left alone")
    refused(lambda: sock.recvmmsg(1, 1, 0, value), kind)
    refused(lambda: sock.recvmmsg_into(bytearray(1), 0, value), kind)
    assert len(received(sock, 1)) == 1


@pytest.mark.parametrize(("value", "kind"), BAD_SIZES, ids=repr)
def test_bad_sizes(endpoint, value, kind, received):
    sock = endpoint(rsnet)
    sock.sendto(b"left alone", sock.getsockname())
    refused(lambda: sock.recvmmsg(value, 1), kind)
    refused(lambda: sock.recvmmsg(1, value), kind)
    refused(lambda: sock.recvmmsg(1, 1, value), kind)
    refused(lambda: sock.recvmmsg_into(bytearray(1), value), kind)
    assert len(received(sock, 1)) == 1


@pytest.mark.parametrize(
    "sizes",
    [(1, 1 << 62), (1 << 62, 1 << 62), (1, (1 << 63) - 1), (1, 1, 1 << 62), (99, 1, 1 << 62)],
)
def test_more_than_there_is_memory(endpoint, sizes, received):
    sock = endpoint(rsnet)
    sock.sendto(b"left alone", sock.getsockname())
    refused(lambda: sock.recvmmsg(*sizes), MemoryError)
    assert len(received(sock, 1)) == 1


def test_a_huge_count_costs_nothing(endpoint):
    """As many as come: room is made for what can come at once."""
    sock = endpoint(rsnet)
    for count in (1 << 31, (1 << 63) - 1):
        sock.sendto(b"one", sock.getsockname())
        assert [datagram.data for datagram in sock.recvmmsg(count, 100)] == [b"one"]


BAD_TIMEOUTS = [
    (-1, ValueError),
    (-1e-9, ValueError),
    (math.nan, ValueError),
    (-math.inf, OverflowError),
    (1e300, OverflowError),
    (1 << 63, OverflowError),
    (10**400, OverflowError),
    ("1", TypeError),
    ([], TypeError),
    (1j, TypeError),
]


@pytest.mark.parametrize(("value", "kind"), BAD_TIMEOUTS, ids=lambda each: f"{each!r:.30}")
def test_bad_timeouts(endpoint, value, kind, received):
    sock = endpoint(rsnet)
    sock.sendto(b"left alone", sock.getsockname())
    refused(lambda: sock.recvmmsg(1, 1, timeout=value), kind)
    refused(lambda: sock.recvmmsg_into(bytearray(1), timeout=value), kind)
    assert len(received(sock, 1)) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda sock: sock.sendmmsg(),
        lambda sock: sock.sendmmsg([], 0, 0),
        lambda sock: sock.sendmmsg([], messages=[]),
        lambda sock: sock.sendmmsg([], timeout=1),
        lambda sock: sock.recvmmsg(),
        lambda sock: sock.recvmmsg(1),
        lambda sock: sock.recvmmsg(1, 1, 0, 0, 1),
        lambda sock: sock.recvmmsg(1, 1, count=1),
        lambda sock: sock.recvmmsg(1, 1, size=1),
        lambda sock: sock.recvmmsg_into(),
        lambda sock: sock.recvmmsg_into(bytearray(1), 1, 0, 1),
        lambda sock: sock.recvmmsg_into(bytearray(1), count=1),
    ],
)
def test_counts_and_names_of_arguments(endpoint, call):
    refused(lambda: call(endpoint(rsnet)), TypeError)
