"""fork() while other threads are in calls: both sides go on, each with its own descriptor."""

import errno
import os
import signal

import pytest

import rsnet

each_mode = pytest.mark.parametrize("timeout_s", [None, 30])


@pytest.fixture
def blocked_receiver(pair, in_thread):
    """`blocked_receiver(timeout_s)`: a socket, its peer, and the call that blocks on it."""

    def make(timeout_s):
        peer, sock = pair(rsnet)
        sock.settimeout(timeout_s)
        blocked = in_thread(sock.recv, 10)
        blocked.until_blocked()
        return sock, peer, blocked

    return make


def is_closed(number):
    with pytest.raises(OSError) as caught:
        os.fstat(number)
    return caught.value.errno == errno.EBADF


@each_mode
def test_the_child_s_copy_works(blocked_receiver, in_fork, timeout_s):
    sock, peer, blocked = blocked_receiver(timeout_s)

    def check():
        assert sock.send(b"from the child") == 14
        assert sock.gettimeout() == timeout_s

    verdict = in_fork(check)
    assert peer.recv(100) == b"from the child"
    verdict()
    peer.send(b"x")
    assert blocked.result() == b"x"


@each_mode
def test_the_child_closes_its_copy_at_once(blocked_receiver, in_fork, timeout_s):
    """The call in flight is the parent's: nobody in the child has to be waited for."""
    sock, peer, blocked = blocked_receiver(timeout_s)

    def check():
        number = sock.fileno()
        sock.close()
        assert is_closed(number)

    in_fork(check)()
    blocked.until_blocked()
    assert sock.send(b"still open") == 10
    assert peer.recv(100) == b"still open"
    peer.send(b"x")
    assert blocked.result() == b"x"


def test_the_child_s_copy_receives(blocked_receiver, pair, in_fork):
    _, peer, blocked = blocked_receiver(None)
    other_peer, other = pair(rsnet)

    def check():
        assert other.recv(10) == b"to the child"[:10]

    verdict = in_fork(check)
    other_peer.send(b"to the child")
    verdict()
    peer.send(b"x")
    assert blocked.result() == b"x"


@each_mode
def test_close_wakes_in_the_child_too(blocked_receiver, in_thread, in_fork, timeout_s):
    """Threads of the child are known to it, those of the parent forgotten."""
    sock, peer, blocked = blocked_receiver(timeout_s)

    def check():
        number = sock.fileno()
        in_child = in_thread(sock.recv, 10)
        in_child.until_blocked()
        sock.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            in_child.result()
        assert is_closed(number)

    in_fork(check)()
    blocked.until_blocked()
    peer.send(b"x")
    assert blocked.result() == b"x"


def test_a_number_closed_under_a_call_is_closed_in_the_child(pair, in_thread, in_fork):
    """A call that cannot be woken holds it in the parent; the child has no such call."""
    peer, sock = pair(rsnet)
    number = sock.fileno()

    def receive_without_signals():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return sock.recv(1)

    blocked = in_thread(receive_without_signals)
    blocked.until_blocked()
    sock.close()

    def check():
        sock.close()
        assert sock.fileno() == -1
        assert is_closed(number)

    in_fork(check)()
    peer.send(b"x")
    assert blocked.result() == b"x"
    assert is_closed(number)


def test_forks_of_forks(blocked_receiver, in_fork):
    sock, peer, blocked = blocked_receiver(None)

    def in_grandchild():
        number = sock.fileno()
        sock.send(b"2")
        sock.close()
        assert is_closed(number)

    def check():
        sock.send(b"1")
        in_fork(in_grandchild)()
        sock.send(b"3")

    in_fork(check)()
    assert peer.recv(3, rsnet.MSG_WAITALL) == b"123"
    peer.send(b"x")
    assert blocked.result() == b"x"


def test_ends_given_to_parent_and_child(pair, in_fork):
    """The pattern of servers that fork for each connection."""
    ours, theirs = pair(rsnet)

    def check():
        ours.close()
        while data := theirs.recv(100):
            theirs.sendall(data.upper())
        theirs.close()

    verdict = in_fork(check)
    theirs.close()
    ours.sendall(b"abc")
    assert ours.recv(100) == b"ABC"
    ours.close()
    verdict()
