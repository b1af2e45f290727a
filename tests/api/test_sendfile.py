"""sendfile: files into streams, by the kernel where it can and by reading where it cannot."""

import io
import os
import random
import socket as standard
from socket import AF_INET, AF_UNIX, SOCK_DGRAM

import pytest

import rsnet

DATA = random.Random(1).randbytes(300_001)
METHODS = ["sendfile", "_sendfile_use_sendfile", "_sendfile_use_send"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with open(path, "rb") as file:
        yield file


@pytest.fixture
def transfer(pair, in_thread):
    """Sends a file; gives what sendfile returned, what arrived, where the file stands after."""

    def run(socket, file, *arguments, method="sendfile", timeout_s=None, **keywords):
        client, server = pair(socket)
        client.settimeout(timeout_s)
        arrived = in_thread(read_to_the_end, server)
        try:
            sent = getattr(client, method)(file, *arguments, **keywords)
        finally:
            client.close()
        return sent, arrived.result(), file.tell()

    return run


def read_to_the_end(sock):
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("timeout_s", [None, 20])
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (0, None),
        (0, 1),
        (0, 10_000),
        (0, len(DATA)),
        (0, len(DATA) + 1000),
        (1000,),
        (1000, 5_000),
        (299_999, 5_000),
        (len(DATA),),
        (len(DATA) + 5_000, 10),
    ],
    ids=repr,
)
def test_offsets_and_counts(same, transfer, file, method, timeout_s, arguments):
    def send(socket):
        file.seek(0)
        return transfer(socket, file, *arguments, method=method, timeout_s=timeout_s)

    sent, arrived, _ = same.value(send)
    offset = arguments[0] if arguments else 0
    count = arguments[1] if len(arguments) > 1 else None
    assert arrived == DATA[offset:][:count]
    assert (sent or 0) == len(arrived)


def test_keywords_and_a_position_that_is_not_the_start(same, transfer, file):
    def send(socket):
        file.seek(777)
        return transfer(socket, file, offset=5, count=100)

    assert same.value(send) == (100, DATA[5:105], 105)


def test_a_file_that_is_not_the_kernel_s(same, transfer):
    assert same.value(lambda socket: transfer(socket, io.BytesIO(DATA), 10, 70_000)) == (
        70_000,
        DATA[10:70_010],
        70_010,
    )
    same.error(
        lambda socket: transfer(socket, io.BytesIO(DATA), method="_sendfile_use_sendfile"),
        standard._GiveupOnSendfile,
    )


def test_the_kernel_sends_regular_files(transfer, file, monkeypatch):
    calls = []
    sendfile = os.sendfile
    monkeypatch.setattr(os, "sendfile", lambda *args: calls.append(args) or sendfile(*args))
    assert transfer(rsnet, file)[1] == DATA
    assert calls


def test_an_empty_file(same, transfer, tmp_path):
    (tmp_path / "empty").touch()

    def send(socket):
        with open(tmp_path / "empty", "rb") as file:
            return transfer(socket, file)

    same.value(send)


@pytest.mark.parametrize(
    "arguments",
    [(0, 0), (0, -1), (0, 1.5), (0, "1"), (-1,), (-1, 5), ("0",), (None,), (1.5,), (0, None, 1)],
    ids=repr,
)
def test_bad_arguments(same, transfer, file, arguments):
    def send(socket):
        file.seek(0)
        try:
            return transfer(socket, file, *arguments)
        except Exception as error:
            return error

    same.value(send)


def test_text_files(same, transfer, file):
    with open(file.name) as text:
        same.error(lambda socket: transfer(socket, text), ValueError)


@pytest.mark.parametrize("family", [AF_INET, AF_UNIX])
def test_datagram_sockets(same, pair, file, family):
    same.error(lambda socket: pair(socket, family, SOCK_DGRAM)[0].sendfile(file), ValueError)


def test_sockets_that_do_not_block(same, transfer, file):
    error = same.error(lambda socket: transfer(socket, file, timeout_s=0), ValueError)
    assert error.args == ("non-blocking sockets are not supported",)


@pytest.mark.parametrize("method", METHODS)
def test_a_peer_that_does_not_read(same, pair, file, method):
    def send(socket):
        client, _ = pair(socket, AF_UNIX)
        client.settimeout(0.03)
        for _ in range(100):
            file.seek(0)
            getattr(client, method)(file)

    same.error(send, TimeoutError)


@pytest.mark.parametrize("method", METHODS)
def test_a_peer_that_has_gone(same, pair, file, method):
    def send(socket):
        client, server = pair(socket, AF_UNIX)
        server.close()
        file.seek(0)
        getattr(client, method)(file)

    # What nothing was sent of by one way may go by the other.
    gives_up = method == "_sendfile_use_sendfile"
    same.error(send, standard._GiveupOnSendfile if gives_up else BrokenPipeError)


def test_a_closed_file(same, transfer, tmp_path):
    (tmp_path / "closed").touch()
    with open(tmp_path / "closed", "rb") as closed:
        pass

    def send(socket):
        with pytest.raises(ValueError) as caught:
            transfer(socket, closed)
        raise caught.value

    same.error(send, ValueError)
