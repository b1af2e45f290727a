"""The standard library's clients and servers, and PySocks, on rsnet sockets."""

import ftplib
import http.client
import http.server
import io
import logging.handlers
import smtplib
import socket as standard
import socketserver
import struct
import threading
import urllib.request
import xmlrpc.client
import xmlrpc.server
from unittest import mock

import pytest

import rsnet

DATA = bytes(range(256)) * 4_000
LIMIT_S = 20


@pytest.fixture
def serving(in_thread):
    """`serving(server)` runs a socketserver until the test is over, and closes it."""
    started = []

    def start(server):
        started.append((server, in_thread(server.serve_forever, 0.01)))
        return server.server_address

    yield start
    for server, call in started:
        server.shutdown()
        call.result()
        server.server_close()


@pytest.fixture
def everywhere(monkeypatch):
    """`everywhere(module, ...)`: these modules find rsnet where they imported `socket`."""

    def put(*modules):
        for module in modules:
            monkeypatch.setattr(module, "socket", rsnet)

    return put


class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        assert type(self.request) is rsnet.socket
        for line in self.rfile:
            self.wfile.write(line.upper())


class Threading(socketserver.ThreadingTCPServer):
    # A hang is to fail one test and no more.
    daemon_threads = True


@pytest.mark.parametrize("kind", [socketserver.TCPServer, Threading])
def test_socketserver(everywhere, serving, kind):
    everywhere(socketserver)
    server = kind(("127.0.0.1", 0), Upper)
    address = serving(server)
    assert type(server.socket) is rsnet.socket
    for _ in range(3):
        with rsnet.create_connection(address, timeout=LIMIT_S) as sock:
            with sock.makefile("rwb") as file:
                file.write(b"one\ntwo\n")
                file.flush()
                sock.shutdown(rsnet.SHUT_WR)
                assert file.read() == b"ONE\nTWO\n"


def test_socketserver_with_datagrams(everywhere, serving):
    class Handler(socketserver.DatagramRequestHandler):
        def handle(self):
            self.wfile.write(self.rfile.read().upper())

    everywhere(socketserver)
    address = serving(socketserver.UDPServer(("127.0.0.1", 0), Handler))
    with rsnet.socket(type=rsnet.SOCK_DGRAM) as sock:
        sock.settimeout(LIMIT_S)
        sock.sendto(b"question", address)
        assert sock.recvfrom(99) == (b"QUESTION", address)


def test_socketserver_on_a_unix_path(everywhere, serving, tmp_path):
    everywhere(socketserver)
    path = serving(socketserver.UnixStreamServer(str(tmp_path / "server"), Upper))
    with rsnet.socket(rsnet.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"line\n")
        assert sock.recv(99) == b"LINE\n"


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(DATA)

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_http(everywhere, serving):
    everywhere(socketserver, http.server, http.client)
    host, port = serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages))[:2]
    connection = http.client.HTTPConnection(host, port, timeout=LIMIT_S)
    for body in (None, b"short", DATA):
        connection.request("POST" if body else "GET", "/", body)
        response = connection.getresponse()
        assert response.read() == (body or DATA)
        assert type(connection.sock) is rsnet.socket
    connection.close()


def test_urllib(everywhere, serving):
    everywhere(socketserver, http.server, http.client)
    port = serving(http.server.HTTPServer(("127.0.0.1", 0), Pages))[1]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/", timeout=LIMIT_S) as response:
        assert response.read() == DATA


def test_http_with_a_body_from_a_file(everywhere, serving):
    everywhere(http.client, socketserver)
    host, port = serving(http.server.HTTPServer(("127.0.0.1", 0), Pages))[:2]
    connection = http.client.HTTPConnection(host, port, timeout=LIMIT_S)
    connection.request("POST", "/", io.BytesIO(DATA), {"Content-Length": str(len(DATA))})
    assert connection.getresponse().read() == DATA
    connection.close()


def test_xmlrpc(everywhere, serving):
    everywhere(socketserver, http.client)
    server = xmlrpc.server.SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
    server.register_function(pow)
    port = serving(server)[1]
    with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}") as proxy:
        assert proxy.pow(2, 10) == 1024


def scripted(listener, lines):
    """A server of one client that answers each of its lines with the next of ours."""

    def serve():
        sock, _ = listener.accept()
        with sock, sock.makefile("rwb") as file:
            for line in lines:
                file.write(line + b"\r\n")
                file.flush()
                heard.append(file.readline().strip())

    heard = []
    return serve, heard


def test_smtp(everywhere, listener, in_thread):
    everywhere(smtplib)
    server = listener(rsnet)
    serve, heard = scripted(server, [b"220 ready", b"250 hello", b"221 bye"])
    call = in_thread(serve)
    with smtplib.SMTP(*server.getsockname(), local_hostname="client", timeout=LIMIT_S) as smtp:
        assert type(smtp.sock) is rsnet.socket
        assert smtp.ehlo() == (250, b"hello")
    call.result()
    assert [line.lower() for line in heard] == [b"ehlo client", b"quit", b""]


def test_ftp(everywhere, listener, in_thread):
    everywhere(ftplib)
    server = listener(rsnet)
    serve, heard = scripted(server, [b"220 ready", b"230 logged in", b'257 "/"', b"221 bye"])
    call = in_thread(serve)
    ftp = ftplib.FTP()
    ftp.connect(*server.getsockname(), timeout=LIMIT_S)
    ftp.login()
    assert ftp.pwd() == "/"
    ftp.quit()
    call.result()
    assert heard[:2] == [b"USER anonymous", b"PWD"]


def test_logging(everywhere, listener, in_thread):
    everywhere(logging.handlers)
    server = listener(rsnet)

    def receive():
        sock, _ = server.accept()
        with sock, sock.makefile("rb") as file:
            (length,) = struct.unpack(">L", file.read(4))
            return len(file.read(length)) == length

    receiving = in_thread(receive)
    handler = logging.handlers.SocketHandler(*server.getsockname())
    handler.emit(logging.makeLogRecord({"msg": "over rsnet"}))
    assert type(handler.sock) is rsnet.socket
    handler.close()
    assert receiving.result()


# PySocks: subclasses the class, wraps its methods, replaces it.


class Socks5(socketserver.StreamRequestHandler):
    """A SOCKS5 proxy (RFC 1928) of one kind of request: CONNECT to an IPv4 address or a name."""

    def handle(self):
        version, count = self.rfile.read(2)
        assert (version, self.rfile.read(count)) == (5, b"\0")
        self.wfile.write(b"\5\0")
        _, command, _, kind = self.rfile.read(4)
        assert command == 1
        host = self.rfile.read(4 if kind == 1 else self.rfile.read(1)[0])
        host = rsnet.inet_ntoa(host) if kind == 1 else host.decode()
        (port,) = struct.unpack(">H", self.rfile.read(2))
        self.server.asked.append((host, port))
        try:
            # Not by the module that a test may have told to go by this proxy.
            far_end = standard.create_connection((host, port), timeout=LIMIT_S)
        except OSError:
            self.wfile.write(b"\5\5\0\1" + bytes(6))
            return
        with far_end:
            self.wfile.write(b"\5\0\0\1" + rsnet.inet_aton(host) + struct.pack(">H", port))
            back = threading.Thread(target=self.pump, args=(far_end, self.request))
            back.start()
            self.pump(self.request, far_end)
            back.join()

    @staticmethod
    def pump(source, sink):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(rsnet.SHUT_WR)


@pytest.fixture
def socks(monkeypatch):
    """PySocks, as it is when imported in a process where `socket` is rsnet."""
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "socket", rsnet)
    monkeypatch.delitem(sys.modules, "socks", raising=False)
    module = importlib.import_module("socks")
    yield module
    del sys.modules["socks"]


@pytest.fixture
def proxy(everywhere, serving):
    everywhere(socketserver)
    server = Threading(("127.0.0.1", 0), Socks5)
    server.asked = []
    return serving(server), server.asked


def test_pysocks(socks, proxy, serving):
    (proxy_host, proxy_port), asked = proxy
    address = serving(socketserver.TCPServer(("127.0.0.1", 0), Upper))
    assert issubclass(socks.socksocket, rsnet.socket)
    with socks.socksocket() as sock:
        sock.set_proxy(socks.SOCKS5, proxy_host, proxy_port)
        sock.settimeout(LIMIT_S)
        sock.connect(address)
        assert sock.get_proxy_peername() == address
        sock.sendall(b"through the proxy\n")
        assert sock.recv(99) == b"THROUGH THE PROXY\n"
    assert asked == [address]


def test_pysocks_create_connection(socks, proxy, serving):
    (proxy_host, proxy_port), _ = proxy
    address = serving(socketserver.TCPServer(("127.0.0.1", 0), Upper))
    with (
        socks.create_connection(
            address, LIMIT_S, proxy_type=socks.SOCKS5, proxy_addr=proxy_host, proxy_port=proxy_port
        ) as sock,
        sock.makefile("rwb") as file,
    ):
        file.write(b"line\n")
        file.flush()
        assert file.readline() == b"LINE\n"


def test_pysocks_and_a_refusal(socks, proxy, refused_port):
    (proxy_host, proxy_port), _ = proxy
    with socks.socksocket() as sock:
        sock.set_proxy(socks.SOCKS5, proxy_host, proxy_port)
        with pytest.raises(socks.ProxyError, match="refused"):
            sock.connect(("127.0.0.1", refused_port))


def test_pysocks_in_the_place_of_the_class(socks, proxy, serving):
    (proxy_host, proxy_port), asked = proxy
    address = serving(http.server.HTTPServer(("127.0.0.1", 0), Pages))
    socks.set_default_proxy(socks.SOCKS5, proxy_host, proxy_port)
    try:
        with (
            mock.patch.object(http.client, "socket", rsnet),
            mock.patch("rsnet.socket", socks.socksocket),
        ):
            connection = http.client.HTTPConnection(*address, timeout=LIMIT_S)
            connection.request("GET", "/")
            assert connection.getresponse().read() == DATA
            assert type(connection.sock) is socks.socksocket
            connection.close()
    finally:
        socks.set_default_proxy()
    assert address in asked
