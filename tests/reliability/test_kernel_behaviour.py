"""What the kernel decides in a blocking call is the same as with the standard library."""

import errno
import os
import socket as standard
import struct
from socket import (
    AF_INET,
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL,
    SO_RCVLOWAT,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SOCK_DGRAM,
    SOL_SOCKET,
)

import pytest

import rsnet

IP_RECVERR = 11

both_modules = pytest.mark.parametrize("module", [standard, rsnet], ids=lambda m: m.__name__)
each_mode = pytest.mark.parametrize("timeout_s", [None, 30])
each_stream = pytest.mark.parametrize("family", [AF_INET, AF_UNIX])

# struct timeval: a fiftieth of a second.
SHORT = struct.pack("@ll", 0, 20_000)

RECEIVERS = {
    "recv": lambda sock, flags=0: sock.recv(10, flags),
    "recv, large": lambda sock, flags=0: sock.recv(1 << 20, flags),
    "recvfrom": lambda sock, flags=0: sock.recvfrom(10, flags)[0],
    "recvmsg": lambda sock, flags=0: sock.recvmsg(10, 0, flags)[0],
    "recv_into": lambda sock, flags=0: received_into(sock, sock.recv_into, flags),
    "recvfrom_into": lambda sock, flags=0: received_into(sock, sock.recvfrom_into, flags),
}
each_receiver = pytest.mark.parametrize("receiver", RECEIVERS)


def received_into(sock, method, flags):
    buffer = bytearray(10)
    count = method(buffer, 0, flags)
    return bytes(buffer[: count[0] if isinstance(count, tuple) else count])


def outcome(call):
    """What it returns, or the class and the arguments of what it raises."""
    try:
        return call()
    except OSError as error:
        return type(error), error.args


WOULD_BLOCK = (BlockingIOError, (errno.EAGAIN, os.strerror(errno.EAGAIN)))


@both_modules
@each_receiver
@each_stream
def test_a_receive_timeout_of_the_kernel_s(pair, module, family, receiver):
    _, sock = pair(module, family)
    sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, SHORT)
    assert outcome(lambda: RECEIVERS[receiver](sock)) == WOULD_BLOCK


@both_modules
def test_a_receive_timeout_of_the_kernel_s_on_accept(listener, module):
    sock = listener(module)
    sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, SHORT)
    assert outcome(sock.accept) == WOULD_BLOCK


@both_modules
@pytest.mark.parametrize("method", ["send", "sendall", "sendmsg"])
@each_stream
def test_a_send_timeout_of_the_kernel_s(pair, module, family, method):
    sock, peer = pair(module, family)
    sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, SHORT)
    data = bytes(1 << 25)
    sent = outcome(lambda: getattr(sock, method)([data] if method == "sendmsg" else data))
    assert sent == WOULD_BLOCK if method == "sendall" else 0 < sent < len(data)
    sock.close()
    arrived = len(b"".join(iter(lambda: peer.recv(1 << 20), b"")))
    assert 0 < arrived < len(data)
    assert method == "sendall" or arrived == sent


@both_modules
def test_a_send_timeout_of_the_kernel_s_on_connect(opened, unanswered, module):
    sock = opened(module.socket())
    sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, SHORT)
    expected = (BlockingIOError, (errno.EINPROGRESS, os.strerror(errno.EINPROGRESS)))
    assert outcome(lambda: sock.connect(unanswered)) == expected


@both_modules
@each_receiver
@each_mode
def test_a_low_water_mark(pair, in_thread, module, receiver, timeout_s):
    peer, sock = pair(module)
    sock.settimeout(timeout_s)
    sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 4)
    peer.send(b"ab")
    blocked = in_thread(RECEIVERS[receiver], sock)
    blocked.until_blocked()
    peer.send(b"cdef")
    assert blocked.result() == b"abcdef"


@both_modules
@each_mode
def test_a_low_water_mark_after_data_came_at_once(pair, in_thread, module, timeout_s):
    """However well the calls before went, the next one waits for as much."""
    peer, sock = pair(module)
    sock.settimeout(timeout_s)
    for _ in range(10):
        peer.send(b"abcd")
        assert sock.recv(10) == b"abcd"
    sock.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 4)
    peer.send(b"ab")
    blocked = in_thread(sock.recv, 10)
    blocked.until_blocked()
    peer.send(b"cdef")
    assert blocked.result() == b"abcdef"


@both_modules
@each_stream
@pytest.mark.parametrize("receiver", ["recv", "recvfrom", "recvmsg", "recv_into"])
def test_waitall_waits_for_all(pair, in_thread, module, family, receiver):
    peer, sock = pair(module, family)
    peer.send(b"abcde")
    blocked = in_thread(RECEIVERS[receiver], sock, MSG_WAITALL)
    blocked.until_blocked()
    peer.send(b"fghij")
    assert blocked.result() == b"abcdefghij"


@both_modules
@each_stream
def test_waitall_ends_with_the_stream(pair, in_thread, module, family):
    peer, sock = pair(module, family)
    peer.send(b"abcde")
    blocked = in_thread(sock.recv, 10, MSG_WAITALL)
    blocked.until_blocked()
    peer.close()
    assert blocked.result() == b"abcde"


@both_modules
@each_stream
def test_waitall_with_a_timeout_takes_what_there_is(pair, module, family):
    peer, sock = pair(module, family)
    sock.settimeout(30)
    peer.send(b"abcde")
    assert sock.recv(10, MSG_WAITALL) == b"abcde"


@both_modules
@each_receiver
@each_mode
def test_peek_waits_and_takes_nothing(pair, in_thread, module, receiver, timeout_s):
    peer, sock = pair(module)
    sock.settimeout(timeout_s)
    blocked = in_thread(RECEIVERS[receiver], sock, MSG_PEEK)
    blocked.until_blocked()
    peer.send(b"x")
    assert blocked.result() == b"x"
    assert sock.recv(10) == b"x"


@both_modules
@each_receiver
def test_dontwait_on_a_blocking_socket(pair, module, receiver):
    peer, sock = pair(module, AF_UNIX)
    assert outcome(lambda: RECEIVERS[receiver](sock, MSG_DONTWAIT)) == WOULD_BLOCK
    peer.send(b"x")
    assert RECEIVERS[receiver](sock, MSG_DONTWAIT) == b"x"


@both_modules
def test_dontwait_on_a_blocking_socket_that_is_full(pair, module):
    sock, _ = pair(module, AF_UNIX)
    while (sent := outcome(lambda: sock.send(bytes(1 << 16), MSG_DONTWAIT))) != WOULD_BLOCK:
        assert 0 < sent <= 1 << 16
    assert outcome(lambda: sock.sendall(b"x", MSG_DONTWAIT)) == WOULD_BLOCK


@both_modules
@each_mode
def test_urgent_data(pair, module, timeout_s):
    peer, sock = pair(module)
    sock.settimeout(timeout_s)
    nothing = (OSError, (errno.EINVAL, os.strerror(errno.EINVAL)))
    peer.send(b"ab")
    assert outcome(lambda: sock.recv(1, MSG_OOB)) == nothing
    peer.send(b"!", MSG_OOB)
    assert sock.recv(1, MSG_OOB) == b"!"
    assert outcome(lambda: sock.recv(1, MSG_OOB)) == nothing
    assert sock.recv(10) == b"ab"


@both_modules
def test_urgent_data_is_not_waited_for(pair, module):
    _, sock = pair(module)
    expected = (OSError, (errno.EINVAL, os.strerror(errno.EINVAL)))
    assert outcome(lambda: sock.recv(1, MSG_OOB)) == expected


@both_modules
def test_the_error_queue_of_a_blocking_socket_is_not_waited_for(opened, module):
    sock = opened(module.socket(AF_INET, SOCK_DGRAM))
    assert outcome(lambda: sock.recvmsg(10, 1000, MSG_ERRQUEUE)) == WOULD_BLOCK


@both_modules
@each_mode
def test_the_error_queue(opened, module, timeout_s):
    sock = opened(module.socket(AF_INET, SOCK_DGRAM))
    sock.settimeout(timeout_s)
    sock.setsockopt(standard.IPPROTO_IP, IP_RECVERR, 1)
    with module.socket(AF_INET, SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = nobody.getsockname()
    sock.sendto(b"anybody?", address)
    data, ancillary, flags, origin = sock.recvmsg(100, 1000, MSG_ERRQUEUE)
    assert (data, origin) == (b"anybody?", address)
    assert flags & MSG_ERRQUEUE
    ((level, kind, error),) = ancillary
    assert (level, kind) == (standard.IPPROTO_IP, IP_RECVERR)
    assert struct.unpack_from("=I", error) == (errno.ECONNREFUSED,)


@both_modules
@each_mode
def test_trunc_on_a_stream_throws_away(pair, module, timeout_s):
    peer, sock = pair(module)
    sock.settimeout(timeout_s)
    peer.send(b"abcdef")
    buffer = bytearray(3)
    assert sock.recv_into(buffer, 3, MSG_TRUNC) == 3
    assert buffer == bytes(3)
    assert sock.recv(10) == b"def"


# The mode of the descriptor, changed behind the socket's back.


@both_modules
@each_receiver
def test_a_descriptor_made_non_blocking(pair, module, receiver):
    peer, sock = pair(module, AF_UNIX)
    os.set_blocking(sock.fileno(), False)
    assert outcome(lambda: RECEIVERS[receiver](sock)) == WOULD_BLOCK
    peer.send(b"x")
    assert RECEIVERS[receiver](sock) == b"x"
    assert sock.gettimeout() is None


@both_modules
def test_a_descriptor_made_non_blocking_for_accept(listener, module):
    sock = listener(module)
    os.set_blocking(sock.fileno(), False)
    assert outcome(sock.accept) == WOULD_BLOCK
    with standard.create_connection(sock.getsockname()):
        sock.accept()[0].close()


@both_modules
def test_a_descriptor_made_non_blocking_for_sends(pair, module):
    sock, _ = pair(module, AF_UNIX)
    os.set_blocking(sock.fileno(), False)
    assert outcome(lambda: sock.sendall(bytes(1 << 25))) == WOULD_BLOCK
    assert outcome(lambda: sock.send(b"x")) == WOULD_BLOCK
    assert outcome(lambda: sock.sendmsg([b"x"])) == WOULD_BLOCK


@both_modules
def test_a_descriptor_made_non_blocking_for_connect(opened, unanswered, module):
    sock = opened(module.socket())
    os.set_blocking(sock.fileno(), False)
    expected = (BlockingIOError, (errno.EINPROGRESS, os.strerror(errno.EINPROGRESS)))
    assert outcome(lambda: sock.connect(unanswered)) == expected


@both_modules
@each_receiver
def test_a_descriptor_made_blocking_keeps_the_timeout(pair, module, receiver):
    peer, sock = pair(module)
    sock.settimeout(0.02)
    os.set_blocking(sock.fileno(), True)
    assert outcome(lambda: RECEIVERS[receiver](sock)) == (TimeoutError, ("timed out",))
    peer.send(b"x")
    sock.settimeout(30)
    os.set_blocking(sock.fileno(), True)
    assert RECEIVERS[receiver](sock) == b"x"


@both_modules
def test_a_descriptor_made_blocking_keeps_the_timeout_of_accept(listener, module):
    sock = listener(module)
    sock.settimeout(0.02)
    os.set_blocking(sock.fileno(), True)
    assert outcome(sock.accept) == (TimeoutError, ("timed out",))


@both_modules
def test_two_objects_for_one_descriptor_each_have_their_mode(opened, pair, in_thread, module):
    """The mode is the open file's, which both share: the last one to set it sets it for both."""
    peer, sock = pair(module)
    twin = opened(sock.dup())
    twin.setblocking(False)
    assert outcome(lambda: sock.recv(1)) == WOULD_BLOCK
    sock.setblocking(True)
    blocked = in_thread(sock.recv, 1)
    blocked.until_blocked()
    peer.send(b"x")
    assert blocked.result() == b"x"
