"""The three modes: blocking, with a timeout, not blocking."""

import decimal
import errno
import fcntl
import fractions
import os
import socket as standard
import time
from socket import AF_INET, AF_UNIX, SOCK_DGRAM, SOCK_STREAM

import pytest

import rsnet

# Long enough to be told from none, short enough to be paid for often.
TIMEOUT_S = 0.03
# A busy machine may be as late as this; early it may not be at all.
LATE_S = 5

CALLS = {
    "recv": lambda sock: sock.recv(1),
    "recv_into": lambda sock: sock.recv_into(bytearray(1)),
    "recvfrom": lambda sock: sock.recvfrom(1),
    "recvfrom_into": lambda sock: sock.recvfrom_into(bytearray(1)),
    "recvmsg": lambda sock: sock.recvmsg(1),
    "recvmsg_into": lambda sock: sock.recvmsg_into([bytearray(1)]),
    "recv, peek": lambda sock: sock.recv(1, standard.MSG_PEEK),
    "recv, all": lambda sock: sock.recv(5, standard.MSG_WAITALL),
}
SENDERS = {
    "send": lambda sock, data: sock.send(data),
    "sendall": lambda sock, data: sock.sendall(data),
    "sendto": lambda sock, data: sock.sendto(data, sock.getpeername()),
    "sendmsg": lambda sock, data: sock.sendmsg([data]),
}


class FloatLike:
    def __float__(self):
        return 1.25


class IndexLike:
    def __index__(self):
        return 3


def blocks(sock):
    return not fcntl.fcntl(sock.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK


def fill(sock):
    """Sends until the kernel takes no more."""
    sock.setblocking(False)
    try:
        while True:
            sock.send(bytes(1 << 16))
    except BlockingIOError:
        pass


@pytest.mark.parametrize(
    "value",
    [None, 0, 0.0, -0.0, 1, 1.5, 1e-3, 1e-9, 1e-10, 5e-324, 0.1, 1 / 3, 1e6, 1e9, True, False]
    + [10**9, 3, 2.0000000001],
    ids=repr,
)
def test_settimeout(same, value):
    def change(socket):
        with socket.socket() as sock:
            assert sock.settimeout(value) is None
            return sock.gettimeout(), sock.timeout, sock.getblocking(), blocks(sock)

    same.value(change)


@pytest.mark.parametrize("value", [1e-10, 5e-324, 1e-9])
def test_a_tiny_timeout_is_not_none_at_all(value):
    with rsnet.socket() as sock:
        sock.settimeout(value)
        assert sock.gettimeout() > 0
        assert sock.getblocking()


@pytest.mark.parametrize(
    "value",
    [FloatLike(), IndexLike(), decimal.Decimal("1.5"), fractions.Fraction(1, 2), "1", b"1", [], 1j],
    ids=repr,
)
def test_other_types(same, value):
    def change(socket):
        with socket.socket() as sock:
            try:
                sock.settimeout(value)
            except Exception as error:
                return error
            return sock.gettimeout()

    same.value(change)


@pytest.mark.parametrize("value", [True, False, 0, 1, 2, -1, 7])
def test_setblocking(same, value):
    def change(socket):
        with socket.socket() as sock:
            sock.settimeout(3)
            sock.setblocking(value)
            return sock.gettimeout(), sock.getblocking(), blocks(sock)

    same.value(change)


@pytest.mark.parametrize("value", ["", None, 1.5, "x", [], 2**40])
def test_setblocking_to_something_else(same, value):
    def change(socket):
        with socket.socket() as sock:
            try:
                sock.setblocking(value)
            except Exception as error:
                return error
            return sock.gettimeout()

    same.value(change)


@pytest.mark.parametrize("value", [None, 0, 2.5, 4, "1", -1, float("nan"), 1e300])
def test_setdefaulttimeout(same, value):
    def change(socket):
        try:
            socket.setdefaulttimeout(value)
            return socket.getdefaulttimeout(), standard.getdefaulttimeout()
        except Exception as error:
            return error
        finally:
            socket.setdefaulttimeout(None)

    same.value(change)


def test_timed_out_is_the_builtin_with_one_argument(pair):
    client, _ = pair(rsnet)
    client.settimeout(TIMEOUT_S)
    with pytest.raises(TimeoutError) as caught:
        client.recv(1)
    error = caught.value
    assert type(error) is TimeoutError is rsnet.timeout
    assert error.args == ("timed out",)
    assert (error.errno, error.strerror, str(error)) == (None, None, "timed out")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("family", "type"), [(AF_INET, SOCK_STREAM), (AF_INET, SOCK_DGRAM), (AF_UNIX, SOCK_STREAM)]
)
def test_receiving_times_out(same, pair, call, family, type):
    def receive(socket):
        sock, _ = pair(socket, family, type)
        sock.settimeout(TIMEOUT_S)
        began = time.monotonic()
        try:
            CALLS[call](sock)
        finally:
            assert TIMEOUT_S <= time.monotonic() - began < LATE_S

    same.error(receive, TimeoutError)


@pytest.mark.parametrize(
    ("family", "call"), [(AF_INET, call) for call in SENDERS] + [(AF_UNIX, "sendall")]
)
def test_sending_times_out(same, pair, call, family):
    def send(socket):
        sock, _ = pair(socket, family)
        fill(sock)
        sock.settimeout(TIMEOUT_S)
        began = time.monotonic()
        try:
            SENDERS[call](sock, bytes(1 << 20))
        finally:
            assert TIMEOUT_S <= time.monotonic() - began < LATE_S

    same.error(send, TimeoutError)


def test_accept_times_out(same, listener):
    def accept(socket):
        sock = listener(socket)
        sock.settimeout(TIMEOUT_S)
        began = time.monotonic()
        try:
            sock.accept()
        finally:
            assert TIMEOUT_S <= time.monotonic() - began < LATE_S

    same.error(accept, TimeoutError)


def test_connect_times_out(same, unanswered):
    def connect(socket):
        with socket.socket() as sock:
            sock.settimeout(TIMEOUT_S)
            began = time.monotonic()
            try:
                sock.connect(unanswered)
            finally:
                assert TIMEOUT_S <= time.monotonic() - began < LATE_S

    same.error(connect, TimeoutError)


def test_connect_ex_times_out(same, unanswered):
    def connect(socket):
        with socket.socket() as sock:
            sock.settimeout(TIMEOUT_S)
            return sock.connect_ex(unanswered)

    assert same.value(connect) == errno.EAGAIN


def test_a_unix_connect_to_a_full_listener(same, opened, tmp_path):
    def connect(socket, timeout_s):
        path = str(tmp_path / "server")
        with socket.socket(AF_UNIX) as listener, socket.socket(AF_UNIX) as first:
            listener.bind(path)
            listener.listen(0)
            first.connect(path)
            with socket.socket(AF_UNIX) as sock:
                sock.settimeout(timeout_s)
                try:
                    sock.connect(path)
                finally:
                    os.unlink(path)

    same.error(lambda socket: connect(socket, TIMEOUT_S), OSError)
    same.error(lambda socket: connect(socket, 0), OSError)


@pytest.mark.parametrize("call", CALLS)
def test_receiving_without_blocking(same, pair, call):
    def receive(socket):
        sock, _ = pair(socket)
        sock.setblocking(False)
        CALLS[call](sock)

    error = same.error(receive, BlockingIOError)
    assert error.errno == errno.EAGAIN


@pytest.mark.parametrize("call", ["send", "sendall", "sendmsg"])
def test_sending_without_blocking(same, pair, call):
    def send(socket):
        sock, _ = pair(socket)
        fill(sock)
        SENDERS[call](sock, bytes(1 << 20))

    assert same.error(send, BlockingIOError).errno == errno.EAGAIN


def test_a_partial_send_without_blocking(pair):
    client, _ = pair(rsnet)
    client.setblocking(False)
    assert 0 < client.send(bytes(50_000_000)) < 50_000_000


def test_accept_without_blocking(same, listener):
    def accept(socket):
        sock = listener(socket)
        sock.setblocking(False)
        sock.accept()

    same.error(accept, BlockingIOError)


def test_connect_without_blocking(same, unanswered):
    def connect(socket):
        with socket.socket() as sock:
            sock.setblocking(False)
            code = sock.connect_ex(unanswered)
            with pytest.raises(BlockingIOError) as caught:
                sock.connect(unanswered)
            return code, caught.value.errno

    assert same.value(connect) == (errno.EINPROGRESS, errno.EALREADY)


def test_msg_dontwait_on_a_blocking_socket(same, pair):
    def receive(socket):
        pair(socket)[0].recv(1, socket.MSG_DONTWAIT)

    same.error(receive, BlockingIOError)


def test_data_that_is_there_already_needs_no_time(pair):
    client, server = pair(rsnet)
    client.sendall(b"data")
    server.settimeout(1e-9)
    assert server.recv(9) == b"data"


def test_data_that_comes_in_time(pair, when_blocked):
    client, server = pair(rsnet)
    for timeout_s in (None, 20):
        server.settimeout(timeout_s)
        sent = when_blocked(lambda: client.sendall(b"data"))
        assert server.recv(9) == b"data"
        sent.result()


def test_an_accept_that_comes_in_time(listener, when_blocked, opened):
    for timeout_s in (None, 20):
        sock = listener(rsnet)
        sock.settimeout(timeout_s)
        address = sock.getsockname()
        connected = when_blocked(lambda address=address: opened(rsnet.create_connection(address)))
        accepted, from_address = sock.accept()
        assert opened(accepted).getblocking()
        assert connected.result().getsockname() == from_address


@pytest.mark.parametrize("timeout_s", [None, 20])
def test_a_connect_that_is_answered_late(in_thread, opened, timeout_s):
    # A full queue leaves the connection unanswered until somebody accepts; then TCP's own second
    # attempt, a second after the first, succeeds.
    listener = opened(rsnet.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    opened(rsnet.create_connection(listener.getsockname()))
    sock = opened(rsnet.socket())
    sock.settimeout(timeout_s)
    connecting = in_thread(sock.connect, listener.getsockname())
    connecting.until_blocked()
    opened(listener.accept()[0])
    assert connecting.result() is None
    assert sock.getpeername() == listener.getsockname()


def test_a_timed_out_connect_can_be_given_up(opened, unanswered, listener):
    sock = opened(rsnet.socket())
    sock.settimeout(TIMEOUT_S)
    with pytest.raises(TimeoutError):
        sock.connect(unanswered)
    sock.close()
    with rsnet.create_connection(listener(rsnet).getsockname(), timeout=20) as other:
        assert other.gettimeout() == 20
