"""TLS over rsnet sockets, client and server, with a certificate authority made for the run."""

import contextlib
import http.client
import http.server
import select
import socket as standard
import ssl

import pytest

import rsnet

DATA = bytes(range(256)) * 4_000
# Several TLS records, and no more than a connection holds while nobody receives.
PIECE_BYTES = 50_000


def echo(context, listener):
    """Answers one client over TLS with what it sends, until it ends."""
    sock, _ = listener.accept()
    with context.wrap_socket(sock, server_side=True) as tls:
        while data := tls.recv(1 << 16):
            tls.sendall(data)
        with contextlib.suppress(OSError):
            # The answer to a client that says goodbye; others are gone already.
            tls.unwrap()


def exchange(tls, data):
    """What an echo gives back. By turns: one TLS connection is for one thread at a time."""
    received = bytearray()
    for start in range(0, len(data), PIECE_BYTES):
        tls.sendall(data[start : start + PIECE_BYTES])
        while len(received) < min(start + PIECE_BYTES, len(data)):
            piece = tls.recv(1 << 16)
            assert piece, "the echo ended early"
            received += piece
    return bytes(received)


@pytest.mark.parametrize("timeout_s", [None, 20])
@pytest.mark.parametrize("server_module", [rsnet, standard], ids=lambda module: module.__name__)
@pytest.mark.parametrize("client_module", [rsnet, standard], ids=lambda module: module.__name__)
def test_both_ends(
    listener, in_thread, server_context, client_context, server_module, client_module, timeout_s
):
    server = listener(server_module)
    serving = in_thread(echo, server_context, server)
    sock = client_module.create_connection(server.getsockname(), timeout=timeout_s)
    assert isinstance(sock, rsnet.socket) and isinstance(sock, standard.socket)
    with client_context.wrap_socket(sock, server_hostname="localhost") as tls:
        assert exchange(tls, DATA) == DATA
        assert tls.gettimeout() == timeout_s
        assert tls.version().startswith("TLS")
        assert tls.getpeercert()["subjectAltName"]
        assert tls.getpeername() == server.getsockname()
    serving.result()
    # The TLS socket took the descriptor over.
    assert sock.fileno() == -1
    assert isinstance(tls, rsnet.socket) and isinstance(tls, standard.socket)


def test_a_listener_that_is_wrapped(listener, in_thread, server_context, client_context):
    server = listener(rsnet)
    address = server.getsockname()
    with server_context.wrap_socket(server.dup(), server_side=True) as tls_server:

        def serve():
            tls, _ = tls_server.accept()
            with tls:
                tls.sendall(tls.recv(99).upper())

        serving = in_thread(serve)
        with rsnet.create_connection(address) as sock:
            with client_context.wrap_socket(sock, server_hostname="localhost") as tls:
                tls.sendall(b"question")
                assert tls.recv(99) == b"QUESTION"
        serving.result()


def test_handshake_before_and_after_connecting(listener, in_thread, server_context, client_context):
    server = listener(rsnet)
    serving = in_thread(echo, server_context, server)
    with client_context.wrap_socket(
        rsnet.socket(), server_hostname="localhost", do_handshake_on_connect=False
    ) as tls:
        tls.connect(server.getsockname())
        tls.do_handshake()
        assert exchange(tls, b"data") == b"data"
        plain = tls.unwrap()
        assert plain.fileno() >= 0
        plain.close()
    serving.result()


def test_a_certificate_that_nobody_signed(listener, in_thread, server_context):
    server = listener(rsnet)

    def serve():
        sock, _ = server.accept()
        with pytest.raises(ssl.SSLError), sock:
            server_context.wrap_socket(sock, server_side=True).close()

    serving = in_thread(serve)
    with rsnet.create_connection(server.getsockname()) as sock:
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
    serving.result()


def test_a_handshake_that_times_out(listener, client_context):
    server = listener(rsnet)
    with rsnet.create_connection(server.getsockname(), timeout=0.05) as sock:
        with pytest.raises(TimeoutError):
            client_context.wrap_socket(sock, server_hostname="localhost")


def test_a_handshake_without_blocking(listener, in_thread, server_context, client_context):
    server = listener(rsnet)
    serving = in_thread(echo, server_context, server)
    sock = rsnet.create_connection(server.getsockname())
    sock.setblocking(False)
    with client_context.wrap_socket(
        sock, server_hostname="localhost", do_handshake_on_connect=False
    ) as tls:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                select.select([tls], [], [], 20)
            except ssl.SSLWantWriteError:
                select.select([], [tls], [], 20)
        tls.setblocking(True)
        assert exchange(tls, b"data") == b"data"
    serving.result()


def test_tls_in_memory_over_an_rsnet_socket(listener, in_thread, server_context, client_context):
    # As asyncio does it: the TLS engine does not touch the socket.
    server = listener(rsnet)
    serving = in_thread(echo, server_context, server)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with rsnet.create_connection(server.getsockname()) as sock:

        def drive(operation, *arguments):
            while True:
                try:
                    result = operation(*arguments)
                except ssl.SSLWantReadError:
                    result = None
                sock.sendall(outgoing.read())
                if result is not None:
                    return result
                incoming.write(sock.recv(1 << 14))

        drive(lambda: engine.do_handshake() or True)
        assert drive(engine.write, b"data") == 4
        assert drive(engine.read, 99) == b"data"
    serving.result()


def test_https(server_context, client_context, in_thread):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            self.wfile.write(DATA)

        def log_message(self, *_):
            pass

    sock = rsnet.create_server(("127.0.0.1", 0))
    server = http.server.HTTPServer(sock.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = server_context.wrap_socket(sock, server_side=True)
    serving = in_thread(server.handle_request)
    connection = http.client.HTTPSConnection(
        "localhost", server.socket.getsockname()[1], context=client_context
    )
    connection._create_connection = lambda address, *rest: rsnet.create_connection(
        ("127.0.0.1", address[1]), *rest
    )
    connection.request("GET", "/")
    assert connection.getresponse().read() == DATA
    connection.close()
    serving.result()
    server.server_close()
