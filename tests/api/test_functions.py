"""The functions of the module, but for those that look names up (test_lookups.py)."""

import contextlib
import errno
import gc
import os
import socket as standard
from socket import AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM

import pytest

import rsnet

# socketpair, fromfd, dup, close.


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (AF_UNIX,),
        (AF_UNIX, SOCK_DGRAM),
        (AF_UNIX, SOCK_SEQPACKET, 0),
        (None, SOCK_STREAM),
        (AF_UNIX, SOCK_STREAM | standard.SOCK_NONBLOCK),
    ],
    ids=repr,
)
def test_socketpair(same, arguments):
    def make(socket):
        left, right = socket.socketpair(*arguments)
        with left, right:
            assert type(left) is type(right) is socket.socket
            left.sendall(b"there")
            right.sendall(b"back")
            facts = [
                (s.family, s.type, s.proto, s.gettimeout(), s.get_inheritable())
                for s in (left, right)
            ]
            return facts, left.recv(9), right.recv(9)

    same.value(make)


@pytest.mark.parametrize(
    "arguments", [(AF_INET,), (AF_INET6, SOCK_DGRAM), (9999,), ("x",), (AF_UNIX, 99)], ids=repr
)
def test_bad_socketpair(same, arguments):
    same.error(lambda socket: socket.socketpair(*arguments))


def test_socketpair_with_a_default_timeout(same):
    def make(socket):
        socket.setdefaulttimeout(3)
        try:
            left, right = socket.socketpair()
        finally:
            socket.setdefaulttimeout(None)
        with left, right:
            return left.gettimeout(), right.gettimeout()

    same.value(make)


@pytest.mark.parametrize("family", [AF_INET, AF_INET6, AF_UNIX])
def test_fromfd(same, pair, family):
    def make(socket):
        client, server = pair(socket, family)
        with socket.fromfd(client.fileno(), family, SOCK_STREAM) as copy:
            assert copy.fileno() != client.fileno()
            assert type(copy) is socket.socket
            client.close()
            copy.sendall(b"by the copy")
            return copy.family, copy.type, copy.proto, copy.get_inheritable(), server.recv(99)

    same.value(make)


@pytest.mark.parametrize(
    "arguments", [(-1, 2, 1), (1 << 20, 2, 1), ("3", 2, 1), (0,), ()], ids=repr
)
def test_bad_fromfd(same, arguments):
    same.error(lambda socket: socket.fromfd(*arguments))


def test_close_and_dup_of_numbers(same):
    def use(socket):
        made = standard.socket()
        copy = socket.dup(made.fileno())
        assert not os.get_inheritable(copy)
        socket.close(made.detach())
        found = [socket.close(copy)]
        for number in (copy, -1, 1 << 20, "3", 2.0):
            for function in (socket.close, socket.dup):
                try:
                    function(number)
                except Exception as error:
                    found.append(error)
        return found

    same.value(use)


# create_connection.


@pytest.fixture
def server_address(listener):
    return listener(standard).getsockname()


def test_create_connection(same, server_address):
    def connect(socket):
        with socket.create_connection(server_address) as sock:
            assert type(sock) is socket.socket
            return sock.gettimeout(), sock.getpeername(), sock.family, sock.type

    assert same.value(connect)[:2] == (None, server_address)


@pytest.mark.parametrize("timeout_s", [None, 20, 20.5])
def test_create_connection_with_a_timeout(same, server_address, timeout_s):
    def connect(socket):
        with socket.create_connection(server_address, timeout_s) as sock:
            return sock.gettimeout()

    assert same.value(connect) == timeout_s


def test_create_connection_with_the_default_timeout(same, server_address):
    def connect(socket):
        socket.setdefaulttimeout(17)
        try:
            with socket.create_connection(server_address) as sock:
                with socket.create_connection(server_address, timeout=None) as other:
                    return sock.gettimeout(), other.gettimeout()
        finally:
            socket.setdefaulttimeout(None)

    assert same.value(connect) == (17, None)


def test_create_connection_from_an_address(same, server_address):
    def connect(socket):
        with socket.create_connection(server_address, source_address=("127.0.0.2", 0)) as sock:
            return sock.getsockname()[0]

    assert same.value(connect) == "127.0.0.2"


@pytest.mark.parametrize("all_errors", [False, True])
def test_create_connection_refused(same, refused_port, all_errors):
    def connect(socket):
        socket.create_connection(("localhost", refused_port), all_errors=all_errors)

    error = same.error(connect, ExceptionGroup if all_errors else ConnectionRefusedError)
    if all_errors:
        assert {type(part) for part in error.exceptions} == {ConnectionRefusedError}


# CPython's own code, which rsnet runs, leaves a socket to the collector when what it was asked for
# makes no sense.
leaves_sockets = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@leaves_sockets
@pytest.mark.parametrize(
    "arguments",
    [
        (("127.0.0.1",),),
        (None,),
        ("127.0.0.1:80",),
        (("127.0.0.1", "no such service"),),
        (("127.0.0.1", 1), "1"),
        (("127.0.0.1", 1), -1),
        (("127.0.0.1", 1), 1, "source"),
        (("127.0.0.1", 1), 1, ("192.0.2.77", 0)),
        (("127.0.0.1", 1), 1, None, True),
    ],
    ids=repr,
)
def test_bad_create_connection(same, arguments):
    same.error(lambda socket: socket.create_connection(*arguments))


@pytest.mark.parametrize("all_errors", [False, True])
def test_create_connection_leaves_no_reference_cycle(refused_port, all_errors):
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(OSError, ExceptionGroup):
            rsnet.create_connection(("127.0.0.1", refused_port), all_errors=all_errors)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_create_connection_tries_all_addresses_in_order(same, server_address, monkeypatch):
    def connect(socket, refused):
        def lookup(host, port, *_):
            return [
                (AF_INET, SOCK_STREAM, 6, "", ("127.0.0.1", refused)),
                (AF_INET6, SOCK_STREAM, 6, "", ("::1", refused)),
                (AF_INET, SOCK_STREAM, 6, "", server_address),
            ]

        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", lookup)
            patch.setattr(standard, "getaddrinfo", lookup)
            with socket.create_connection(("anything", 1)) as sock:
                return sock.getpeername()

    assert same.value(lambda socket: connect(socket, 1)) == server_address


# create_server.


@pytest.mark.parametrize(
    ("address", "keywords"),
    [
        (("127.0.0.1", 0), {}),
        (("", 0), {}),
        (("::1", 0), {"family": AF_INET6}),
        (("", 0), {"family": AF_INET6}),
        (("", 0), {"family": AF_INET6, "dualstack_ipv6": True}),
        (("127.0.0.1", 0), {"reuse_port": True}),
        (("127.0.0.1", 0), {"backlog": 0}),
        (("127.0.0.1", 0), {"backlog": -5}),
    ],
    ids=repr,
)
def test_create_server(same, address, keywords):
    def make(socket):
        with socket.create_server(address, **keywords) as server:
            assert type(server) is socket.socket
            options = [
                server.getsockopt(socket.SOL_SOCKET, option)
                for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT, socket.SO_ACCEPTCONN)
            ]
            six = server.family == AF_INET6
            options.append(six and server.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
            return server.getsockname()[0], server.gettimeout(), options

    same.value(make)


def test_a_dual_stack_server_answers_both(same):
    def serve(socket):
        with socket.create_server(("", 0), family=AF_INET6, dualstack_ipv6=True) as server:
            found = []
            for host in ("127.0.0.1", "::1"):
                with socket.create_connection((host, server.getsockname()[1])):
                    accepted, address = server.accept()
                    accepted.close()
                    found.append(address[0])
            return found

    assert same.value(serve) == ["::ffff:127.0.0.1", "::1"]


@leaves_sockets
@pytest.mark.parametrize(
    ("address", "keywords"),
    [
        (("127.0.0.1", 0), {"dualstack_ipv6": True}),
        (("127.0.0.1", -1), {}),
        (("127.0.0.1", 2**16), {}),
        (("192.0.2.77", 0), {}),
        (("::1", 0), {}),
        (("127.0.0.1", 0), {"family": AF_INET6}),
        (("127.0.0.1", 0), {"family": 9999}),
        (("127.0.0.1", 0), {"backlog": "many"}),
        (None, {}),
        ("127.0.0.1", {}),
    ],
    ids=repr,
)
def test_bad_create_server(same, address, keywords):
    same.error(lambda socket: socket.create_server(address, **keywords))


def test_create_server_says_which_address_is_taken(same, server_address):
    error = same.error(lambda socket: socket.create_server(server_address), OSError)
    assert error.errno == errno.EADDRINUSE
    assert str(server_address) in str(error)


def test_has_dualstack_ipv6(same):
    assert same.value(lambda socket: socket.has_dualstack_ipv6()) is True


# Numbers and addresses.


@pytest.mark.parametrize("name", ["htons", "ntohs", "htonl", "ntohl"])
@pytest.mark.parametrize(
    "value", [0, 1, 0x1234, 0xFFFF, 0x10000, 0xFFFFFFFF, 2**32, 2**64, -1, True, 1.5, "1", None]
)
def test_byte_order(same, name, value):
    same.value(lambda socket: attempt(getattr(socket, name), value))


def attempt(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return error


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.1", "1", "0x7f.1", "010.1", "1.2.3.4 tail", "256.1.1.1", "", "1.2.3.4.5"]
    + ["a", "::1", "1.2.3.4\0", "\udc80", 5, None, b"1.2.3.4"],
    ids=repr,
)
def test_inet_aton(same, text):
    same.value(lambda socket: attempt(socket.inet_aton, text))


@pytest.mark.parametrize("data", [b"\x7f\0\0\1", bytearray(4), b"", b"123", b"12345", "1234", None])
def test_inet_ntoa(same, data):
    same.value(lambda socket: attempt(socket.inet_ntoa, data))


@pytest.mark.parametrize("family", [AF_INET, AF_INET6, AF_UNIX, 9999, "x"])
@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "::1", "::", "1::2::3", "::ffff:1.2.3.4", "fe80::1%lo", "", "127.1", b"::1"],
)
def test_inet_pton(same, family, text):
    same.value(lambda socket: attempt(socket.inet_pton, family, text))


@pytest.mark.parametrize("family", [AF_INET, AF_INET6, AF_UNIX, "x"])
@pytest.mark.parametrize(
    "data", [bytes(4), bytes(16), bytes(range(16)), bytearray(16), b"", "text"]
)
def test_inet_ntop(same, family, data):
    same.value(lambda socket: attempt(socket.inet_ntop, family, data))


# Interfaces and the host's name.


def test_interfaces(same):
    interfaces = same.value(lambda socket: socket.if_nameindex())
    assert "lo" in dict(interfaces).values()
    for index, name in interfaces:
        assert same.value(lambda socket, name=name: socket.if_nametoindex(name)) == index
        assert same.value(lambda socket, index=index: socket.if_indextoname(index)) == name


@pytest.mark.parametrize("name", ["", "no such interface", "n" * 300, "lo\0", 1, None, b"lo"])
def test_interfaces_that_are_not_there(same, name):
    same.value(lambda socket: attempt(socket.if_nametoindex, name))


@pytest.mark.parametrize("index", [0, -1, 2**31 - 1, 2**32, 2**64, "1", 1.0, None])
def test_indexes_that_are_not_there(same, index):
    same.error(lambda socket: socket.if_indextoname(index))


def test_the_host_s_name(same):
    assert same.value(lambda socket: socket.gethostname()) == os.uname().nodename
    # Nothing that the kernel could take: the tests may run as root.
    for bad in (5, None, 1.5, "n" * 5000, b"n" * 5000):
        same.error(lambda socket, bad=bad: socket.sethostname(bad))
