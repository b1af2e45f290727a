"""Names and numbers of hosts and services. Nothing here asks a name server."""

import ctypes
import socket as standard
import subprocess
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    AI_ADDRCONFIG,
    AI_CANONNAME,
    AI_NUMERICHOST,
    AI_NUMERICSERV,
    AI_PASSIVE,
    IPPROTO_TCP,
    NI_DGRAM,
    NI_NUMERICHOST,
    NI_NUMERICSERV,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
)

import pytest

import rsnet

NUMERIC_HOSTS = ["127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1"]
ODD_HOSTS = ["127.1", "0x7f.0.0.1", "fe80::1%lo", "::1%1", "localhost", "LOCALHOST"]
HOSTS = [*NUMERIC_HOSTS, *ODD_HOSTS, None, b"127.0.0.1", b"::1", b"localhost"]
PORTS = [0, 80, 65535, "80", "http", "00080", b"80", b"domain", None, True]


def attempt(function, *arguments, **keywords):
    try:
        return function(*arguments, **keywords)
    except Exception as error:
        return error


@pytest.mark.parametrize("host", HOSTS, ids=repr)
@pytest.mark.parametrize("port", PORTS, ids=repr)
def test_hosts_and_ports(same, host, port):
    same.value(lambda socket: attempt(socket.getaddrinfo, host, port))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", None])
@pytest.mark.parametrize("family", [0, AF_INET, AF_INET6, AF_UNIX, 9999])
@pytest.mark.parametrize("type", [0, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, 99])
@pytest.mark.parametrize("protocol", [0, IPPROTO_TCP, 17, 255])
def test_families_types_and_protocols(same, host, family, type, protocol):
    same.value(lambda socket: attempt(socket.getaddrinfo, host, 80, family, type, protocol))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", None])
@pytest.mark.parametrize(
    "flags",
    [
        AI_PASSIVE,
        AI_NUMERICHOST,
        AI_NUMERICSERV,
        AI_CANONNAME,
        AI_ADDRCONFIG,
        AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
        AI_CANONNAME | AI_NUMERICHOST,
        standard.AI_V4MAPPED,
        standard.AI_ALL | standard.AI_V4MAPPED,
        1 << 30,
        -1,
    ],
)
@pytest.mark.parametrize("family", [0, AF_INET6])
def test_flags(same, host, flags, family):
    def look_up(socket):
        return attempt(socket.getaddrinfo, host, "80", family, SOCK_STREAM, 0, flags)

    same.value(look_up)


def test_keywords(same):
    def look_up(socket):
        return socket.getaddrinfo(
            port=80, host="127.0.0.1", flags=AI_NUMERICHOST, type=SOCK_STREAM, family=AF_INET
        )

    [(family, type, proto, name, address)] = same.value(look_up)
    assert (family, type, proto, name, address) == (AF_INET, SOCK_STREAM, 6, "", ("127.0.0.1", 80))
    assert isinstance(family, standard.AddressFamily)
    assert isinstance(type, standard.SocketKind)


def test_answers_can_be_changed_without_changing_the_next():
    first = rsnet.getaddrinfo("127.0.0.1", 80)
    expected = list(first)
    first.clear()
    assert rsnet.getaddrinfo("127.0.0.1", 80) == expected


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 80),
        ("127.0.0.1\0", 80),
        ("h" * 70_000, 80),
        (f"{'l' * 64}.invalid", 80),
        ("lone\ud800", 80),
        ("\udc80", 80),
        ("\xe4" * 70_000, 80),
        (bytearray(b"127.0.0.1"), 80),
        (memoryview(b"127.0.0.1"), 80),
        (5, 80),
        (("127.0.0.1",), 80),
        ("127.0.0.1", -1),
        ("127.0.0.1", 65536),
        ("127.0.0.1", 2**31),
        ("127.0.0.1", 2**64),
        ("127.0.0.1", 1.5),
        ("127.0.0.1", "no such service"),
        ("127.0.0.1", "80\0"),
        ("127.0.0.1", "-1"),
        ("127.0.0.1", "65536"),
        ("127.0.0.1", "\ud800"),
        ("127.0.0.1", ""),
        ("127.0.0.1", " 80"),
        ("127.0.0.1", []),
        (None, None),
        ("::1", None),
        ("1.2.3.4.", 80),
        ("1.2.3.4 ", 80),
        (" 1.2.3.4", 80),
        ("256.1.1.1", 80),
        ("1::2::3", 80),
        ("[::1]", 80),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_bad_hosts_and_ports(same, host, port):
    # AI_NUMERICHOST, for what is no number must not become a question to a name server.
    def look_up(socket):
        return attempt(socket.getaddrinfo, host, port, 0, SOCK_STREAM, 0, AI_NUMERICHOST)

    same.value(look_up)


@pytest.mark.parametrize(
    "arguments",
    [(), ("127.0.0.1",), ("127.0.0.1", 80, "0"), ("127.0.0.1", 80, 0, None), (1, 2, 3, 4, 5, 6, 7)]
    + [("127.0.0.1", 80, 2**31), ("127.0.0.1", 80, 0, 0, 0, 1.5)],
    ids=repr,
)
def test_bad_arguments(same, arguments):
    error = same.error(lambda socket: socket.getaddrinfo(*arguments))
    assert isinstance(error, TypeError | OverflowError)


# A literal never reaches the resolver.

COUNTING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>

int lookups;

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **answer)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    next = dlsym(RTLD_NEXT, "getaddrinfo");
    lookups++;
    return next(host, port, hints, answer);
}
"""
COUNTED = """
    import ctypes, sys
    import rsnet as socket

    lookups = ctypes.c_int.in_dll(ctypes.CDLL(None), "lookups")
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def use(host, family):
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        socket.getaddrinfo(host, str(port), 0, socket.SOCK_DGRAM, 0, socket.AI_PASSIVE)
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((host, 0))
            sock.sendto(b"x", (host, port))
            sock.sendmsg([b"x"], [], 0, (host, port))
            sock.connect((host, port))
            sock.connect_ex((host, port))

    def use_all(last):
        for number in range(1, last):
            use(f"127.0.0.{number}", socket.AF_INET)
            use(("::1", "0:0::1")[number % 2], socket.AF_INET6)
            socket.create_connection(("127.0.0.1", port)).close()
            listener.accept()[0].close()

    # The first question of each shape may be asked to learn what the C library answers to it.
    use_all(3)
    before = lookups.value
    use_all(60)
    print(before, lookups.value - before)
    socket.getaddrinfo("localhost", port)
    print(lookups.value - before)
    listener.close()
"""


@pytest.fixture
def counting_library(tmp_path):
    source, library = tmp_path / "counting.c", tmp_path / "counting.so"
    source.write_text(COUNTING)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    assert ctypes.CDLL(str(library)).getaddrinfo
    return library


def test_numeric_hosts_never_reach_the_resolver(run_python, counting_library):
    lines = run_python(COUNTED, env={"LD_PRELOAD": str(counting_library)}).splitlines()
    to_learn, while_using = map(int, lines[0].split())
    assert while_using == 0
    assert to_learn <= 10
    # The count counts: a name does reach the resolver.
    assert int(lines[1]) == 1


# Other lookups.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "", "<broadcast>", b"127.0.0.1", "::1"])
@pytest.mark.parametrize("name", ["gethostbyname", "gethostbyname_ex", "gethostbyaddr"])
def test_hosts_by_name(same, name, host):
    same.value(lambda socket: attempt(getattr(socket, name), host))


@pytest.mark.parametrize("host", ["h\0st", "lone\ud800", "h" * 70_000, 5, None, (), "a" * 64])
@pytest.mark.parametrize("name", ["gethostbyname", "gethostbyname_ex", "gethostbyaddr"])
def test_bad_hosts_by_name(same, name, host):
    if host == "a" * 64:
        # Longer than any label of a name, which the C library knows by itself.
        host = "a" * 64 + "\xe4"
    same.error(lambda socket: getattr(socket, name)(host))


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "::1"])
def test_fully_qualified_names(same, name):
    same.value(lambda socket: socket.getfqdn(name))


@pytest.mark.parametrize(
    ("address", "flags"),
    [
        (("127.0.0.1", 80), 0),
        (("127.0.0.1", 80), NI_NUMERICHOST),
        (("127.0.0.1", 80), NI_NUMERICHOST | NI_NUMERICSERV),
        (("127.0.0.1", 53), NI_DGRAM),
        (("::1", 80), NI_NUMERICHOST),
        (("::1", 80, 0, 1), NI_NUMERICHOST),
        (("fe80::1", 80, 0, 1), NI_NUMERICHOST),
        (("127.0.0.1", 80, 0), 0),
        (("127.0.0.1",), 0),
        (("127.0.0.1", -1), 0),
        (("127.0.0.1", 65536), NI_NUMERICHOST | NI_NUMERICSERV),
        (("localhost", 80), 0),
        (("::1", 80, 2**20), 0),
        (("::1", 80, -1), 0),
        ("127.0.0.1", 0),
        (["127.0.0.1", 80], 0),
        (("127.0.0.1", "80"), 0),
        ((None, 80), 0),
        (("127.0.0.1", 80), "flags"),
        (("127.0.0.1", 80), -1),
    ],
    ids=repr,
)
def test_getnameinfo(same, address, flags):
    same.value(lambda socket: attempt(socket.getnameinfo, address, flags))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("getservbyname", ("http",)),
        ("getservbyname", ("http", "tcp")),
        ("getservbyname", ("domain", "udp")),
        ("getservbyname", ("no such service",)),
        ("getservbyname", ("http", "no such protocol")),
        ("getservbyname", ("http\0",)),
        ("getservbyname", (5,)),
        ("getservbyname", ()),
        ("getservbyport", (80,)),
        ("getservbyport", (80, "tcp")),
        ("getservbyport", (53, "udp")),
        ("getservbyport", (1, "no such protocol")),
        ("getservbyport", (-1,)),
        ("getservbyport", (65536,)),
        ("getservbyport", ("80",)),
        ("getprotobyname", ("tcp",)),
        ("getprotobyname", ("udp",)),
        ("getprotobyname", ("no such protocol",)),
        ("getprotobyname", (6,)),
    ],
    ids=repr,
)
def test_services_and_protocols(same, name, arguments):
    same.value(lambda socket: attempt(getattr(socket, name), *arguments))


def test_resolver_errors_are_the_standard_library_s():
    with pytest.raises(standard.gaierror) as caught:
        rsnet.getaddrinfo("not a number", 80, flags=AI_NUMERICHOST)
    assert type(caught.value) is standard.gaierror
    assert caught.value.errno == standard.EAI_NONAME
    with rsnet.socket(AF_INET6) as sock, pytest.raises(standard.gaierror):
        sock.connect(("::1%nosuchinterface", 1))
