"""TLS over an rsnet socket: what it waits for and refuses, and how it gives the socket back."""

import select
import ssl

import pytest

import rsnet

DATA = bytes(range(256)) * 4_000
LIMIT_S = 20


@pytest.fixture
def tls(pair, in_thread, opened, server_context, client_context):
    """`tls()`: the two ends of a TLS connection over rsnet sockets, the client first."""

    def make(family=rsnet.AF_INET):
        client, server = pair(rsnet, family)
        accepting = in_thread(lambda: server_context.wrap_socket(server, server_side=True))
        wrapped = client_context.wrap_socket(client, server_hostname="localhost")
        return opened(wrapped), opened(accepting.result())

    return make


@pytest.mark.parametrize("family", [rsnet.AF_INET, rsnet.AF_INET6, rsnet.AF_UNIX])
def test_each_family(tls, in_thread, family):
    client, server = tls(family)
    sending = in_thread(client.sendall, DATA)
    with server.makefile("rb") as file:
        assert file.read(len(DATA)) == DATA
    sending.result()


def test_a_handshake_by_connect(listener, in_thread, server_context, client_context):
    server = listener(rsnet)

    def serve():
        sock, _ = server.accept()
        with server_context.wrap_socket(sock, server_side=True) as tls:
            tls.sendall(tls.recv(99).upper())

    serving = in_thread(serve)
    with client_context.wrap_socket(rsnet.socket(), server_hostname="localhost") as tls:
        assert tls.version() is None
        tls.connect(server.getsockname())
        assert tls.version() is not None
        tls.sendall(b"question")
        assert tls.recv(99) == b"QUESTION"
    serving.result()


def test_a_receive_that_times_out(tls):
    client, server = tls()
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(9)
    server.sendall(b"late")
    client.settimeout(LIMIT_S)
    assert client.recv(9) == b"late"


def test_a_send_that_times_out(tls):
    client, _ = tls()
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.sendall(bytes(1 << 26))


def test_without_blocking(tls):
    client, server = tls()
    client.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(9)
    with pytest.raises(ssl.SSLWantWriteError):
        client.sendall(bytes(1 << 26))
    # Readable means bytes of TLS, which need not be data yet.
    client, server = tls()
    client.setblocking(False)
    server.sendall(b"data")
    data = b""
    while data != b"data":
        assert client.pending() or select.select([client], [], [], LIMIT_S)[0] == [client]
        try:
            data += client.recv(9)
        except ssl.SSLWantReadError:
            continue


def test_plain_then_tls_then_plain(pair, in_thread, server_context, client_context):
    client, server = pair(rsnet)
    client.sendall(b"STARTTLS\n")
    assert server.recv(99) == b"STARTTLS\n"

    def serve():
        tls = server_context.wrap_socket(server, server_side=True)
        tls.sendall(tls.recv(99).upper())
        with tls.unwrap() as plain:
            plain.sendall(b"plain again")

    serving = in_thread(serve)
    tls = client_context.wrap_socket(client, server_hostname="localhost")
    tls.sendall(b"secret")
    assert tls.recv(99) == b"SECRET"
    number = tls.fileno()
    with tls.unwrap() as plain:
        assert plain.fileno() == number
        assert plain.recv(99) == b"plain again"
    serving.result()


def test_an_end_without_goodbye(tls):
    client, server = tls()
    server.shutdown(rsnet.SHUT_RDWR)
    server.close()
    # As ssl does by default: the end of the stream ends the data.
    assert client.recv(9) == b""


def test_sendfile(tls, in_thread, tmp_path):
    client, server = tls()
    (tmp_path / "data").write_bytes(DATA)

    def send():
        with open(tmp_path / "data", "rb") as file:
            return client.sendfile(file)

    sending = in_thread(send)
    buffer = bytearray(len(DATA))
    filled = 0
    while filled < len(DATA):
        filled += server.recv_into(memoryview(buffer)[filled:])
    assert (sending.result(), buffer) == (len(DATA), DATA)


def test_what_does_not_talk_tls(pair, in_thread, client_context):
    client, server = pair(rsnet)

    def serve():
        assert server.recv(1 << 14)
        server.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    serving = in_thread(serve)
    with pytest.raises(ssl.SSLError):
        client_context.wrap_socket(client, server_hostname="localhost")
    serving.result()


def test_a_peer_that_leaves_during_the_handshake(pair, client_context):
    client, server = pair(rsnet)
    server.shutdown(rsnet.SHUT_WR)
    with pytest.raises(ssl.SSLEOFError):
        client_context.wrap_socket(client, server_hostname="localhost")


def test_datagram_sockets_are_refused(pair, client_context):
    client, _ = pair(rsnet, type=rsnet.SOCK_DGRAM)
    with pytest.raises(NotImplementedError):
        client_context.wrap_socket(client, server_hostname="localhost")


def test_closed_sockets_are_refused(pair, client_context):
    client, _ = pair(rsnet)
    client.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        client_context.wrap_socket(client, server_hostname="localhost")
