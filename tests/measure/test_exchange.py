"""tcp.exchange: one request to many, and each response until it is enough."""

import socket
import struct
import threading
import time

import pytest

import rsnet


def test_until_the_peer_closes(served):
    port = served(lambda sock: sock.sendall(sock.recv(100).upper()))
    (row,) = rsnet.tcp.exchange("127.0.0.1", "hello", port)
    assert (row.state, row.response, row.ending) == ("open", b"HELLO", "complete")
    assert 0 < row.connect_ns < row.total_ns and 0 < row.first_byte_ns < row.total_ns


@pytest.mark.parametrize(
    ("until", "response", "ending"),
    [
        (b"\r\n", b"one\r\n", "complete"),
        (3, b"one", "complete"),
        (5, b"one\r\n", "complete"),
        (9, b"one\r\ntwo", "closed"),
        (b"three", b"one\r\ntwo", "closed"),
    ],
)
def test_what_ends_a_response(served, until, response, ending):
    def behave(sock):
        sock.recv(100)
        sock.sendall(b"one\r\ntwo")

    (row,) = rsnet.tcp.exchange("127.0.0.1", b"?", served(behave), until=until)
    assert (row.response, row.ending) == (response, ending)


def test_silence_ends_a_response(served):
    def behave(sock):
        sock.recv(100)
        sock.sendall(b"one")
        sock.recv(100)

    (row,) = rsnet.tcp.exchange("127.0.0.1", b"?", served(behave), until=0.1, timeout=20)
    assert (row.response, row.ending) == (b"one", "complete")
    assert 0.1e9 < row.total_ns < 10e9


def test_what_came_before_the_time_was_up_is_kept(served):
    def behave(sock):
        sock.recv(100)
        sock.sendall(b"some")
        sock.recv(100)

    (row,) = rsnet.tcp.exchange("127.0.0.1", b"?", served(behave), timeout=0.3)
    assert (row.state, row.response, row.ending) == ("open", b"some", "timed out")


def test_what_came_before_a_reset_is_kept(served):
    def behave(sock):
        sock.recv(100)
        sock.sendall(b"some")
        # Until it was received: a reset throws away what is on the way.
        while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)[24:28] != bytes(4):
            pass
        assert sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    (row,) = rsnet.tcp.exchange("127.0.0.1", b"?" * 101, served(behave), timeout=5)
    assert (row.state, row.ending, row.errno) == ("open", "broken", 104)
    assert row.response in (b"some", b"")


def test_no_more_is_kept_than_allowed(served):
    port = served(lambda sock: sock.sendall(bytes(1 << 20)))
    (row,) = rsnet.tcp.exchange("127.0.0.1", b"", port, max_bytes=70_000)
    assert (len(row.response), row.ending) == (70_000, "full")


def test_a_request_larger_than_all_buffers(served):
    request = bytes(range(256)) * 40_000

    def behave(sock):
        left = len(request)
        while left:
            left -= len(sock.recv(1 << 16))
        sock.sendall(b"all")

    (row,) = rsnet.tcp.exchange("127.0.0.1", request, served(behave), until=3, timeout=20)
    assert (row.response, row.ending) == (b"all", "complete")


def test_a_large_response(served):
    data = bytes(range(256)) * 8192

    def behave(sock):
        sock.recv(1)
        sock.sendall(data)

    (row,) = rsnet.tcp.exchange("127.0.0.1", b"?", served(behave), max_bytes=1 << 22, timeout=20)
    assert row.response == data and row.ending == "complete"


def test_no_connection_is_a_row_without_a_response(closed_port, silent_port):
    found = rsnet.tcp.exchange("127.0.0.1", b"?", [closed_port, silent_port], timeout=0.2)
    by_port = {row.port: row for row in found}
    assert by_port[closed_port].state == "refused" and by_port[silent_port].state == "filtered"
    for row in found:
        assert (row.response, row.ending, row.total_ns, row.first_byte_ns) == (None,) * 4


def test_a_handshake_that_takes_its_time():
    """The usual case on a network, and not on loopback: the connection stands only later."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        filling = []
        while True:
            filling.append(socket.socket())
            filling[-1].settimeout(0.2)
            try:
                filling[-1].connect(address)
            except TimeoutError:
                filling.pop().close()
                break
        answered = []

        def answer():
            # What waits is taken once the client has asked in vain: it asks again after a second.
            while not told:
                time.sleep(0.001)
            while len(answered) < 2:
                sock, _ = server.accept()
                sock.settimeout(10)
                if request := sock.recv(100):
                    answered.append(request)
                    sock.sendall(b"220 " + request)
                sock.close()

        for one in filling:
            one.shutdown(socket.SHUT_WR)
        told = []
        thread = threading.Thread(target=answer)
        thread.start()
        targets = [address, ("127.0.0.1", address[1])]
        settings = {"timeout": 10, "progress": lambda *how_far: told.append(how_far)}
        (row,) = rsnet.tcp.exchange(targets, b"x" * 50, until=54, **settings)
        (again,) = rsnet.tcp.exchange(targets, b"y" * 50, **settings)
        thread.join()
        for one in filling:
            one.close()
    assert (row.state, row.ending, row.response) == ("open", "complete", b"220 " + b"x" * 50)
    assert row.connect_ns > 0.5e9 and row.total_ns > row.connect_ns
    assert (again.response, again.ending) == (b"220 " + b"y" * 50, "complete")


def test_hundreds_at_once(served):
    port = served(lambda sock: sock.sendall(sock.recv(100)))
    targets = [(f"127.0.1.{last}", port) for last in range(1, 201)]
    # The server listens on 127.0.0.1 only.
    found = rsnet.tcp.exchange([*targets, ("127.0.0.1", port)], b"x" * 64, until=64, timeout=20)
    states = [row.state for row in found]
    assert states.count("refused") == 200 and states.count("open") == 1


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "text"),
    [
        ((7,), {}, TypeError, "bytes-like"),
        ((b"x",), {"until": b""}, ValueError, "at least one byte"),
        ((b"x",), {"until": 0}, ValueError, "until is at least 1"),
        ((b"x",), {"until": -1.5}, ValueError, "until is a number above 0"),
        ((b"x",), {"until": "x"}, TypeError, "until is a whole number"),
        ((b"x",), {"max_bytes": 0}, ValueError, "max_bytes is at least 1"),
        ((b"x",), {"timeout": -1}, ValueError, "timeout is a number above 0"),
    ],
)
def test_bad_input(arguments, settings, error, text):
    with pytest.raises(error, match=text):
        rsnet.tcp.exchange("127.0.0.1:9", *arguments, **settings)
