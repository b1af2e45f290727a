"""PySocks in a program that runs on rsnet as a whole: `socket` is rsnet for all that it imports."""

import contextlib
import select
import socket as standard
import struct
from typing import NamedTuple

import pytest

from rsnet import inet_aton, inet_ntoa

CONNECT, UDP_ASSOCIATE = 1, 3
NO_PASSWORD, PASSWORD = 0, 2
USER, SECRET = b"user", b"secret"
LIMIT_S = 20

# `ssl` comes first: its SSLSocket has to derive from the standard class.
SWAP = """
    import ssl, sys
    import rsnet
    sys.modules["socket"] = rsnet
    import http.client, socket, socks
    assert socket is rsnet and http.client.socket is rsnet
    assert issubclass(socks.socksocket, rsnet.socket)
    proxy, far_end = ("127.0.0.1", int(sys.argv[1])), ("127.0.0.1", int(sys.argv[2]))
    user, secret = (sys.argv[3:5] + [None, None])[:2]

    def through_proxy(type=socket.SOCK_STREAM):
        sock = socks.socksocket(socket.AF_INET, type)
        sock.set_proxy(socks.SOCKS5, *proxy, rdns=True, username=user, password=secret)
        sock.settimeout(20)
        return sock
"""


class Proxy:
    """A SOCKS5 proxy (RFC 1928, RFC 1929) for one client, whatever name it is given as host."""

    def __init__(self, listener, method):
        self.listener = listener
        self.method = method
        self.asked = None

    def serve(self):
        control, _ = self.listener.accept()
        control.settimeout(LIMIT_S)
        with control, control.makefile("rb") as reading:
            if not self.admits(control, reading):
                return
            _, command, _, kind = reading.read(4)
            host = read_host(reading, kind)
            (port,) = struct.unpack(">H", reading.read(2))
            self.asked = (command, host, port)
            if command == CONNECT:
                self.connect(control, port)
            else:
                self.associate(control)

    def admits(self, control, reading):
        _, count = reading.read(2)
        assert self.method in reading.read(count)
        control.sendall(bytes([5, self.method]))
        if self.method == NO_PASSWORD:
            return True
        given = [reading.read(reading.read(2)[1]), reading.read(reading.read(1)[0])]
        right = given == [USER, SECRET]
        control.sendall(bytes([1, not right]))
        return right

    def connect(self, control, port):
        with standard.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as far_end:
            control.sendall(b"\5\0\0" + address_of(far_end.getsockname()))
            pump(control, far_end)

    def associate(self, control):
        with standard.socket(type=standard.SOCK_DGRAM) as relay:
            relay.bind(("127.0.0.1", 0))
            relay.settimeout(LIMIT_S)
            control.sendall(b"\5\0\0" + address_of(relay.getsockname()))
            data, client = relay.recvfrom(1 << 16)
            assert data[:4] == b"\0\0\0\1"
            (port,) = struct.unpack(">H", data[8:10])
            relay.sendto(data[10:], (inet_ntoa(data[4:8]), port))
            answer, address = relay.recvfrom(1 << 16)
            relay.sendto(b"\0\0\0" + address_of(address) + answer, client)
            # The association lasts as long as the connection that it was asked for on.
            assert control.recv(1) == b""


def read_host(reading, kind):
    if kind == 1:
        return inet_ntoa(reading.read(4))
    assert kind == 3
    return reading.read(reading.read(1)[0]).decode()


def address_of(address):
    return b"\1" + inet_aton(address[0]) + struct.pack(">H", address[1])


def pump(*ends):
    """Passes what either end sends to the other, until both have ended."""
    other = dict(zip(ends, reversed(ends), strict=True))
    open_ends = set(ends)
    while open_ends:
        for end in select.select(list(open_ends), [], [], LIMIT_S)[0]:
            if data := end.recv(1 << 16):
                other[end].sendall(data)
            else:
                open_ends.remove(end)
                with contextlib.suppress(OSError):
                    other[end].shutdown(standard.SHUT_WR)


class Ran(NamedTuple):
    printed: str
    asked: tuple[int, str, int]


@pytest.fixture
def run_through_proxy(listener, in_thread, run_python):
    """`run_through_proxy(source, port, method, *arguments)`: what the program printed and asked."""

    def run(source, port, method=NO_PASSWORD, *arguments):
        proxy = Proxy(listener(standard), method)
        serving = in_thread(proxy.serve)
        proxy_port = proxy.listener.getsockname()[1]
        printed = run_python(SWAP + source, proxy_port, port, *arguments)
        serving.result()
        return Ran(printed, proxy.asked)

    return run


@pytest.fixture
def upper_port(listener, in_thread):
    """The port of a server that answers one client's bytes in capitals until it ends."""
    server = listener(standard)

    def serve():
        sock, _ = server.accept()
        with sock:
            while data := sock.recv(1 << 16):
                sock.sendall(data.upper())

    in_thread(serve)
    return server.getsockname()[1]


STREAM = """
    with through_proxy() as sock:
        sock.connect(("far-end.test", far_end[1]))
        assert isinstance(sock, socket.socket)
        print(socket.socket.getpeername(sock) == proxy)
        sock.sendall(b"question")
        print(sock.recv(99), socket.socket.gettimeout(sock))
        sock.setblocking(False)
        try:
            sock.recv(9)
        except BlockingIOError:
            print("nothing yet")
"""


def test_a_stream_to_a_name(run_through_proxy, upper_port):
    ran = run_through_proxy(STREAM, upper_port)
    assert ran.printed == "True\nb'QUESTION' 20.0\nnothing yet\n"
    assert ran.asked == (CONNECT, "far-end.test", upper_port)


def test_a_proxy_with_a_password(run_through_proxy, upper_port):
    ran = run_through_proxy(STREAM, upper_port, PASSWORD, USER.decode(), SECRET.decode())
    assert "b'QUESTION'" in ran.printed
    assert ran.asked == (CONNECT, "far-end.test", upper_port)


def test_a_wrong_password(run_through_proxy, refused_port):
    source = """
    with through_proxy() as sock:
        try:
            sock.connect(("far-end.test", 1))
        except socks.ProxyError as error:
            print(type(error.socket_err).__name__, isinstance(error, socket.error))
    """
    ran = run_through_proxy(source, refused_port, PASSWORD, USER.decode(), "wrong")
    assert ran == ("SOCKS5AuthError True\n", None)


def test_datagrams(run_through_proxy, opened, in_thread):
    server = opened(standard.socket(type=standard.SOCK_DGRAM))
    server.bind(("127.0.0.1", 0))
    server.settimeout(LIMIT_S)

    def serve():
        data, address = server.recvfrom(99)
        server.sendto(data.upper(), address)

    serving = in_thread(serve)
    port = server.getsockname()[1]
    source = """
    with through_proxy(socket.SOCK_DGRAM) as sock:
        sock.sendto(b"question", far_end)
        print(sock.recvfrom(99))
    """
    ran = run_through_proxy(source, port)
    serving.result()
    assert ran.printed == f"(b'QUESTION', ('127.0.0.1', {port}))\n"
    assert ran.asked[0] == UDP_ASSOCIATE


def test_https_in_a_program_whose_class_was_replaced(
    run_through_proxy, listener, in_thread, authority, server_context, tmp_path
):
    server = listener(standard)

    def serve():
        sock, _ = server.accept()
        with server_context.wrap_socket(sock, server_side=True) as tls, tls.makefile("rb") as file:
            assert file.readline() == b"GET / HTTP/1.1\r\n"
            while file.readline() != b"\r\n":
                pass
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndata")
            assert file.read() == b""

    serving = in_thread(serve)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    source = """
    context = ssl.create_default_context(cafile=sys.argv[3])
    socks.set_default_proxy(socks.SOCKS5, *proxy)
    socket.socket = socks.socksocket
    connection = http.client.HTTPSConnection("127.0.0.1", far_end[1], context=context, timeout=20)
    connection.request("GET", "/")
    print(connection.getresponse().read(), type(connection.sock).__name__)
    connection.close()
    """
    port = server.getsockname()[1]
    ran = run_through_proxy(source, port, NO_PASSWORD, tmp_path / "authority.pem")
    serving.result()
    assert ran == ("b'data' SSLSocket\n", (CONNECT, "127.0.0.1", port))
