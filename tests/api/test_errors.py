"""What goes wrong is told as CPython tells it; a note says with whom it went wrong."""

import errno
import os
import socket as standard
import struct
import traceback
from socket import AF_INET, AF_INET6, AF_UNIX, SO_LINGER, SOCK_DGRAM, SOL_SOCKET

import pytest

import rsnet

TIMEOUT_S = 0.03


def reset(sock):
    """Closes a connection so that the other side sees it reset."""
    sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def connect_refused(socket, port):
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", port))


def receive_after_reset(socket, pair):
    client, server = pair(socket)
    reset(server)
    client.recv(1)


def send_after_reset(socket, pair):
    client, server = pair(socket)
    reset(server)
    while True:
        client.send(b"x")


def send_after_close(socket, pair):
    client, server = pair(socket, AF_UNIX)
    server.close()
    client.send(b"x")


def send_after_shutdown(socket, pair):
    client, _ = pair(socket)
    client.shutdown(socket.SHUT_WR)
    client.sendall(b"x")


def connect_twice(socket, pair):
    client, server = pair(socket)
    client.connect(server.getsockname())


def bind_twice(socket, pair):
    client, _ = pair(socket)
    client.bind(("127.0.0.1", 0))


def bind_to_a_taken_address(socket, pair):
    _, server = pair(socket, AF_INET, SOCK_DGRAM)
    with socket.socket(type=SOCK_DGRAM) as sock:
        sock.bind(server.getsockname())


def bind_to_somebody_else_s_address(socket, pair):
    with socket.socket() as sock:
        sock.bind(("192.0.2.77", 0))


def use_unconnected(method, *arguments):
    def use(socket, pair):
        with socket.socket() as sock:
            getattr(sock, method)(*arguments)

    return use


def send_a_datagram_nowhere(socket, pair):
    with socket.socket(type=SOCK_DGRAM) as sock:
        sock.send(b"x")


def broadcast_without_permission(socket, pair):
    with socket.socket(type=SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("<broadcast>", 9))


def accept_on_a_datagram_socket(socket, pair):
    pair(socket, AF_INET, SOCK_DGRAM)[0].accept()


def accept_without_listen(socket, pair):
    with socket.socket() as sock:
        sock.accept()


def listen_while_connected(socket, pair):
    pair(socket)[0].listen()


def connect_to_no_such_path(socket, pair):
    with socket.socket(AF_UNIX) as sock:
        sock.connect("/no/such/folder/socket")


def bind_to_no_such_folder(socket, pair):
    with socket.socket(AF_UNIX) as sock:
        sock.bind("/no/such/folder/socket")


def receive_a_refused_datagram(socket, pair):
    client, server = pair(socket, AF_INET, SOCK_DGRAM)
    server.close()
    client.send(b"x")
    client.recv(1)


def connect_to_another_family(socket, pair):
    with socket.socket(AF_INET6) as sock:
        sock.connect(("127.0.0.1", 9))


FAILURES = {
    receive_after_reset: errno.ECONNRESET,
    send_after_reset: None,
    send_after_close: errno.EPIPE,
    send_after_shutdown: errno.EPIPE,
    connect_twice: errno.EISCONN,
    bind_twice: errno.EINVAL,
    bind_to_a_taken_address: errno.EADDRINUSE,
    bind_to_somebody_else_s_address: errno.EADDRNOTAVAIL,
    send_a_datagram_nowhere: errno.EDESTADDRREQ,
    broadcast_without_permission: errno.EACCES,
    accept_on_a_datagram_socket: errno.EOPNOTSUPP,
    accept_without_listen: errno.EINVAL,
    listen_while_connected: errno.EINVAL,
    connect_to_no_such_path: errno.ENOENT,
    bind_to_no_such_folder: errno.ENOENT,
    receive_a_refused_datagram: errno.ECONNREFUSED,
    connect_to_another_family: None,
}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_failures(same, pair, failure):
    error = same.error(lambda socket: failure(socket, pair), OSError)
    if FAILURES[failure] is not None:
        assert error.errno == FAILURES[failure]
        assert error.strerror == os.strerror(error.errno)
        assert error.filename is None


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("getpeername", ()),
        ("recv", (1,)),
        ("recv_into", (bytearray(1),)),
        ("recvfrom", (1,)),
        ("recvmsg", (1,)),
        ("send", (b"x",)),
        ("sendall", (b"x",)),
        ("sendmsg", ([b"x"],)),
        ("shutdown", (standard.SHUT_RDWR,)),
        ("shutdown", (99,)),
        ("getsockopt", (1, 9999)),
    ],
)
def test_sockets_without_a_connection(same, pair, method, arguments):
    same.error(lambda socket: use_unconnected(method, *arguments)(socket, pair), OSError)


def test_a_refused_connection(same, refused_port):
    error = same.error(lambda socket: connect_refused(socket, refused_port), ConnectionRefusedError)
    assert error.args == (errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def test_connect_ex_gives_numbers(same, pair, refused_port):
    def connect(socket):
        client, server = pair(socket)
        with socket.socket() as sock, socket.socket(AF_UNIX) as unix:
            return (
                sock.connect_ex(("127.0.0.1", refused_port)),
                client.connect_ex(server.getsockname()),
                unix.connect_ex("/no/such/folder/socket"),
            )

    expected = (errno.ECONNREFUSED, errno.EISCONN, errno.ENOENT)
    assert same.value(connect) == expected


@pytest.mark.parametrize(
    "address", [None, ("127.0.0.1",), ("127.0.0.1", -1), ("127.0.0.1", "1"), ("h" * 300, 1)]
)
def test_connect_ex_raises_for_addresses(same, address):
    def connect(socket):
        with socket.socket() as sock:
            sock.connect_ex(address)

    same.error(connect)


def test_errors_of_the_listening_queue_pass_on_to_accept(same):
    # A connection that was reset before it is accepted.
    def accept(socket):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            reset(socket.create_connection(listener.getsockname()))
            accepted, _ = listener.accept()
            with accepted:
                accepted.recv(1)

    same.error(accept, ConnectionResetError)


def test_close_of_a_reset_connection_is_quiet(pair):
    client, server = pair(rsnet)
    reset(server)
    assert client.close() is None


# Notes.


def notes_of(error):
    return " ".join(getattr(error, "__notes__", []))


def raised_by(operation):
    with pytest.raises(OSError) as caught:
        operation()
    return caught.value


def test_a_failed_connect_names_the_peer(refused_port):
    error = raised_by(lambda: connect_refused(rsnet, refused_port))
    assert "127.0.0.1" in notes_of(error)
    assert str(refused_port) in notes_of(error)
    assert str(error) == f"[Errno {errno.ECONNREFUSED}] Connection refused"


def test_a_timed_out_connect_names_the_peer(unanswered):
    with rsnet.socket() as sock:
        sock.settimeout(TIMEOUT_S)
        error = raised_by(lambda: sock.connect(unanswered))
    assert str(unanswered[1]) in notes_of(error)
    assert error.args == ("timed out",)


def test_a_failed_connect_of_ipv6_names_the_peer(refused_port):
    with rsnet.socket(AF_INET6) as sock:
        error = raised_by(lambda: sock.connect(("::1", refused_port)))
    assert "::1" in notes_of(error) and str(refused_port) in notes_of(error)


def test_a_failed_connect_names_the_path():
    with rsnet.socket(AF_UNIX) as sock:
        error = raised_by(lambda: sock.connect("/no/such/folder/socket"))
    assert "/no/such/folder/socket" in notes_of(error)


def test_a_failed_sendto_names_the_peer():
    with rsnet.socket(type=SOCK_DGRAM) as sock:
        error = raised_by(lambda: sock.sendto(b"x", ("<broadcast>", 4242)))
        assert "<broadcast>" in notes_of(error) and "4242" in notes_of(error)
        error = raised_by(lambda: sock.sendto(b"x", 0, ("255.255.255.255", 4243)))
        assert "255.255.255.255" in notes_of(error) and "4243" in notes_of(error)


def test_a_failed_bind_names_the_address(pair):
    _, server = pair(rsnet)
    with rsnet.socket() as sock:
        error = raised_by(lambda: sock.bind(server.getsockname()))
    assert str(server.getsockname()[1]) in notes_of(error)


def test_create_connection_s_error_names_the_peer(refused_port):
    error = raised_by(lambda: rsnet.create_connection(("127.0.0.1", refused_port)))
    assert str(refused_port) in notes_of(error)


def test_notes_are_shown_with_the_traceback(refused_port):
    error = raised_by(lambda: connect_refused(rsnet, refused_port))
    last_lines = "".join(traceback.format_exception(error)).splitlines()[-2:]
    assert "ConnectionRefusedError" in last_lines[0]
    assert str(refused_port) in last_lines[1]


def test_a_timed_out_sendall_says_how_much_went(pair):
    client, server = pair(rsnet)
    client.settimeout(TIMEOUT_S)
    error = raised_by(lambda: client.sendall(bytes(50_000_000)))
    assert type(error) is TimeoutError
    assert error.args == ("timed out",)
    assert 0 < error.bytes_sent < 50_000_000
    assert str(error.bytes_sent) in notes_of(error)
    client.close()
    assert sum(map(len, iter(lambda: server.recv(1 << 20), b""))) == error.bytes_sent


def test_a_broken_sendall_says_how_much_went(pair, in_thread):
    client, server = pair(rsnet, AF_UNIX)
    sending = in_thread(client.sendall, bytes(50_000_000))
    sending.until_blocked()
    server.close()
    error = raised_by(sending.result)
    assert type(error) is BrokenPipeError
    assert 0 < error.bytes_sent < 50_000_000


def test_a_sendall_that_does_not_block_says_how_much_went(pair):
    client, server = pair(rsnet)
    client.setblocking(False)
    error = raised_by(lambda: client.sendall(bytes(50_000_000)))
    assert type(error) is BlockingIOError
    client.close()
    assert sum(map(len, iter(lambda: server.recv(1 << 20), b""))) == error.bytes_sent
