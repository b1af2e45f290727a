"""Subclasses, stand-ins, and what Python programs do to classes."""

import abc
import copy
import functools
import gc
import pickle
import socket as standard
import threading
import types
import weakref
from typing import Protocol
from unittest import mock

import pytest

import rsnet


class Counting(rsnet.socket):
    """As programs subclass the standard class: with arguments and attributes of its own."""

    def __init__(self, family=standard.AF_INET, type=standard.SOCK_STREAM, *, label="none"):
        super().__init__(family, type)
        self.label = label
        self.received = 0

    def recv(self, *arguments):
        data = super().recv(*arguments)
        self.received += len(data)
        return data

    def accept(self):
        sock, address = super().accept()
        return sock, ("seen", *address)

    def makefile(self, *arguments, **keywords):
        return "file", super().makefile(*arguments, **keywords)


def test_overridden_methods(opened):
    listener = opened(Counting(label="listener"))
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    with Counting(label="client") as client:
        client.connect(listener.getsockname())
        accepted, address = listener.accept()
        opened(accepted)
        assert address == ("seen", *client.getsockname())
        assert type(accepted) is rsnet.socket
        accepted.sendall(b"data")
        assert (client.recv(9), client.received, client.label) == (b"data", 4, "client")
        word, file = client.makefile("rb")
        accepted.sendall(b"line\n")
        assert (word, file.readline()) == ("file", b"line\n")
        file.close()


def test_constructor_arguments_of_its_own():
    class Odd(rsnet.socket):
        def __init__(self, colour, *, size):
            super().__init__(standard.AF_UNIX, standard.SOCK_DGRAM)
            self.colour, self.size = colour, size

    with Odd("red", size=3) as sock:
        assert (sock.colour, sock.size, sock.family) == ("red", 3, standard.AF_UNIX)


def test_new_with_arguments_of_its_own():
    class Odd(rsnet.socket):
        def __new__(cls, colour):
            sock = super().__new__(cls)
            sock.colour = colour
            return sock

        def __init__(self, colour):
            super().__init__()

    with Odd("red") as sock:
        assert (sock.colour, type(sock)) == ("red", Odd)


# What such a wrapper keeps when it is to be put in the place of the class itself.
ORIGINAL = rsnet.socket


class Proxying(ORIGINAL):
    """In the manner of socket wrappers for proxies: keeps the real methods and wraps them."""

    default_proxy = None

    def __init__(self, family=standard.AF_INET, type=standard.SOCK_STREAM, proto=0, *args, **keys):
        super().__init__(family, type, proto, *args, **keys)
        self._connected_to = None
        for name in ("sendto", "send", "recvfrom", "recv"):
            setattr(self, name, types.MethodType(self._wrapped(name), self))

    @staticmethod
    def _wrapped(name):
        method = getattr(ORIGINAL, name)
        return lambda self, *arguments: method(self, *arguments)

    def connect(self, address):
        self._connected_to = address
        ORIGINAL.connect(self, address)

    @property
    def peer(self):
        return self._connected_to


def test_a_wrapper_for_proxies(listener):
    server = listener(rsnet)
    with Proxying() as sock:
        sock.settimeout(20)
        sock.connect(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            assert sock.send(b"question") == 8
            assert accepted.recv(99) == b"question"
            accepted.sendall(b"answer")
            assert sock.recv(99) == b"answer"
    assert sock.peer == server.getsockname()


def test_a_wrapper_in_the_place_of_the_class(listener, monkeypatch):
    monkeypatch.setattr(rsnet, "socket", Proxying)
    server = listener(rsnet)
    assert type(server) is Proxying
    with rsnet.create_connection(server.getsockname()) as sock:
        assert type(sock) is Proxying
        assert sock.peer == server.getsockname()
        accepted, _ = server.accept()
        with accepted:
            assert type(accepted) is Proxying
    left, right = rsnet.socketpair()
    with left, right:
        assert type(left) is type(right) is Proxying


def test_abstract_base_classes():
    class Named(abc.ABC):
        @abc.abstractmethod
        def name(self): ...

    class Abstract(rsnet.socket, Named):
        pass

    class Mine(rsnet.socket, Named):
        def name(self):
            return "mine"

    class Plain(rsnet.socket, abc.ABC):
        pass

    with Mine() as sock, Plain() as other:
        assert sock.name() == "mine"
        assert isinstance(sock, Named) and isinstance(sock, rsnet.socket)
        assert not isinstance(other, Named)
    # As with any class with a layout of C's: what is abstract counts for nothing there.
    Abstract.__abstractmethods__ = frozenset()
    Abstract().close()


def test_several_levels_and_mixins():
    class Logged:
        log = ()

        def send(self, data, *flags):
            self.log = (*self.log, data)
            return super().send(data, *flags)

    class Mine(Logged, Counting):
        pass

    left, right = rsnet.socketpair()
    with left, right, Mine(standard.AF_UNIX) as sock:
        sock.close()
        sock = Mine.__new__(Mine)
        rsnet.socket.__init__(sock, fileno=left.detach())
        with sock:
            sock.received = 0
            sock.send(b"one")
            right.send(b"two")
            assert (sock.recv(9), sock.received, sock.log) == (b"two", 3, (b"one",))


def test_slots(same):
    def assign(socket):
        with socket.socket() as sock:
            sock.colour = "red"

    same.error(assign, AttributeError)
    with rsnet.socket() as sock:
        assert not hasattr(sock, "__dict__")


def test_read_only_attributes(same):
    def attempts(socket):
        errors = []
        with socket.socket() as sock:
            for name in ("family", "type", "proto", "timeout"):
                with pytest.raises(AttributeError) as caught:
                    setattr(sock, name, 1)
                errors.append(type(caught.value))
        return errors

    same.value(attempts)


def test_weak_references():
    sock = rsnet.socket()
    gone = []
    reference = weakref.ref(sock, gone.append)
    assert reference() is sock
    assert weakref.WeakKeyDictionary({sock: 1})[sock] == 1
    sock.close()
    del sock
    gc.collect()
    assert reference() is None
    assert gone == [reference]


def test_hash_and_equality_go_by_identity():
    with rsnet.socket() as one, rsnet.socket() as other:
        assert one == one and one != other
        assert len({one, other, one}) == 2


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickling(same, protocol):
    def dump(socket):
        with socket.socket() as sock:
            try:
                pickle.dumps(sock, protocol)
            except Exception as error:
                return type(error), str(error).replace(f"{socket.__name__}.socket", "SOCKET")

    kind, text = same.value(dump)
    assert kind is TypeError
    assert "socket" in text.lower()


def test_no_copying(same):
    def duplicate(socket, how):
        with socket.socket() as sock:
            try:
                how(sock)
            except Exception as error:
                return type(error), str(error).replace(f"{socket.__name__}.socket", "SOCKET")

    for how in (copy.copy, copy.deepcopy):
        kind, _ = same.value(lambda socket, how=how: duplicate(socket, how))
        assert kind is TypeError


def test_enums_and_exceptions_can_be_pickled():
    for value in (rsnet.AF_INET, rsnet.SOCK_STREAM, rsnet.gaierror(1, "x")):
        again = pickle.loads(pickle.dumps(value))
        assert (
            type(again) is type(value) and again.args == value.args
            if hasattr(value, "args")
            else again is value
        )


# What it passes for.


def test_it_passes_for_the_standard_class(pair):
    for sock in pair(rsnet):
        assert isinstance(sock, standard.socket)
        assert isinstance(sock, rsnet.socket)
        assert issubclass(sock.__class__, standard.socket)
        assert type(sock) is rsnet.socket


def test_subclasses_pass_for_the_standard_class_and_for_themselves():
    with Counting() as sock, rsnet.socket() as plain:
        assert isinstance(sock, standard.socket)
        assert isinstance(sock, Counting) and isinstance(sock, rsnet.socket)
        assert not isinstance(plain, Counting)
        assert not isinstance(plain, int) and not isinstance("text", rsnet.socket)


def test_standard_sockets_pass_for_rsnet_s():
    # After `import rsnet as socket`, a TLS socket is still a `socket.socket`.
    with standard.socket() as sock:
        assert isinstance(sock, rsnet.socket)
        assert not isinstance(sock, Counting)
    assert issubclass(standard.socket, rsnet.socket)


def test_the_class_that_a_socket_names_works_as_one():
    with Counting() as sock:
        cls = sock.__class__
        assert cls.__name__ == "Counting"
        assert cls.recv is Counting.recv
        assert cls == Counting
        with cls(label="made by the class it names") as other:
            assert type(other) is Counting
        assert isinstance(sock, cls)


def test_a_socket_can_change_its_class():
    class First(rsnet.socket):
        pass

    class Second(rsnet.socket):
        def hello(self):
            return "hello"

    with First() as sock:
        sock.__class__ = Second
        assert sock.hello() == "hello"


# Patches.


def test_mock_of_the_class():
    with mock.patch("rsnet.socket") as fake:
        fake.return_value.recv.return_value = b"faked"
        assert rsnet.socket().recv(1) == b"faked"
        sock = rsnet.create_connection(("127.0.0.1", 1), 5)
        assert sock is fake.return_value
        sock.settimeout.assert_called_once_with(5)
        sock.connect.assert_called_once_with(("127.0.0.1", 1))
    assert rsnet.socket is not fake


@pytest.mark.parametrize("name", ["connect", "recv", "sendall", "close", "makefile", "settimeout"])
def test_mock_of_a_method(name):
    original = getattr(rsnet.socket, name)
    with rsnet.socket() as sock:
        with mock.patch.object(rsnet.socket, name, return_value="faked") as fake:
            assert getattr(sock, name)("argument") == "faked"
            fake.assert_called_once_with("argument")
        assert getattr(rsnet.socket, name) == original


def test_mock_with_a_specification():
    fake = mock.create_autospec(rsnet.socket, instance=True)
    fake.recv.return_value = b"faked"
    assert fake.recv(1) == b"faked"
    with pytest.raises(AttributeError):
        fake.no_such_method()
    assert isinstance(fake, rsnet.socket)


def test_patched_functions_are_what_create_connection_calls(refused_port):
    with mock.patch("rsnet.getaddrinfo", side_effect=standard.gaierror(-2, "faked")) as fake:
        with pytest.raises(standard.gaierror, match="faked"):
            rsnet.create_connection(("host.invalid", 80))
    fake.assert_called_once_with("host.invalid", 80, 0, standard.SOCK_STREAM)


def test_methods_of_the_class_can_be_replaced(pair):
    client, server = pair(rsnet)
    server.send(b"data")
    original = rsnet.socket.recv
    try:
        rsnet.socket.recv = lambda self, count: original(self, count).upper()
        assert client.recv(9) == b"DATA"
    finally:
        rsnet.socket.recv = original
    assert rsnet.socket.recv is original


def test_methods_are_found_on_the_class_only_for_sockets():
    for name in ("recv", "send", "connect", "close", "fileno", "accept"):
        for stranger in ("not a socket", threading.Lock()):
            with pytest.raises((TypeError, AttributeError)):
                getattr(rsnet.socket, name)(stranger)


# What it mixes with.


def test_protocols_and_abstract_classes_mix_with_it():
    class HasFileno(Protocol):
        def fileno(self) -> int: ...

    class Base(abc.ABC):
        @abc.abstractmethod
        def name(self): ...

    class Mixed(rsnet.socket, HasFileno):
        pass

    class Concrete(rsnet.socket, Base):
        def name(self):
            return "concrete"

    with Mixed() as mixed, Concrete() as concrete:
        assert isinstance(concrete, Base) and not isinstance(mixed, Base)
        assert concrete.name() == "concrete"
        assert type("Made", (rsnet.socket,), {}).__module__ == __name__


def test_the_class_that_a_socket_names_is_pickled_as_the_class():
    with rsnet.socket() as sock:
        assert pickle.loads(pickle.dumps(sock.__class__)) is rsnet.socket


def test_what_is_keyed_by_classes_takes_the_type():
    @functools.singledispatch
    def kind(thing):
        return "thing"

    kind.register(rsnet.socket, lambda sock: "socket")
    with rsnet.socket() as sock:
        assert kind.dispatch(type(sock))(sock) == "socket"
