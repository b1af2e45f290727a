"""rsnet.patch(): what is in the standard module, and what is not."""

import asyncio
import http.client
import socket as standard
import ssl
import sys
import threading
import types
import warnings
from unittest import mock

import pytest

import rsnet


def names():
    # But for what the interpreter keeps there of its own: warnings given, for example.
    return {name: value for name, value in vars(standard).items() if not name.startswith("__")}


BEFORE = names()
REPLACED = {"socket", "getaddrinfo"}


@pytest.fixture(autouse=True)
def clean():
    # Test modules have imported names from socket, and are told so.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
    rsnet.unpatch()
    assert names() == BEFORE


def test_the_names_that_change():
    rsnet.patch()
    changed = {name for name, value in names().items() if BEFORE.get(name) is not value}
    assert changed == REPLACED
    assert all(getattr(standard, name) is getattr(rsnet, name) for name in REPLACED)


def test_everything_that_makes_sockets_makes_rsnet_s():
    rsnet.patch()
    listener = standard.create_server(("127.0.0.1", 0))
    client = standard.create_connection(listener.getsockname(), 5)
    server, _ = listener.accept()
    near, far = standard.socketpair()
    again = standard.fromfd(near.fileno(), near.family, near.type)
    made = [listener, client, server, near, far, again, near.dup(), standard.socket()]
    assert {type(sock) for sock in made} == {rsnet.socket}
    for sock in made:
        sock.close()


def test_twice_is_once():
    rsnet.patch()
    rsnet.patch()
    rsnet.unpatch()
    assert standard.socket is BEFORE["socket"]
    rsnet.unpatch()
    assert standard.socket is BEFORE["socket"]


def test_contexts_nest_and_end_with_errors_too():
    with rsnet.patched():
        with rsnet.patched():
            assert standard.socket is rsnet.socket
        assert standard.socket is rsnet.socket
    assert standard.socket is BEFORE["socket"]
    with pytest.raises(ZeroDivisionError), rsnet.patched():
        raise ZeroDivisionError
    assert standard.socket is BEFORE["socket"]


def test_a_context_leaves_a_patch_as_it_was():
    rsnet.patch()
    with rsnet.patched():
        pass
    assert standard.socket is rsnet.socket


def test_what_others_put_there_meanwhile_stays():
    rsnet.patch()
    with mock.patch.object(standard, "socket") as fake:
        rsnet.unpatch()
        assert standard.socket is fake
    standard.socket = BEFORE["socket"]


def test_one_warning_names_the_modules_with_copies():
    copies = {"with_class": BEFORE["socket"], "with_function": BEFORE["getaddrinfo"]}
    modules = {name: types.ModuleType(name) for name in [*copies, "without"]}
    for name, value in copies.items():
        modules[name].copied = value
    with mock.patch.dict(sys.modules, modules), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rsnet.patch()
    (warning,) = caught
    assert warning.category is RuntimeWarning and warning.filename == __file__
    text = str(warning.message)
    assert "with_class, with_function" in text and "without" not in text
    assert "ssl" not in text.replace(",", " ").split()


def test_a_mock_of_the_standard_module_is_heard():
    rsnet.patch()
    answer = [(standard.AF_INET, standard.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]
    with mock.patch("socket.getaddrinfo", return_value=answer) as asked:
        with pytest.raises(ConnectionRefusedError):
            standard.create_connection(("name.invalid", 80))
    asked.assert_called_once()


def test_tls_sockets_are_sockets(pair):
    rsnet.patch()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    near, _ = pair(rsnet)
    near.setblocking(False)
    with context.wrap_socket(near, do_handshake_on_connect=False) as tls:
        assert isinstance(tls, standard.socket)


def test_asyncio_and_http(in_thread):
    rsnet.patch()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    def ask(port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        assert type(connection.sock) is rsnet.socket
        body = connection.getresponse().read()
        connection.close()
        return body

    async def main():
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.to_thread(ask, port)

    assert asyncio.run(main()) == b"ok"


def test_families_of_others_and_subclasses():
    rsnet.patch()
    with standard.socket(standard.AF_NETLINK, standard.SOCK_RAW) as sock:
        assert type(sock) is BEFORE["socket"]

    class Own(standard.socket):
        pass

    with Own() as own:
        assert isinstance(own, rsnet.socket)


def test_names_that_are_no_literals_are_looked_up_once_only():
    rsnet.patch()
    assert standard.getaddrinfo("localhost", 80) == BEFORE["getaddrinfo"]("localhost", 80)


def test_threads_that_patch_and_unpatch():
    def turn():
        for _ in range(200):
            with rsnet.patched():
                pass

    threads = [threading.Thread(target=turn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rsnet.unpatch()
    assert standard.socket is BEFORE["socket"]
