"""What has gone when a send stops half-way, and that a blocking send does not stop by itself."""

import itertools
import os
import random
import re
import signal
from socket import AF_INET, AF_INET6, AF_UNIX

import pytest

import rsnet

each_stream = pytest.mark.parametrize("family", [AF_INET, AF_INET6, AF_UNIX])
each_mode = pytest.mark.parametrize("timeout_s", [None, 30])

# More than a loopback connection holds under way; seeded, so that each byte has its place.
DATA = random.Random(3).randbytes(1 << 25)


class Raised(Exception):
    pass


class RaisedOSError(OSError):
    pass


def noted_count(error):
    """How much has gone, as the note says."""
    (note,) = error.__notes__
    sent, of = re.fullmatch(r"sent (\d+) of (\d+) bytes", note).groups()
    assert int(of) == len(DATA)
    return int(sent)


def all_of(sock):
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def arrived_just(sock, peer, count):
    sock.close()
    arrived = all_of(peer)
    assert len(arrived) == count
    assert arrived == DATA[:count]


@each_stream
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_timed_out_sendall(pair, family, kind):
    sock, peer = pair(rsnet, family)
    sock.settimeout(0.05)
    with pytest.raises(TimeoutError) as caught:
        sock.sendall(kind(DATA))
    assert caught.value.args == ("timed out",)
    assert caught.value.bytes_sent == noted_count(caught.value) > 0
    arrived_just(sock, peer, caught.value.bytes_sent)


def test_a_timed_out_sendall_of_which_nothing_went(pair):
    sock, _ = pair(rsnet, AF_UNIX)
    sock.settimeout(0.01)
    with pytest.raises(TimeoutError):
        sock.sendall(DATA)
    with pytest.raises(TimeoutError) as caught:
        sock.sendall(DATA)
    assert caught.value.bytes_sent == noted_count(caught.value) == 0


@each_stream
def test_a_sendall_without_blocking(pair, family):
    sock, peer = pair(rsnet, family)
    sock.setblocking(False)
    with pytest.raises(BlockingIOError) as caught:
        sock.sendall(DATA)
    arrived_just(sock, peer, caught.value.bytes_sent)


@each_stream
@each_mode
@pytest.mark.parametrize("kind", [Raised, RaisedOSError, KeyboardInterrupt])
def test_a_handler_ends_sendall(pair, on_signal, when_blocked, family, timeout_s, kind):
    def handler(*_):
        raise kind

    on_signal(signal.SIGUSR1, handler)
    sock, peer = pair(rsnet, family)
    sock.settimeout(timeout_s)
    when_blocked(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with pytest.raises(kind) as caught:
        sock.sendall(DATA)
    assert noted_count(caught.value) > 0
    if isinstance(caught.value, OSError):
        assert caught.value.bytes_sent == noted_count(caught.value)
    arrived_just(sock, peer, noted_count(caught.value))


@each_stream
def test_a_lost_peer_ends_sendall(pair, in_thread, family):
    sock, peer = pair(rsnet, family)
    blocked = in_thread(sock.sendall, DATA)
    blocked.until_blocked()
    peer.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)) as caught:
        blocked.result()
    assert 0 < caught.value.bytes_sent == noted_count(caught.value) < len(DATA)


WHOLE = {
    "send": lambda sock: sock.send(DATA),
    "sendmsg": lambda sock: sock.sendmsg([DATA]),
    "sendmsg, many parts": lambda sock: sock.sendmsg(parts_of(DATA)),
    "sendmsg, gaps": lambda sock: sock.sendmsg([b"", *parts_of(DATA)[:-1], b"", DATA[-1:]]),
}


def parts_of(data):
    """1,000 parts of all lengths."""
    cuts = sorted(random.Random(5).sample(range(1, len(data) - 1), 998))
    cuts = [0, *cuts, len(data) - 1, len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(cuts)]


@each_stream
@pytest.mark.parametrize("method", WHOLE)
def test_a_blocking_send_takes_it_all(pair, in_thread, family, method):
    sock, peer = pair(rsnet, family)
    arriving = in_thread(all_of, peer)
    assert WHOLE[method](sock) == len(DATA)
    sock.close()
    assert arriving.result() == DATA


@each_stream
@pytest.mark.parametrize("method", WHOLE)
@each_mode
def test_what_an_interrupted_send_tells_is_what_went(
    pair, on_signal, when_blocked, in_thread, family, method, timeout_s
):
    """A handler that returns cuts the call short at what has gone; never is a byte lost."""
    sock, peer = pair(rsnet, family)
    sock.settimeout(timeout_s)
    on_signal(signal.SIGUSR1, lambda *_: None)
    if timeout_s is None:
        when_blocked(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    count = WHOLE[method](sock)
    assert 0 < count < len(DATA)
    arrived_just(sock, peer, count)
