"""Addresses in every form that a program writes them, and the form in which they come back."""

import os
import socket as standard
from socket import AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM

import pytest

import rsnet


def without_port(address):
    """The address, but for the port that the kernel chose."""
    return (address[0], address[1] > 0, *address[2:])


def bound_to(socket, family, address, type=SOCK_DGRAM):
    with socket.socket(family, type) as sock:
        sock.bind(address)
        return without_port(sock.getsockname())


class Number:
    def __init__(self, number):
        self.number = number

    def __index__(self):
        return self.number


# INET.


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.255.1.2",
        "",
        "0.0.0.0",
        "<broadcast>",
        "localhost",
        "LocalHost",
        b"127.0.0.1",
        b"",
        b"<broadcast>",
        b"localhost",
        bytearray(b"127.0.0.1"),
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        # Digits that IDNA makes ASCII of.
        "１２７.０.０.１",  # noqa: RUF001
    ],
)
def test_hosts(same, host):
    same.value(lambda socket: bound_to(socket, AF_INET, (host, 0)))


def test_the_special_hosts_are_what_they_stand_for():
    assert bound_to(rsnet, AF_INET, ("", 0)) == ("0.0.0.0", True)
    assert bound_to(rsnet, AF_INET, ("<broadcast>", 0)) == ("255.255.255.255", True)


@pytest.mark.parametrize("port", [0, False, Number(0)])
def test_ports(same, port):
    same.value(lambda socket: bound_to(socket, AF_INET, ("127.0.0.1", port)))


def test_a_port_of_an_enum(pair):
    client, server = pair(rsnet)
    assert client.getpeername() == server.getsockname()
    assert type(client.getpeername()[1]) is int


@pytest.mark.parametrize("port", [1, 80, 65535])
def test_ports_at_the_ends(same, port):
    def connect(socket):
        with socket.socket(AF_INET, SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port))
            return sock.getpeername()

    assert same.value(connect) == ("127.0.0.1", port)


class NamedTuple(tuple):
    """A tuple of a class of its own."""

    __slots__ = ()


def test_a_subclass_of_tuple(same):
    same.value(lambda socket: bound_to(socket, AF_INET, NamedTuple(("127.0.0.1", 0))))


def test_addresses_that_receives_give(same, pair):
    def receive(socket):
        client, server = pair(socket, AF_INET, SOCK_DGRAM)
        client.send(b"data")
        buffer = bytearray(4)
        _, address = server.recvfrom(10)
        client.send(b"data")
        _, same_address = server.recvfrom_into(buffer)
        client.send(b"data")
        *_, from_recvmsg = server.recvmsg(10)
        assert address == same_address == from_recvmsg == client.getsockname()
        return without_port(address)

    assert same.value(receive) == ("127.0.0.1", True)


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_a_connected_stream_names_no_sender(same, pair, family):
    def receive(socket):
        client, server = pair(socket, family)
        client.sendall(b"abcdef")
        return server.recvfrom(3), server.recvfrom_into(bytearray(2)), server.recvmsg(9)[3]

    first, *_ = same.value(receive)
    assert first == (b"abc", None)


# INET6.


@pytest.mark.parametrize(
    "address",
    [
        ("::1", 0),
        ("::1", 0, 0),
        ("::1", 0, 0, 0),
        ("::1", 0, 0xFFFFF),
        ("::1", 0, 7, 0),
        ("::", 0),
        ("", 0),
        ("0:0:0:0:0:0:0:1", 0),
        ("::ffff:127.0.0.1", 0),
        ("::1%1", 0),
        # Only link-local addresses have the names of interfaces with them.
        ("::1%lo", 0),
        ("::1", 0, 0, 1),
        ("::1", 0, 0, -1),
        ("::1", 0, 0, 2**32 - 1),
        (b"::1", 0),
        (bytearray(b"::1"), 0),
        # Integers as C casts them.
        ("::1", 0, 2**64),
        ("::1", 0, 0, 2**32),
        ("::1", 0, 0, 2**64),
        ("::1", Number(0), Number(0), Number(0)),
    ],
)
def test_inet6(same, address):
    def bind(socket):
        try:
            return bound_to(socket, AF_INET6, address)
        except socket.gaierror as error:
            return error

    same.value(bind)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (("::1", 0, 2**20), OverflowError),
        (("::1", 0, -1), OverflowError),
        (("::1", 0, 0, 0, 0), TypeError),
        (("::1",), TypeError),
        (("::1", 0, "0"), TypeError),
        (("::1", 0, 0, 1.0), TypeError),
        (("::1%nosuchinterface", 0), OSError),
        (("127.0.0.1", 0), OSError),
        (("::g", 0), OSError),
    ],
)
def test_bad_inet6(same, address, kind):
    same.error(lambda socket: bound_to(socket, AF_INET6, address), kind)


def test_inet6_addresses_are_four_long(pair):
    client, server = pair(rsnet, AF_INET6, SOCK_DGRAM)
    client.send(b"data")
    for address in (client.getsockname(), client.getpeername(), server.recvfrom(9)[1]):
        assert without_port(address) == ("::1", True, 0, 0)
    with rsnet.create_server(("::1", 0), family=AF_INET6) as listener:
        with rsnet.create_connection(listener.getsockname()[:2]) as sock:
            accepted, address = listener.accept()
            accepted.close()
            assert address == sock.getsockname()
            assert len(address) == 4


def test_an_ipv4_address_in_an_inet6_socket(same):
    def talk(socket):
        with socket.socket(AF_INET6, SOCK_DGRAM) as both, socket.socket(type=SOCK_DGRAM) as sock:
            both.bind(("::", 0))
            sock.sendto(b"data", ("127.0.0.1", both.getsockname()[1]))
            data, address = both.recvfrom(9)
            both.sendto(data, address)
            return without_port(address), sock.recv(9)

    assert same.value(talk) == (("::ffff:127.0.0.1", True, 0, 0), b"data")


def link_local():
    """(address, interface index) of the link-local addresses of this machine."""
    with open("/proc/net/if_inet6") as table:
        for line in table:
            digits, index, *_ = line.split()
            if digits.startswith("fe80"):
                yield standard.inet_ntop(AF_INET6, bytes.fromhex(digits)), int(index, 16)


def test_scopes_in_hosts_and_results(same):
    # fe80::1 is nobody's here: what an interface named in a host becomes shows in getpeername.
    def connect(socket, address):
        with socket.socket(AF_INET6, SOCK_DGRAM) as sock:
            try:
                sock.connect(address)
            except OSError as error:
                return error
            return sock.getpeername()

    for name in ("lo", "1"):
        same.value(lambda socket, name=name: connect(socket, (f"fe80::1%{name}", 9)))
    same.value(lambda socket: connect(socket, ("fe80::1", 9, 0, 1)))
    same.value(lambda socket: connect(socket, ("fe80::1", 9)))


def test_a_scope_comes_back_as_a_number(same):
    for host, index in link_local():
        found = same.value(
            lambda socket, host=host, index=index: bound_to(socket, AF_INET6, (host, 0, 0, index))
        )
        assert found == (host, True, 0, index)


# UNIX.


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


UNIX_TYPES = [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET]


def unix_name(socket, address, type=SOCK_STREAM):
    """What getsockname gives after a bind."""
    with socket.socket(AF_UNIX, type) as sock:
        sock.bind(address)
        name = sock.getsockname()
    if name and isinstance(name, str):
        os.unlink(name)
    return name


@pytest.mark.parametrize("type", UNIX_TYPES)
@pytest.mark.parametrize(
    "path",
    [
        "name",
        b"name",
        bytearray(b"name"),
        memoryview(b"name"),
        "nämé ☃",
        "with\udcff\udc80surrogates",
        b"bytes\xff\x80",
        "p" * 107,
        "p" * 106,
        "./dir/../name",
    ],
)
def test_paths(same, in_folder, path, type):
    (in_folder / "dir").mkdir()
    assert same.value(lambda socket: unix_name(socket, path, type))


@pytest.mark.parametrize("path", ["p" * 108, b"p" * 108])
def test_the_longest_path(same, in_folder, path):
    # One that fills the field leaves no room for the NUL; the kernel takes it all the same.
    def bind(socket):
        try:
            return unix_name(socket, path)
        except OSError as error:
            return error

    same.value(bind)


@pytest.mark.parametrize("path", ["p" * 109, b"p" * 109, "p" * 70_000, b"\0" * 109, "é" * 60])
def test_too_long_paths(same, in_folder, path):
    error = same.error(lambda socket: unix_name(socket, path), OSError)
    assert error.args == ("AF_UNIX path too long",)


@pytest.mark.parametrize("type", UNIX_TYPES)
@pytest.mark.parametrize(
    "name",
    [
        b"\0rsnet-%d",
        "\0rsnet-%d",
        b"\0rsnet-%d\0with\0NULs",
        "\0rsnet-%d-ü",
        b"\0rsnet-%d-\xff\xfe",
        b"\0rsnet-%d" + b"." * 88,
    ],
)
def test_abstract_names(same, name, type):
    # The process id, so that two runs of the tests do not meet in the one name space there is.
    name = name % os.getpid()
    found = same.value(lambda socket: unix_name(socket, name, type))
    assert found == (os.fsencode(name) if isinstance(name, str) else name)


@pytest.mark.parametrize("type", UNIX_TYPES)
@pytest.mark.parametrize("address", ["", b""])
def test_a_name_that_the_kernel_chooses(type, address):
    with rsnet.socket(AF_UNIX, type) as sock:
        sock.bind(address)
        name = sock.getsockname()
        assert isinstance(name, bytes)
        assert name[0] == 0 and len(name) == 6


def test_names_with_a_nul_in_them(same, in_folder):
    for path in (b"a\0b", "a\0b"):
        same.value(lambda socket, path=path: unix_name(socket, path))


@pytest.mark.parametrize("type", UNIX_TYPES)
def test_unnamed_sockets(same, pair, type):
    def names(socket):
        client, server = pair(socket, AF_UNIX, type)
        client.send(b"data")
        data, sender = server.recvfrom(9)
        client.send(b"data")
        *_, from_recvmsg = server.recvmsg(9)
        with socket.socket(AF_UNIX, type) as unbound:
            return (
                [sock.getsockname() for sock in (client, server, unbound)],
                [sock.getpeername() for sock in (client, server)],
                (data, sender, from_recvmsg),
            )

    same.value(names)


@pytest.mark.parametrize("name", ["near", b"\0rsnet-near-%d" % os.getpid()])
def test_senders_by_name(same, in_folder, name):
    def talk(socket):
        with socket.socket(AF_UNIX, SOCK_DGRAM) as near, socket.socket(AF_UNIX, SOCK_DGRAM) as far:
            near.bind(name)
            far.bind("far")
            near.sendto(b"question", "far")
            data, sender = far.recvfrom(99)
            far.sendto(b"answer", sender)
            found = data, sender, near.recvfrom_into(bytearray(9)), near.getsockname()
        for path in {"far", "near"} & set(os.listdir()):
            os.unlink(path)
        return found

    data, sender, (count, answerer), _ = same.value(talk)
    assert (data, sender, count, answerer) == (b"question", name, 6, "far")


@pytest.mark.parametrize("type", [SOCK_STREAM, SOCK_SEQPACKET])
def test_what_accept_says_of_unix_clients(same, in_folder, type):
    def accept(socket):
        with socket.socket(AF_UNIX, type) as listener:
            listener.bind("server")
            listener.listen()
            found = []
            for own in (None, "client", b"\0rsnet-client-%d" % os.getpid()):
                with socket.socket(AF_UNIX, type) as client:
                    if own:
                        client.bind(own)
                    client.connect("server")
                    accepted, address = listener.accept()
                    with accepted:
                        found += [address, client.getpeername(), accepted.getpeername()]
        os.unlink("server")
        os.unlink("client")
        return found

    assert same.value(accept)[::3] == ["", "client", b"\0rsnet-client-%d" % os.getpid()]


def test_path_objects(same, in_folder):
    # CPython takes str and bytes-like objects and, to this day, no PathLike.
    same.error(lambda socket: unix_name(socket, in_folder / "name"), TypeError)


@pytest.mark.parametrize("address", [None, 7, ("name",), ["name"], 1.5, "lone\ud800", object])
def test_bad_unix_addresses(same, in_folder, address):
    same.error(lambda socket: unix_name(socket, address), (TypeError, ValueError))
