"""Audit events (PEP 578), with CPython's names and arguments."""

import json
from itertools import zip_longest

import pytest

import rsnet

# Run once with each module, in a child, for a hook stays for the life of its process.
OPERATIONS = """
    import importlib, json, os, sys, warnings
    from socket import *

    socket_module = importlib.import_module(sys.argv[1])
    refused_event = sys.argv[2] if len(sys.argv) > 2 else None
    # Where a hook raises, CPython's functions leave a socket to the collector.
    warnings.simplefilter("ignore", ResourceWarning)
    events = []
    watching = False

    def plain(argument):
        if isinstance(argument, socket_module.socket):
            return "socket"
        if isinstance(argument, tuple | list):
            return [type(argument).__name__, *map(plain, argument)]
        return f"{type(argument).__name__} {argument!r}".replace(str(port), "PORT")

    class Refused(Exception):
        pass

    def hook(event, arguments):
        if watching and event.startswith("socket."):
            events.append([event, *map(plain, arguments)])
            if event == refused_event:
                raise Refused(event)

    m = socket_module
    listener = m.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    # For the runs in which nobody gets through to it.
    listener.settimeout(0.1)
    udp = m.socket(type=SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    six = m.socket(AF_INET6, SOCK_DGRAM)
    unix = m.socket(AF_UNIX)
    tcp = m.socket()
    spare = m.socket().detach()

    def adopt():
        with m.socket(fileno=spare) as sock:
            assert sock.detach() == spare

    def make(*arguments, **keywords):
        m.socket(*arguments, **keywords).close()

    def make_pair():
        for sock in m.socketpair():
            sock.close()

    def make_connection():
        m.create_connection(("127.0.0.1", port)).close()
        listener.accept()[0].close()

    def make_server():
        m.create_server(("127.0.0.1", 0)).close()

    operations = [
        make,
        lambda: make(AF_INET6, SOCK_DGRAM, 17),
        lambda: make(type=SOCK_STREAM | SOCK_CLOEXEC),
        lambda: make(proto=0, family=AF_UNIX),
        lambda: make(9999),
        adopt,
        lambda: tcp.dup().close(),
        make_pair,
        make_connection,
        make_server,
        lambda: tcp.connect(("127.0.0.1", port)),
        lambda: tcp.connect(("127.0.0.1", -1)),
        lambda: tcp.connect(("no\\0host", 1)),
        lambda: tcp.connect_ex(("localhost", port)),
        lambda: listener.accept()[0].close(),
        lambda: unix.connect("/no/such/path"),
        lambda: unix.connect_ex(b"/no/such/path"),
        lambda: unix.bind(b"/no/such/folder/path"),
        lambda: udp.bind(("127.0.0.1", 0)),
        lambda: udp.bind(None),
        lambda: six.bind(("::1", 0)),
        lambda: six.connect(("::1", port)),
        lambda: udp.sendto(b"x", ("127.0.0.1", port)),
        lambda: udp.sendto(b"x", 0, ("localhost", port)),
        lambda: udp.sendto(b"x", "nowhere"),
        lambda: udp.sendmsg([b"x"], [], 0, ("127.0.0.1", port)),
        lambda: udp.sendmsg([b"x"]),
        lambda: tcp.sendmsg([b"x"], [], MSG_DONTWAIT, None),
        lambda: tcp.send(b"x"),
        lambda: tcp.sendall(b"x"),
        lambda: m.getaddrinfo("127.0.0.1", port),
        lambda: m.getaddrinfo("127.0.0.1", str(port), AF_INET, SOCK_STREAM, 6, AI_NUMERICHOST),
        lambda: m.getaddrinfo("::1", 80, type=SOCK_DGRAM),
        lambda: m.getaddrinfo("localhost", None),
        lambda: m.getaddrinfo(None, 80),
        lambda: m.getaddrinfo(b"127.0.0.1", "http"),
        lambda: m.gethostbyname("127.0.0.1"),
        lambda: m.gethostbyname_ex("localhost"),
        lambda: m.gethostbyaddr("127.0.0.1"),
        lambda: m.getnameinfo(("127.0.0.1", 80), NI_NUMERICHOST),
        lambda: m.getservbyname("http", "tcp"),
        lambda: m.getservbyname("http"),
        lambda: m.getservbyport(80),
        lambda: m.getservbyport(80, "tcp"),
        lambda: m.gethostname(),
        lambda: m.sethostname("n" * 5000),
        lambda: m.getfqdn("127.0.0.1"),
        lambda: m.if_nameindex(),
        lambda: m.getprotobyname("tcp"),
        lambda: tcp.getsockname(),
        lambda: tcp.shutdown(SHUT_RDWR),
        lambda: tcp.close(),
    ]
    sys.addaudithook(hook)
    outcomes = []
    for operation in operations:
        watching = True
        try:
            operation()
            outcomes.append("done")
        except Exception as error:
            outcomes.append(type(error).__name__)
        watching = False
    for sock in (listener, udp, six, unix, tcp):
        sock.close()
    os.close(spare)
    print(json.dumps([events, outcomes]))
"""


def test_events_and_their_arguments(run_python):
    expected, found = (json.loads(run_python(OPERATIONS, m)) for m in ("socket", rsnet.__name__))
    for event, expected_event in zip_longest(found[0], expected[0]):
        assert event == expected_event
    assert found == expected
    assert {event for event, *_ in found[0]} == {
        f"socket.{name}"
        for name in ("__new__", "bind", "connect", "sendto", "sendmsg", "getaddrinfo")
        + ("gethostbyname", "gethostbyaddr", "getnameinfo", "getservbyname", "getservbyport")
        + ("gethostname", "sethostname")
    }


@pytest.mark.parametrize(
    "event",
    ["__new__", "bind", "connect", "sendto", "sendmsg", "getaddrinfo", "gethostbyname"]
    + ["getnameinfo", "getservbyname"],
)
def test_a_hook_that_raises_stops_the_call(run_python, event):
    name = f"socket.{event}"
    expected, found = (
        json.loads(run_python(OPERATIONS, m, name)) for m in ("socket", rsnet.__name__)
    )
    assert "Refused" in found[1]
    if event == "__new__":
        # CPython leaves the descriptors of a refused object open for good, rsnet closes what it
        # accepted: later calls find their peers gone.
        found[1], expected[1] = ([o == "Refused" for o in each[1]] for each in (found, expected))
    assert found == expected
