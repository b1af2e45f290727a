"""What makes no sense is refused as CPython refuses it: same exception, same arguments."""

import math
import os
import re
import socket as standard
import sys
import time
from socket import AF_INET, AF_INET6, AF_UNIX, MSG_DONTWAIT, SOCK_DGRAM, SOCK_STREAM

import pytest

import rsnet


def attempt(operation, *arguments, **keywords):
    """The value or the exception, without the frames that would keep sockets alive."""
    try:
        return operation(*arguments, **keywords)
    except Exception as error:
        return error.with_traceback(None)


def shortened(value):
    return f"{value!r:.40}"


# Timeouts.

BAD_TIMEOUTS = [
    (-1, ValueError),
    (-1e-10, ValueError),
    (-0.5, ValueError),
    (-(10**400), OverflowError),
    (-math.inf, OverflowError),
    (math.nan, ValueError),
    (math.inf, OverflowError),
    (1e300, OverflowError),
    (1e10, OverflowError),
    (2**63, OverflowError),
    (2**31 * 10**9, OverflowError),
    (10**400, OverflowError),
    (10**10, OverflowError),
    ("1", TypeError),
    (b"1", TypeError),
    ([], TypeError),
    (1j, TypeError),
    (object, TypeError),
]


@pytest.mark.parametrize(("value", "kind"), BAD_TIMEOUTS, ids=shortened)
def test_timeouts(same, value, kind):
    def change(socket):
        with socket.socket() as sock:
            sock.settimeout(7)
            refusal = attempt(sock.settimeout, value)
            return refusal, sock.gettimeout() == 7 or sock.gettimeout() == value

    refusal, is_unchanged = same.value(change)
    assert is_unchanged
    # How far ahead is too far is the interpreter's to say.
    assert isinstance(refusal, kind) or (kind is OverflowError and refusal is None)


@pytest.mark.parametrize("value", [case[0] for case in BAD_TIMEOUTS], ids=shortened)
def test_default_timeouts(same, value):
    def change(socket):
        try:
            return attempt(socket.setdefaulttimeout, value), socket.getdefaulttimeout()
        finally:
            socket.setdefaulttimeout(None)

    same.value(change)


@pytest.mark.parametrize("value", [1e9, 10**9])
def test_a_timeout_of_thirty_years_does_not_end_at_once(pair, in_thread, value):
    client, server = pair(rsnet)
    client.settimeout(value)
    receiving = in_thread(client.recv, 9)
    receiving.until_blocked()
    server.send(b"at last")
    assert receiving.result() == b"at last"


# Addresses.

PORTS = [
    (-1, OverflowError),
    (65536, OverflowError),
    (-65536, OverflowError),
    (2**31, OverflowError),
    (2**64, OverflowError),
    (-(2**64), OverflowError),
    (1.0, TypeError),
    ("80", TypeError),
    (b"80", TypeError),
    (None, TypeError),
    ((), TypeError),
]
USES = {
    "bind": lambda sock, address: sock.bind(address),
    "connect": lambda sock, address: sock.connect(address),
    "connect_ex": lambda sock, address: sock.connect_ex(address),
    "sendto": lambda sock, address: sock.sendto(b"x", address),
    "sendto, flags": lambda sock, address: sock.sendto(b"x", 0, address),
    "sendmsg": lambda sock, address: sock.sendmsg([b"x"], [], 0, address),
}
each_use = pytest.mark.parametrize("use", USES)


def using(use, address, family=AF_INET):
    def operation(socket):
        with socket.socket(family, SOCK_DGRAM) as sock:
            return attempt(USES[use], sock, address)

    return operation


@each_use
@pytest.mark.parametrize(("port", "kind"), PORTS, ids=shortened)
@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_ports(same, use, port, kind, family):
    host = "127.0.0.1" if family == AF_INET else "::1"
    refusal = same.value(using(use, (host, port), family))
    # Integers beyond C's are cut to it, in some of CPython's versions.
    assert isinstance(refusal, kind) or abs(port) > 2**31


# Names that no resolver is asked for, and that are no addresses.
HOSTS = [
    ("127.0.0.1\0", Exception),
    ("\0", Exception),
    ("nul\0inside", Exception),
    (b"nul\0inside", Exception),
    (bytearray(b"nul\0inside"), Exception),
    ("nul\0\xe4", Exception),
    ("lone\ud800surrogate", Exception),
    ("escaped\udc80byte", Exception),
    ("\udfff", Exception),
    ("h" * 70_000, Exception),
    ("\xe4" * 70_000, Exception),
    ("." * 70_000 + "\xe4", Exception),
    (".\xe4", Exception),
    ("\xe4..\xe4", Exception),
    (None, TypeError),
    (5, TypeError),
    (1.5, TypeError),
    (True, TypeError),
    ((), TypeError),
    (["127.0.0.1"], TypeError),
    (memoryview(b"127.0.0.1"), TypeError),
    (object, TypeError),
]


@pytest.mark.parametrize(("host", "kind"), HOSTS, ids=shortened)
@pytest.mark.parametrize("use", ["bind", "connect", "connect_ex", "sendto"])
def test_hosts(same, use, host, kind):
    assert isinstance(same.value(using(use, (host, 9))), kind)


@pytest.mark.parametrize(("host", "kind"), HOSTS, ids=shortened)
def test_inet6_hosts(same, host, kind):
    assert isinstance(same.value(using("sendto", (host, 9), AF_INET6)), kind)


def test_a_host_of_any_length_is_refused_in_bounded_time():
    # IDNA takes time by the square of the length (CVE-2022-45061, CVE-2024-3651).
    with rsnet.socket() as sock:
        began = time.monotonic()
        for host in (
            "\xe4" * 1_000_000,
            "\u0345\xe4" * 500_000,
            "." * 1_000_000 + "\xe4",
            ("x" * 63 + ".") * 15_000 + "\xe4",
        ):
            with pytest.raises((UnicodeError, TypeError, standard.gaierror)):
                sock.connect((host, 1))
        assert time.monotonic() - began < 1


@each_use
@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_hosts_with_a_meaning_of_their_own(same, use, family):
    for host in ("", "<broadcast>", b"", b"<broadcast>", bytearray(b"")):
        same.value(using(use, (host, 0), family))


SHAPES = [
    None,
    5,
    1.5,
    "127.0.0.1",
    b"127.0.0.1",
    "127.0.0.1:80",
    (),
    ("127.0.0.1",),
    ("127.0.0.1", 80, 0),
    ("127.0.0.1", 80, 0, 0),
    ("127.0.0.1", 80, 0, 0, 0),
    ["127.0.0.1", 80],
    {"127.0.0.1": 80},
    (80, "127.0.0.1"),
    (None, None),
    iter(("127.0.0.1", 80)),
    object,
]


@each_use
@pytest.mark.parametrize("address", SHAPES, ids=shortened)
@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_addresses_of_the_wrong_shape(same, use, address, family):
    same.value(using(use, address, family))


@each_use
@pytest.mark.parametrize("address", SHAPES, ids=shortened)
def test_unix_addresses_of_the_wrong_shape(same, use, address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def operation(socket):
        found = using(use, address, AF_UNIX)(socket)
        for path in os.listdir():
            os.unlink(path)
        return found

    same.value(operation)


# Sizes.


class Number:
    def __init__(self, number):
        self.number = number

    def __index__(self):
        return self.number


SIZES = [-1, -(2**31), -(2**63), 2**62, 2**63 - 1, 2**63, 2**64, 10**30, Number(-1), Number(2**64)]
NOT_SIZES = [1.0, "1", b"1", None, (), math.nan]


def receiving(method, *arguments):
    """The call on a socket with data, which does not block."""

    def operation(socket, pair):
        client, server = pair(socket, AF_UNIX, SOCK_DGRAM)
        client.send(b"data")
        server.setblocking(False)
        return attempt(getattr(server, method), *arguments)

    return operation


@pytest.mark.parametrize("size", SIZES + NOT_SIZES, ids=shortened)
@pytest.mark.parametrize("method", ["recv", "recvfrom", "recvmsg"])
def test_sizes(same, pair, method, size):
    refusal = same.value(lambda socket: receiving(method, size)(socket, pair))
    assert isinstance(refusal, ValueError | OverflowError | MemoryError | TypeError)


@pytest.mark.parametrize("size", [*SIZES, *NOT_SIZES, 9, 100, Number(9)], ids=shortened)
@pytest.mark.parametrize("method", ["recv_into", "recvfrom_into"])
def test_more_than_the_buffer_holds(same, pair, method, size):
    buffer = bytearray(8)
    refusal = same.value(lambda socket: receiving(method, buffer, size)(socket, pair))
    assert isinstance(refusal, ValueError | OverflowError | TypeError)
    assert buffer == bytearray(8)
    # Nothing holds the buffer any more.
    buffer.clear()


@pytest.mark.parametrize("size", [0, 1, 3, 4, 8, Number(2), True])
@pytest.mark.parametrize("method", ["recv_into", "recvfrom_into"])
def test_no_byte_beyond_what_was_asked_for(same, pair, method, size):
    def operation(socket):
        buffer = bytearray(b"........")
        found = receiving(method, buffer, size)(socket, pair)
        return found[0] if method == "recvfrom_into" else found, bytes(buffer)

    count, data = same.value(operation)
    asked = getattr(size, "number", size) or 8
    assert data == b"data"[:asked].ljust(8, b".")
    assert count == min(4, asked)


# Buffers.


def released():
    view = memoryview(bytearray(8))
    view.release()
    return view


def rows_backwards():
    return memoryview(bytes(6)).cast("B", (2, 3))[::-1]


NOT_READABLE = {
    "str": lambda: "text",
    "None": lambda: None,
    "int": lambda: 5,
    "float": lambda: 1.5,
    "list": lambda: [b"x"],
    "class": lambda: bytes,
    "every second byte": lambda: memoryview(b"01234567")[::2],
    "backwards": lambda: memoryview(b"01234567")[::-1],
    "two dimensions, backwards": rows_backwards,
    "released": released,
}
NOT_WRITABLE = NOT_READABLE | {
    "bytes": lambda: b"01234567",
    "read-only": lambda: memoryview(b"01234567"),
    "made read-only": lambda: memoryview(bytearray(8)).toreadonly(),
    "every second byte, writable": lambda: memoryview(bytearray(8))[::2],
}
if sys.version_info >= (3, 12):

    class Refusing:
        def __buffer__(self, flags):
            raise LookupError("no buffer today")

    class Lying:
        def __buffer__(self, flags):
            return b"no memoryview"

    class Released:
        def __buffer__(self, flags):
            return released()

    HOSTILE = {kind.__name__: kind for kind in (Refusing, Lying, Released)}
    NOT_READABLE |= HOSTILE
    NOT_WRITABLE |= HOSTILE


@pytest.mark.parametrize("kind", NOT_READABLE)
@pytest.mark.parametrize(
    "send",
    [
        lambda sock, data: sock.send(data),
        lambda sock, data: sock.sendall(data),
        lambda sock, data: sock.sendto(data, ("127.0.0.1", 9)),
        lambda sock, data: sock.sendto(data, 0, ("127.0.0.1", 9)),
        lambda sock, data: sock.sendmsg([b"x", data]),
        lambda sock, data: sock.sendmsg([b"x"], [(1, 2, data)]),
    ],
    ids=["send", "sendall", "sendto", "sendto, flags", "sendmsg", "sendmsg, control message"],
)
def test_what_cannot_be_sent(same, pair, kind, send):
    def operation(socket):
        client, server = pair(socket, AF_INET, SOCK_DGRAM)
        refusal = attempt(send, client, NOT_READABLE[kind]())
        return refusal, attempt(server.recv, 9, MSG_DONTWAIT)

    refusal, nothing = same.value(operation)
    assert isinstance(refusal, Exception)
    assert isinstance(nothing, BlockingIOError)


@pytest.mark.parametrize("kind", NOT_WRITABLE)
@pytest.mark.parametrize(
    "receive",
    [
        lambda sock, buffer: sock.recv_into(buffer),
        lambda sock, buffer: sock.recv_into(buffer, 1),
        lambda sock, buffer: sock.recvfrom_into(buffer),
        lambda sock, buffer: sock.recvmsg_into([bytearray(1), buffer]),
    ],
    ids=["recv_into", "recv_into, part", "recvfrom_into", "recvmsg_into"],
)
def test_what_cannot_be_received_into(same, pair, kind, receive):
    def operation(socket):
        client, server = pair(socket, AF_INET, SOCK_DGRAM)
        client.send(b"data")
        refusal = attempt(receive, server, NOT_WRITABLE[kind]())
        return refusal, server.recv(9, MSG_DONTWAIT)

    refusal, data = same.value(operation)
    assert isinstance(refusal, Exception)
    assert data == b"data"


@pytest.mark.parametrize("timeout_s", [None, 20])
@pytest.mark.parametrize("method", ["recv_into", "recvfrom_into", "recvmsg_into"])
def test_a_buffer_in_use_cannot_be_resized(same, pair, in_thread, method, timeout_s):
    def operation(socket):
        client, server = pair(socket)
        server.settimeout(timeout_s)
        buffer = bytearray(4)
        view = memoryview(buffer)
        argument = [view] if method == "recvmsg_into" else view
        receiving = in_thread(getattr(server, method), argument)
        receiving.until_blocked()
        refusals = [
            attempt(buffer.extend, b"more"),
            attempt(buffer.clear),
            attempt(view.release),
        ]
        client.send(b"data")
        receiving.result()
        view.release()
        buffer.extend(b"more")
        return refusals, bytes(buffer)

    refusals, data = same.value(operation)
    assert [type(refusal) for refusal in refusals] == [BufferError] * 3
    assert data == b"datamore"


@pytest.mark.parametrize("method", ["send", "sendall", "sendmsg"])
def test_a_buffer_in_use_for_sending_cannot_be_resized(same, pair, in_thread, method):
    def operation(socket):
        client, server = pair(socket, AF_UNIX)
        buffer = bytearray(5_000_000)
        sending = in_thread(getattr(client, method), [buffer] if method == "sendmsg" else buffer)
        sending.until_blocked()
        refusal = attempt(buffer.clear)
        left = len(buffer)
        while left:
            left -= len(server.recv(left))
        sending.result()
        buffer.clear()
        return refusal

    assert type(same.value(operation)) is BufferError


def test_buffers_are_given_back_after_errors(pair):
    client, _ = pair(rsnet)
    client.close()
    buffer = bytearray(8)
    for operation in (
        lambda: client.send(buffer),
        lambda: client.sendall(buffer),
        lambda: client.sendmsg([buffer, buffer, 5]),
        lambda: client.sendmsg([buffer], [(1, 1, buffer), 5]),
        lambda: client.sendto(buffer, ("127.0.0.1", -1)),
        lambda: client.sendto(buffer, "flags", ("127.0.0.1", 1)),
        lambda: client.recv_into(buffer),
        lambda: client.recv_into(buffer, 9),
        lambda: client.recv_into(buffer, 1, "flags"),
        lambda: client.recvfrom_into(buffer, -1),
        lambda: client.recvmsg_into([buffer, buffer, b"read-only"]),
        lambda: client.recvmsg_into([buffer], -1),
        lambda: client.setsockopt(1, 2, buffer),
        lambda: client.setsockopt(1, "2", buffer),
    ):
        assert isinstance(attempt(operation), Exception)
        # A BufferError here would tell of an export that was not given back.
        buffer.append(0)
        buffer.pop()


# Flags.


@pytest.mark.parametrize(
    "flags", [-1, -(2**31), 2**31, 2**63, 2**64, 1.0, "1", None, 0x7FFFFFFF, 1 << 30], ids=shortened
)
@pytest.mark.parametrize(
    "call",
    [
        lambda sock, flags: sock.send(b"x", flags),
        lambda sock, flags: sock.sendall(b"x", flags),
        lambda sock, flags: sock.sendto(b"x", flags, ("127.0.0.1", 9)),
        lambda sock, flags: sock.sendmsg([b"x"], [], flags),
        lambda sock, flags: sock.recv(9, flags),
        lambda sock, flags: sock.recv_into(bytearray(9), 0, flags),
        lambda sock, flags: sock.recvfrom(9, flags)[0],
        lambda sock, flags: sock.recvfrom_into(bytearray(9), 0, flags)[0],
        lambda sock, flags: sock.recvmsg(9, 0, flags)[:3],
        lambda sock, flags: sock.recvmsg_into([bytearray(9)], 0, flags)[:3],
    ],
    ids=["send", "sendall", "sendto", "sendmsg", "recv", "recv_into", "recvfrom", "recvfrom_into"]
    + ["recvmsg", "recvmsg_into"],
)
def test_flags(same, pair, call, flags):
    def operation(socket):
        client, server = pair(socket, AF_INET, SOCK_DGRAM)
        client.send(b"data")
        server.setblocking(False)
        return attempt(call, server, flags)

    same.value(operation)


# Calls of the wrong form.

CALLS = {
    "accept": [((1,), {})],
    "bind": [((), {}), ((("", 0), 1), {}), ((), {"address": ("", 0)})],
    "close": [((1,), {})],
    "connect": [((), {}), ((("", 0), 1), {}), ((), {"address": ("", 0)})],
    "connect_ex": [((), {}), ((1, 2), {})],
    "detach": [((1,), {})],
    "dup": [((1,), {})],
    "fileno": [((1,), {})],
    "get_inheritable": [((1,), {})],
    "getblocking": [((1,), {})],
    "getpeername": [((1,), {})],
    "getsockname": [((1,), {})],
    "getsockopt": [((), {}), ((1,), {}), ((1, 2, 3, 4), {}), ((), {"level": 1, "option": 2})],
    "gettimeout": [((1,), {})],
    "listen": [((1, 2), {}), (("1",), {}), ((1.5,), {}), ((2**31,), {}), ((), {"backlog": 1})]
    + [((None,), {}), ((-(2**40),), {})],
    "makefile": [((1,), {}), (("r", -1, "ascii"), {})],
    "recv": [((), {}), ((1, 2, 3), {}), ((), {"bufsize": 1}), ((1,), {"flags": 0})],
    "recv_into": [((), {}), ((bytearray(1), 1, 0, 0), {}), ((), {"colour": 1})]
    + [((bytearray(1),), {"buffer": bytearray(1)}), ((), {"buffer": b"x"}), ((1,), {"nbytes": 1})],
    "recvfrom": [((), {}), ((1, 2, 3), {}), ((1,), {"flags": 0})],
    "recvfrom_into": [((), {}), ((bytearray(1), 1, 0, 0), {}), ((), {"colour": 1})],
    "recvmsg": [((), {}), ((1, 2, 3, 4), {}), ((1,), {"flags": 0})],
    "recvmsg_into": [((), {}), (([], 0, 0, 0), {}), ((5,), {}), ((None,), {}), (("x",), {})]
    + [((b"x",), {}), (([5],), {}), (([bytearray(1), None],), {}), ((bytearray(1),), {})],
    "send": [((), {}), ((b"x", 0, 0), {}), ((), {"data": b"x"}), ((b"x",), {"flags": 0})],
    "sendall": [((), {}), ((b"x", 0, 0), {}), ((b"x",), {"flags": 0})],
    "sendfile": [((), {}), ((5,), {}), (("name",), {}), ((None, 0, None, 0), {})],
    "sendmsg": [((), {}), ((5,), {}), ((None,), {}), (([b"x"], 5), {}), (([b"x"], [], 0, 0, 0), {})]
    + [(([b"x"], [], "0"), {}), (([b"x"],), {"flags": 0}), ((b"x",), {}), (("text",), {})]
    + [(([5],), {}), ((["text"],), {}), (([b"x", None],), {})],
    "sendmsg_afalg": [((), {}), (([b"x"],), {"op": -1}), (([b"x"],), {"op": "x"})],
    "sendto": [((), {}), ((b"x",), {}), ((b"x", 0, ("", 1), 0), {}), ((b"x", "0", ("", 1)), {})]
    + [((b"x",), {"address": ("", 1)}), ((5, ("127.0.0.1", 9)), {}), ((b"x", 0, None), {})],
    "set_inheritable": [((), {}), ((1, 2), {}), (("x",), {}), ((None,), {}), ((1.5,), {})],
    "setblocking": [((), {}), ((1, 2), {})],
    "setsockopt": [((), {}), ((1,), {}), ((1, 2), {}), ((1, 2, 3, 4, 5), {})],
    "settimeout": [((), {}), ((1, 2), {}), ((), {"timeout": 1})],
    "shutdown": [((), {}), ((1, 2), {}), (("x",), {}), ((None,), {}), ((-1,), {}), ((3,), {})]
    + [((2**31,), {}), ((), {"how": 1})],
}


def test_all_methods_are_called():
    methods = {
        name
        for name in dir(standard.socket)
        if not name.startswith("_") and callable(getattr(standard.socket, name))
    }
    assert CALLS.keys() == methods


@pytest.mark.parametrize(
    ("method", "arguments", "keywords"),
    [(method, *call) for method, calls in CALLS.items() for call in calls],
    ids=shortened,
)
def test_calls_of_the_wrong_form(same, method, arguments, keywords):
    def operation(socket):
        with socket.socket(AF_INET, SOCK_DGRAM) as sock:
            sock.setblocking(False)
            found = attempt(getattr(sock, method), *arguments, **keywords)
            return in_general(found) if isinstance(found, TypeError) else found

    same.value(operation)


def in_general(refusal):
    """A TypeError's class and text.

    What the interpreter says when it counts the arguments of a method depends on the kind of
    method, C's or Python's; and some texts have the name of the C class in them.
    """
    texts = [
        str(argument).replace("_socket.", "").replace("_rsnet.", "") for argument in refusal.args
    ]
    return TypeError, [
        "wrong number"
        if re.search(r"\) (takes (\d+ positional|no) argument|takes no keyword)", text)
        else text
        for text in texts
    ]


# Closed sockets.

RIGHT_CALLS = {
    "accept": (),
    "bind": (("127.0.0.1", 0),),
    "close": (),
    "connect": (("127.0.0.1", 9),),
    "connect_ex": (("127.0.0.1", 9),),
    "detach": (),
    "dup": (),
    "fileno": (),
    "get_inheritable": (),
    "getblocking": (),
    "getpeername": (),
    "getsockname": (),
    "getsockopt": (1, 2),
    "gettimeout": (),
    "listen": (),
    "makefile": (),
    "recv": (1,),
    "recv_into": (bytearray(1),),
    "recvfrom": (1,),
    "recvfrom_into": (bytearray(1),),
    "recvmsg": (1,),
    "recvmsg_into": ([bytearray(1)],),
    "send": (b"x",),
    "sendall": (b"x",),
    "sendfile": (None,),
    "sendmsg": ([b"x"],),
    "sendmsg_afalg": ([b"x"],),
    "sendto": (b"x", ("127.0.0.1", 9)),
    "set_inheritable": (True,),
    "setblocking": (False,),
    "setsockopt": (1, 2, 3),
    "settimeout": (5,),
    "shutdown": (2,),
}


def called(sock, method):
    if method == "makefile":
        found = attempt(sock.makefile, "rb")
        return found if isinstance(found, Exception) else type(found.close())
    if method == "sendfile":
        with open(__file__, "rb") as file:
            return attempt(sock.sendfile, file)
    if method == "sendmsg_afalg":
        return attempt(sock.sendmsg_afalg, [b"x"], op=0)
    return attempt(getattr(sock, method), *RIGHT_CALLS[method])


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("how", ["closed", "detached", "closed, with a timeout"])
@pytest.mark.parametrize("type", [SOCK_STREAM, SOCK_DGRAM])
def test_closed_sockets(same, method, how, type):
    def operation(socket):
        sock = socket.socket(AF_INET, type)
        if "timeout" in how:
            sock.settimeout(5)
        if how == "detached":
            os.close(sock.detach())
        else:
            sock.close()
        return called(sock, method), sock.fileno()

    same.value(operation)


@pytest.mark.parametrize(
    "method",
    ["accept", "bind", "connect", "getsockname", "listen", "recv", "recv_into", "recvfrom"]
    + ["recvmsg", "send", "sendall", "sendto", "sendmsg", "setsockopt", "shutdown", "dup"],
)
def test_closed_sockets_are_bad_descriptors(method):
    sock = rsnet.socket()
    sock.close()
    refusal = called(sock, method)
    assert (type(refusal), refusal.errno) == (OSError, 9)


# Descriptors that are no sockets (any more).


@pytest.fixture
def as_descriptor_of():
    """Runs a call on a socket whose descriptor leads to something else meanwhile."""

    def run(socket, something, method, *, timeout_s=None):
        with socket.socket() as sock:
            sock.settimeout(timeout_s)
            kept = os.dup(sock.fileno())
            os.dup2(something, sock.fileno(), inheritable=False)
            try:
                return called(sock, method)
            finally:
                if sock.fileno() >= 0:
                    os.dup2(kept, sock.fileno(), inheritable=False)
                os.close(kept)

    return run


@pytest.mark.parametrize("method", [name for name in CALLS if name not in ("close", "detach")])
@pytest.mark.parametrize("timeout_s", [None, 0])
def test_descriptors_of_files(same, as_descriptor_of, tmp_path, method, timeout_s):
    with open(tmp_path / "file", "w+") as file:
        same.value(
            lambda socket: as_descriptor_of(socket, file.fileno(), method, timeout_s=timeout_s)
        )


@pytest.mark.parametrize("method", ["recv", "recv_into", "send", "sendall", "accept", "connect"])
def test_descriptors_of_pipes(same, as_descriptor_of, method):
    reader, writer = os.pipe()
    try:
        for end in (reader, writer):
            same.value(lambda socket, end=end: as_descriptor_of(socket, end, method))
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("method", [name for name in CALLS if name != "detach"])
def test_descriptors_that_somebody_else_closed(same, method):
    def operation(socket):
        sock = socket.socket()
        os.close(sock.fileno())
        found = called(sock, method)
        sock.detach()
        return found

    same.value(operation)
