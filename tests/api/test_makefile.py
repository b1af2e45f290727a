"""makefile: a socket as a file, and who closes what when."""

import errno
import io
import socket as standard

import pytest

import rsnet

TIMEOUT_S = 0.03


@pytest.mark.parametrize("mode", ["r", "w", "rw", "wr", "rb", "wb", "rwb", "brw", "b", "rr", ""])
@pytest.mark.parametrize("buffering", [None, -1, 1, 2, 4096])
def test_modes(same, pair, mode, buffering):
    def make(socket):
        client, _ = pair(socket)
        with client.makefile(mode, buffering, encoding=None if "b" in mode else "ascii") as file:
            return type(file), file.readable(), file.writable(), file.seekable()

    assert same.value(make)[1:] == ("w" not in mode or "r" in mode, "w" in mode, False)


@pytest.mark.parametrize("mode", ["a", "x", "U", "+", "r+", "rt", " r", "R", None, 5, b"r"])
def test_bad_modes(same, pair, mode):
    same.error(lambda socket: pair(socket)[0].makefile(mode), (ValueError, TypeError))


@pytest.mark.parametrize(
    "arguments",
    [
        {"buffering": 0},
        {"mode": "w", "buffering": 0},
        {"buffering": -2},
        {"buffering": "1"},
        {"mode": "rb", "encoding": "ascii"},
        {"mode": "r", "encoding": "no-such-encoding"},
        {"mode": "r", "errors": 5},
        {"mode": "r", "newline": "x"},
        {"mode": "r", "newline": 5},
        {"colour": 1},
    ],
    ids=repr,
)
def test_bad_arguments(same, pair, arguments):
    def make(socket):
        client, _ = pair(socket)
        try:
            return type(client.makefile(**arguments).close())
        except Exception as error:
            # Without its frames, which hold what makefile had made so far.
            return error.with_traceback(None)

    same.value(make)


def test_unbuffered_binary(same, pair):
    def talk(socket):
        client, server = pair(socket)
        with client.makefile("wb", 0) as out, server.makefile("rb", 0) as into:
            assert type(out) is type(into) is socket.SocketIO
            sent = out.write(b"0123456789\n")
            buffer = bytearray(4)
            found = sent, into.read(3), into.readinto(buffer), bytes(buffer), into.readline(99)
            return *found, out.name == client.fileno()

    assert same.value(talk)[:4] == (11, b"012", 4, b"3456")


@pytest.mark.parametrize("buffering", [-1, 2, 10, 1000])
def test_lines_of_bytes(same, pair, buffering):
    def talk(socket):
        client, server = pair(socket)
        with client.makefile("wb", buffering) as out:
            out.writelines([b"one\n", b"two\r\n", b"\n", b"x" * 5000 + b"\n", b"last"])
        client.close()
        with server.makefile("rb", buffering) as into:
            return [into.readline(), into.peek(1)[:1], *into, into.read(), into.read1()]

    assert same.value(talk)[-3:] == [b"last", b"", b""]


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "latin-1"])
def test_text(same, pair, newline, encoding):
    def talk(socket):
        client, server = pair(socket)
        with client.makefile("w", encoding=encoding, newline=newline) as out:
            out.write("grün\r\nzwei\rdrei\nende")
        client.shutdown(socket.SHUT_WR)
        with server.makefile("r", encoding=encoding, newline=newline) as into:
            return into.encoding, into.errors, list(into)

    same.value(talk)


@pytest.mark.parametrize("errors", ["strict", "replace", "ignore", "surrogateescape"])
def test_text_that_is_none(same, pair, errors):
    def talk(socket):
        client, server = pair(socket)
        client.sendall(b"a\xffb\n")
        with server.makefile("r", encoding="utf-8", errors=errors) as into:
            try:
                return into.readline()
            except UnicodeDecodeError as error:
                return error

    same.value(talk)


def test_reading_and_writing_through_one_file(pair):
    client, server = pair(rsnet)
    with client.makefile("rw", encoding="utf-8") as one, server.makefile("rwb") as other:
        one.write("question\n")
        one.flush()
        assert other.readline() == b"question\n"
        other.write(b"answer\n")
        other.flush()
        assert one.readline() == "answer\n"


def test_much_data(pair, in_thread):
    client, server = pair(rsnet)
    data = bytes(range(256)) * 20_000
    with client.makefile("wb") as out, server.makefile("rb") as into:
        writing = in_thread(out.write, data)
        assert into.read(len(data)) == data
        assert writing.result() == len(data)


# Who closes.


def test_close_waits_for_the_last_file(same, pair):
    def talk(socket):
        client, server = pair(socket)
        first, second = client.makefile("wb"), client.makefile("rb")
        client.close()
        found = [client.fileno() >= 0, repr(client).split()[1]]
        first.write(b"still there")
        first.close()
        found += [client.fileno() >= 0, server.recv(99)]
        second.close()
        return [*found, client.fileno(), server.recv(99)]

    assert same.value(talk) == [True, "[closed]", True, b"still there", -1, b""]


def test_a_socket_lives_without_its_files(same, pair):
    def talk(socket):
        client, server = pair(socket)
        with client.makefile("wb") as out:
            out.write(b"by file ")
        out.close()
        client.sendall(b"by socket")
        client.shutdown(socket.SHUT_WR)
        return server.makefile("rb").read()

    assert same.value(talk) == b"by file by socket"


def test_a_file_keeps_the_connection_when_the_socket_goes(pair):
    client, server = pair(rsnet)
    duplicate = client.dup()
    client.close()
    out = duplicate.makefile("wb")
    duplicate.close()
    del duplicate
    out.write(b"alone")
    out.close()
    assert server.recv(9) == b"alone"
    assert server.recv(9) == b""


def test_io_references_are_counted(pair):
    client, _ = pair(rsnet)
    files = [client.makefile("rb") for _ in range(3)]
    assert client._io_refs == 3
    for file in files:
        file.close()
        file.close()
    assert client._io_refs == 0
    client._decref_socketios()
    assert client.fileno() >= 0


def test_operations_on_closed_files(same, pair):
    def attempts(socket):
        client, _ = pair(socket)
        file = client.makefile("rwb", 0)
        file.close()
        errors = []
        for operation in (
            lambda: file.read(1),
            lambda: file.write(b"x"),
            lambda: file.readinto(bytearray(1)),
            lambda: file.fileno(),
            lambda: file.readable(),
            lambda: file.writable(),
            lambda: file.seekable(),
        ):
            try:
                errors.append(operation())
            except ValueError as error:
                errors.append(error)
        return errors, file.name, file.closed, file.mode

    same.value(attempts)


def test_a_file_for_one_direction(same, pair):
    def attempts(socket):
        client, _ = pair(socket)
        errors = []
        with client.makefile("rb", 0) as reader, client.makefile("wb", 0) as writer:
            for operation in (lambda: reader.write(b"x"), lambda: writer.read(1)):
                with pytest.raises(io.UnsupportedOperation) as caught:
                    operation()
                errors.append(caught.value)
        return errors

    same.value(attempts)


# Time and errors.


def test_a_timed_out_file_reads_no_more(same, pair):
    def talk(socket):
        client, server = pair(socket)
        server.settimeout(TIMEOUT_S)
        with server.makefile("rb") as file:
            errors = []
            for data in (b"", b"late\n"):
                client.sendall(data)
                with pytest.raises(OSError) as caught:
                    file.readline()
                errors.append(caught.value)
        return errors

    timed_out, refused = same.value(talk)
    assert type(timed_out) is TimeoutError
    assert refused.args == ("cannot read from timed out object",)


def test_a_file_over_a_socket_that_does_not_block(same, pair):
    def talk(socket):
        client, server = pair(socket)
        server.setblocking(False)
        with server.makefile("rb", 0) as file:
            found = [file.read(1), file.readinto(bytearray(3))]
            client.sendall(b"x")
            server.setblocking(True)
            return [*found, file.read(1)]

    assert same.value(talk) == [None, None, b"x"]


def test_writing_to_a_socket_that_takes_no_more(same, pair):
    def talk(socket):
        client, _ = pair(socket)
        client.setblocking(False)
        with client.makefile("wb", 0) as file:
            while (written := file.write(bytes(1 << 16))) is not None:
                assert written > 0
            return written

    assert same.value(talk) is None


def test_errors_pass_through_files(same, pair):
    def talk(socket):
        client, server = pair(socket, socket.AF_UNIX)
        server.close()
        with client.makefile("wb", 0) as file:
            file.write(b"x")

    assert same.error(talk, BrokenPipeError).errno == errno.EPIPE


def test_socketio_over_an_rsnet_socket_directly(pair):
    client, server = pair(rsnet)
    with standard.SocketIO(server, "r") as file:
        client.sendall(b"data")
        server._io_refs += 1
        assert file.read(9) == b"data"
