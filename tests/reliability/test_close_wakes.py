"""close() ends the calls that block on the socket, and none of them gets at a later descriptor."""

import errno
import fcntl
import os
import signal
from functools import partial
from socket import SOCK_DGRAM

import pytest

import rsnet

# Longer than any test waits for a call to end.
each_mode = pytest.mark.parametrize("timeout_s", [None, 30])


def ends_with_ebadf(call):
    with pytest.raises(OSError) as caught:
        call()
    assert caught.value.args == (errno.EBADF, os.strerror(errno.EBADF))


@each_mode
def test_from_another_thread(blocking, in_thread, timeout_s):
    sock, call, _ = blocking(timeout_s)
    blocked = in_thread(call)
    blocked.until_blocked()
    sock.close()
    assert sock.fileno() == -1
    ends_with_ebadf(blocked.result)


@each_mode
def test_of_the_main_thread_s_call(blocking, when_blocked, timeout_s):
    sock, call, _ = blocking(timeout_s)
    closed = when_blocked(sock.close)
    ends_with_ebadf(call)
    closed.result()


@each_mode
def test_from_a_signal_handler_inside_the_call(blocking, when_blocked, on_signal, timeout_s):
    sock, call, _ = blocking(timeout_s)
    on_signal(signal.SIGUSR1, lambda *_: sock.close())
    when_blocked(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    ends_with_ebadf(call)


@each_mode
@pytest.mark.parametrize("blocking", ["recv", "recvfrom", "accept", "send"], indirect=True)
def test_all_threads_wake(blocking, in_thread, timeout_s):
    sock, call, _ = blocking(timeout_s)
    blocked = [in_thread(call) for _ in range(4)]
    for each in blocked:
        each.until_blocked()
    sock.close()
    for each in blocked:
        ends_with_ebadf(each.result)


@each_mode
def test_threads_in_unlike_calls_wake(pair, in_thread, timeout_s):
    sock, _ = pair(rsnet)
    sock.settimeout(timeout_s)
    calls = [lambda: sock.recv(1), lambda: sock.sendall(bytes(1 << 26)), lambda: sock.recvmsg(1)]
    blocked = [in_thread(call) for call in calls]
    for each in blocked:
        each.until_blocked()
    sock.close()
    for each in blocked:
        ends_with_ebadf(each.result)


@each_mode
def test_other_sockets_calls_go_on(pair, in_thread, timeout_s):
    (_, closed), (peer, other) = pair(rsnet), pair(rsnet)
    for sock in (closed, other):
        sock.settimeout(timeout_s)
    ended, going_on = in_thread(closed.recv, 1), in_thread(other.recv, 1)
    for each in (ended, going_on):
        each.until_blocked()
    closed.close()
    ends_with_ebadf(ended.result)
    going_on.until_blocked()
    peer.send(b"x")
    assert going_on.result() == b"x"


def test_one_thread_again_and_again(opened, in_thread):
    """Woken once, a thread can be woken again, whether its call has begun to wait or not."""
    ends = [rsnet.socketpair() for _ in range(200)]
    for end in [end for both in ends for end in both]:
        opened(end)

    def block_on_each():
        for sock, _ in ends:
            ends_with_ebadf(partial(sock.recv, 1))

    woken = in_thread(block_on_each)
    for sock, _ in ends:
        sock.close()
    woken.result()


def taken(number, by):
    """A socket on that very number, as soon as it is free."""
    while (got := fcntl.fcntl(by.fileno(), fcntl.F_DUPFD_CLOEXEC, number)) != number:
        os.close(got)
        os.sched_yield()
    return rsnet.socket(fileno=got)


@each_mode
@pytest.mark.parametrize("type", [rsnet.SOCK_STREAM, SOCK_DGRAM])
def test_a_reused_number_is_not_read(opened, pair, in_thread, type, timeout_s):
    another, sender = pair(rsnet, rsnet.AF_UNIX, type)
    for _ in range(50):
        sock, peer = rsnet.socketpair(rsnet.AF_UNIX, type)
        sock.settimeout(timeout_s)
        number = sock.fileno()
        blocked = in_thread(sock.recv, 100)
        blocked.until_blocked()
        # There before the number is: whoever reads the number gets it.
        sender.send(b"for another")
        sock.close()
        with peer, taken(number, by=another) as successor:
            ends_with_ebadf(blocked.result)
            assert successor.recv(100, rsnet.MSG_DONTWAIT) == b"for another"


@each_mode
def test_the_number_is_not_free_while_a_call_is_in(pair, in_thread, timeout_s):
    """A thread that cannot be woken, because it takes no signals, keeps what it reads from."""
    peer, sock = pair(rsnet)
    sock.settimeout(timeout_s)
    number = sock.fileno()

    def receive_without_signals():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return sock.recv(1)

    blocked = in_thread(receive_without_signals)
    blocked.until_blocked()
    sock.close()
    ends_with_ebadf(lambda: sock.recv(1))
    higher = fcntl.fcntl(peer.fileno(), fcntl.F_DUPFD_CLOEXEC, number)
    os.close(higher)
    assert higher > number
    assert blocked.is_running
    peer.send(b"x")
    assert blocked.result() == b"x"
    with taken(number, by=peer):
        pass


@each_mode
def test_what_has_gone_before_the_close_is_told(pair, in_thread, timeout_s):
    sock, peer = pair(rsnet)
    sock.settimeout(timeout_s)
    blocked = in_thread(sock.sendall, bytes(1 << 26))
    blocked.until_blocked()
    sock.close()
    with pytest.raises(OSError) as caught:
        blocked.result()
    assert caught.value.errno == errno.EBADF
    assert caught.value.bytes_sent == len(b"".join(iter(lambda: peer.recv(1 << 20), b"")))


@each_mode
def test_detach_leaves_blocked_calls_alone(pair, in_thread, timeout_s):
    peer, sock = pair(rsnet)
    sock.settimeout(timeout_s)
    blocked = in_thread(sock.recv, 1)
    blocked.until_blocked()
    with rsnet.socket(fileno=sock.detach()):
        assert sock.fileno() == -1
        ends_with_ebadf(lambda: sock.recv(1))
        blocked.until_blocked()
        peer.send(b"x")
        assert blocked.result() == b"x"


def test_the_peer_hears_of_the_close(pair, in_thread):
    """The descriptor is really closed once the call is out."""
    peer, sock = pair(rsnet)
    blocked = in_thread(sock.recv, 1)
    blocked.until_blocked()
    sock.close()
    ends_with_ebadf(blocked.result)
    assert peer.recv(1) == b""
