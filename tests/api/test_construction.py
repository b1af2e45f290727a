"""Sockets are made as the standard library makes them: kinds, descriptors, flags, text."""

import contextlib
import fcntl
import os
import socket as standard
from socket import AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM

import pytest

import rsnet

KINDS = [
    (AF_INET, SOCK_STREAM),
    (AF_INET, SOCK_DGRAM),
    (AF_INET6, SOCK_STREAM),
    (AF_INET6, SOCK_DGRAM),
    (AF_UNIX, SOCK_STREAM),
    (AF_UNIX, SOCK_DGRAM),
    (AF_UNIX, SOCK_SEQPACKET),
]
NONBLOCK, CLOEXEC = standard.SOCK_NONBLOCK, standard.SOCK_CLOEXEC


def facts(sock):
    """What a program can see of a socket, without its descriptor's number."""
    return (
        (sock.family, sock.type, sock.proto),
        (sock.timeout, sock.gettimeout(), sock.getblocking()),
        sock.get_inheritable(),
        bool(fcntl.fcntl(sock.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK),
    )


def described_by_repr(sock):
    text = repr(sock).replace(f"fd={sock.fileno()}", "fd=N")
    assert text.startswith(("<rsnet.socket ", "<socket.socket "))
    return text.split(" ", 1)[1]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"family": AF_UNIX},
        {"type": SOCK_DGRAM},
        {"type": SOCK_STREAM | NONBLOCK},
        {"type": SOCK_STREAM | CLOEXEC},
        {"type": SOCK_DGRAM | NONBLOCK | CLOEXEC},
        {"proto": 6},
        {"proto": 0},
        {"family": AF_INET, "type": SOCK_DGRAM, "proto": 17},
        {"family": AF_INET6, "type": SOCK_STREAM, "proto": 6},
        {"family": AF_INET, "type": SOCK_RAW, "proto": 1},
        {"family": AF_INET6, "type": SOCK_RAW, "proto": 58},
        {"family": -1, "type": -1, "proto": -1},
        {"family": 2, "type": 1},
        {"family": True},
    ],
)
def test_arguments(same, arguments):
    def make(socket):
        with socket.socket(**arguments) as sock:
            return facts(sock)

    # Who may not open raw sockets gets the same refusal from both.
    try:
        standard.socket(**arguments).close()
    except PermissionError:
        same.error(make, PermissionError)
    else:
        same.value(make)


@pytest.mark.parametrize(("family", "type"), KINDS)
def test_kinds_by_position(same, family, type):
    def make(socket):
        with socket.socket(family, type) as sock:
            return facts(sock)

    (made_family, made_type, _), *_ = same.value(make)
    assert (made_family, made_type) == (family, type)
    assert isinstance(made_family, standard.AddressFamily)
    assert isinstance(made_type, standard.SocketKind)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"family": 9999}, OSError),
        ({"type": 9999}, OSError),
        ({"proto": 9999}, OSError),
        ({"family": AF_INET, "type": SOCK_SEQPACKET}, OSError),
        ({"family": AF_UNIX, "type": SOCK_STREAM, "proto": 6}, OSError),
        ({"family": -2}, OSError),
        ({"type": -2}, OSError),
        ({"family": "AF_INET"}, TypeError),
        ({"type": 1.0}, TypeError),
        ({"proto": None}, TypeError),
        ({"family": 2**40}, OverflowError),
        ({"type": 2**31}, OverflowError),
        ({"proto": -(2**31) - 1}, OverflowError),
        ({"fileno": -1}, ValueError),
        ({"fileno": -(2**20)}, ValueError),
        ({"fileno": 2**64}, OverflowError),
        ({"fileno": 1.5}, TypeError),
        ({"fileno": "7"}, TypeError),
        ({"fileno": b"7"}, TypeError),
        ({"fileno": (7,)}, TypeError),
        ({"colour": "red"}, TypeError),
    ],
)
def test_bad_arguments(same, arguments, kind):
    same.error(lambda socket: socket.socket(**arguments), kind)


def test_too_many_arguments(same):
    same.error(lambda socket: socket.socket(2, 1, 0, None, None), TypeError)


@pytest.mark.parametrize(("family", "type"), KINDS)
def test_what_a_descriptor_is_asked_for(same, family, type):
    def adopt(socket):
        with contextlib.closing(standard.socket(family, type)) as made:
            with socket.socket(fileno=made.fileno()) as sock:
                assert sock.detach() == made.fileno()
            sock = socket.socket(fileno=made.detach())
        with sock:
            return facts(sock)

    same.value(adopt)


@pytest.mark.parametrize(
    "given",
    [
        {"family": AF_INET6},
        {"type": SOCK_DGRAM},
        {"proto": 17},
        {"family": AF_UNIX, "type": SOCK_SEQPACKET, "proto": 1},
        {"type": SOCK_STREAM | NONBLOCK},
        {"type": 77},
    ],
)
def test_what_is_given_with_a_descriptor_goes_unasked(same, given):
    def adopt(socket):
        with socket.socket(fileno=standard.socket().detach(), **given) as sock:
            return sock.family, sock.type, sock.proto, sock.gettimeout()

    same.value(adopt)


def test_descriptors_of_something_else(same, tmp_path):
    with open(tmp_path / "file", "w") as file:
        same.error(lambda socket: socket.socket(fileno=file.fileno()), OSError)
        same.error(lambda socket: socket.socket(2, 1, 0, fileno=file.fileno()), OSError)
        assert file.write("still open") == 10
        descriptor = file.fileno()
    same.error(lambda socket: socket.socket(fileno=descriptor), OSError)


def test_a_failed_adoption_leaves_the_descriptor_to_its_owner(tmp_path):
    # The object that failed to adopt must not close the number when it goes.
    with open(tmp_path / "file", "w") as file:
        for _ in range(3):
            with pytest.raises(OSError):
                rsnet.socket(fileno=file.fileno())
        os.fstat(file.fileno())


def test_an_integer_like_descriptor(same):
    class Number:
        def __init__(self, number):
            self.number = number

        def __index__(self):
            return self.number

    def adopt(socket):
        with socket.socket(fileno=Number(standard.socket(AF_UNIX).detach())) as sock:
            return facts(sock)

    same.value(adopt)


@pytest.mark.parametrize("default_s", [None, 0, 0.0, 2, 2.5])
def test_the_default_timeout(same, default_s):
    def make(socket):
        socket.setdefaulttimeout(default_s)
        try:
            with socket.socket() as sock, socket.socket(type=SOCK_DGRAM | NONBLOCK) as other:
                assert socket.getdefaulttimeout() == default_s
                return facts(sock), facts(other)
        finally:
            socket.setdefaulttimeout(None)

    same.value(make)


def test_the_default_timeout_is_shared_with_the_standard_module():
    rsnet.setdefaulttimeout(3.5)
    try:
        assert standard.getdefaulttimeout() == 3.5
        standard.setdefaulttimeout(4.5)
        with rsnet.socket() as sock:
            assert sock.gettimeout() == rsnet.getdefaulttimeout() == 4.5
    finally:
        rsnet.setdefaulttimeout(None)


@pytest.mark.parametrize("listener_s", [None, 0, 3])
@pytest.mark.parametrize("default_s", [None, 0, 5])
def test_what_accept_makes(same, listener_s, default_s):
    def accept(socket):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with socket.create_connection(listener.getsockname()):
                listener.settimeout(listener_s)
                socket.setdefaulttimeout(default_s)
                try:
                    accepted, address = listener.accept()
                finally:
                    socket.setdefaulttimeout(None)
                with accepted:
                    assert isinstance(address, tuple)
                    assert type(accepted) is socket.socket
                    return facts(accepted)

    same.value(accept)


@pytest.mark.parametrize(("family", "type"), KINDS)
def test_new_descriptors_are_not_inheritable(pair, family, type):
    client, server = pair(rsnet, family, type)
    for sock in (client, server):
        assert not os.get_inheritable(sock.fileno())
        with sock.dup() as duplicate:
            assert not os.get_inheritable(duplicate.fileno())


def test_inheritance_can_be_changed(same):
    def change(socket):
        with socket.socket() as sock:
            states = [sock.get_inheritable()]
            for inheritable in (True, True, False, 1, 0):
                sock.set_inheritable(inheritable)
                states.append((sock.get_inheritable(), os.get_inheritable(sock.fileno())))
            return states

    assert same.value(change)[1] == (True, True)


@pytest.mark.parametrize("timeout_s", [None, 0, 1.5])
def test_dup(same, timeout_s):
    def duplicate(socket):
        with socket.socket(AF_INET6, SOCK_DGRAM, 17) as sock:
            sock.settimeout(timeout_s)
            with sock.dup() as copy:
                assert type(copy) is socket.socket
                assert copy.fileno() != sock.fileno()
                return facts(copy)

    same.value(duplicate)


def test_dup_of_a_subclass_is_of_the_subclass():
    class Mine(rsnet.socket):
        __slots__ = ()

    with Mine() as sock, sock.dup() as copy:
        assert type(copy) is Mine


def test_init_may_be_called_twice(same):
    def call_twice(socket):
        with socket.socket() as sock:
            first = sock.fileno()
            try:
                sock.__init__(AF_INET6, SOCK_DGRAM)
                return facts(sock), sock.fileno() == first
            finally:
                # As in CPython, the first descriptor is forgotten, not closed.
                with contextlib.suppress(OSError):
                    os.close(first)

    same.value(call_twice)


def test_a_socket_that_init_never_saw(same):
    def make(socket):
        sock = socket.socket.__new__(socket.socket)
        with pytest.raises(OSError) as caught:
            socket.socket.recv(sock, 1)
        return sock.fileno(), sock.gettimeout(), caught.value.args

    assert same.value(make)[0] == -1


def test_detach(same):
    def detach(socket):
        with socket.socket() as sock:
            descriptor = sock.detach()
            os.close(descriptor)
            with pytest.raises(OSError) as caught:
                sock.getsockname()
            return sock.fileno(), sock.detach(), caught.value.args, repr(sock).split()[1:]

    same.value(detach)


def test_close_twice(same):
    def close(socket):
        sock = socket.socket()
        sock.close()
        sock.close()
        return sock.fileno(), sock.type, sock.family, sock.proto, sock.gettimeout()

    assert same.value(close)[0] == -1


def test_close_when_the_descriptor_is_gone_already(same):
    def close(socket):
        sock = socket.socket()
        os.close(sock.fileno())
        try:
            sock.close()
        finally:
            with contextlib.suppress(OSError):
                sock.detach()

    same.error(close, OSError)


def test_the_context_manager_closes(same):
    def leave(socket):
        with socket.socket() as sock:
            assert sock.__enter__() is sock
            assert sock.fileno() >= 0
        inside = sock.fileno()
        try:
            with socket.socket() as other:
                raise RuntimeError
        except RuntimeError:
            return inside, other.fileno()

    assert same.value(leave) == (-1, -1)


# Text.


@pytest.mark.parametrize(("family", "type"), KINDS)
def test_repr_of_new_and_closed_sockets(same, family, type):
    def texts(socket):
        with socket.socket(family, type) as sock:
            new = described_by_repr(sock)
        return new, described_by_repr(sock)

    _new, closed = same.value(texts)
    assert closed.startswith("[closed] ")


def test_repr_has_both_addresses(pair):
    client, server = pair(rsnet)
    assert repr(client) == (
        f"<rsnet.socket fd={client.fileno()}, family={AF_INET:d}, type={SOCK_STREAM:d}, proto=0,"
        f" laddr={client.getsockname()}, raddr={server.getsockname()}>"
    )


def test_repr_with_addresses_of_every_family(same, pair):
    def texts(socket):
        found = []
        for family, type in KINDS:
            for sock in pair(socket, family, type):
                text = described_by_repr(sock)
                with contextlib.suppress(OSError):
                    for address in (sock.getsockname(), sock.getpeername()):
                        if isinstance(address, tuple):
                            text = text.replace(f", {address[1]}", ", PORT")
                found.append(text)
        return found

    same.value(texts)


def test_repr_of_a_subclass_has_its_name():
    class Mine(rsnet.socket):
        __slots__ = ()

    with Mine() as sock:
        assert repr(sock).startswith(f"<{__name__}.{Mine.__qualname__} fd={sock.fileno()}, ")


# Other families.


def test_other_families_are_the_standard_library_s():
    with rsnet.socket(standard.AF_NETLINK, SOCK_RAW, 0) as sock:
        assert type(sock) is standard.socket
        sock.bind((0, 0))
        assert len(sock.getsockname()) == 2


def test_descriptors_of_other_families_are_the_standard_library_s():
    made = standard.socket(standard.AF_NETLINK, SOCK_RAW, 0)
    with rsnet.socket(fileno=made.detach()) as sock:
        assert type(sock) is standard.socket
        assert sock.family == standard.AF_NETLINK


def test_native_families_are_rsnet_s():
    for family in (AF_INET, AF_INET6, AF_UNIX):
        with rsnet.socket(family) as sock:
            assert type(sock) is rsnet.socket
            assert not issubclass(type(sock), standard.SocketType)
