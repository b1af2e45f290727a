"""Sockets that go to other processes: by fork, by descriptor, by multiprocessing."""

import multiprocessing
import multiprocessing.connection
import multiprocessing.reduction
import multiprocessing.resource_sharer
import os
import pickle
import subprocess
import sys

import pytest

import rsnet

METHODS = ["fork", "spawn", "forkserver"]
# Forking a process with threads is deprecated; these tests fork before any other thread runs.
pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


def answer(sock):
    """In the other process: answers what comes, in capitals."""
    with sock:
        assert type(sock) is rsnet.socket
        sock.sendall(sock.recv(99).upper())


def answer_received(connection):
    answer(connection.recv())


@pytest.fixture
def sharing():
    """Ends the thread that multiprocessing starts to hand descriptors out."""
    yield
    multiprocessing.resource_sharer.stop(timeout=20)


@pytest.mark.parametrize("method", METHODS)
def test_a_socket_as_an_argument(pair, method):
    here, there = pair(rsnet)
    process = multiprocessing.get_context(method).Process(target=answer, args=(there,))
    process.start()
    there.close()
    here.sendall(b"question")
    assert here.recv(99) == b"QUESTION"
    assert here.recv(99) == b""
    process.join()
    assert process.exitcode == 0
    process.close()


@pytest.mark.parametrize("method", METHODS)
def test_a_socket_through_a_connection(pair, sharing, method):
    context = multiprocessing.get_context(method)
    near, far = context.Pipe()
    here, there = pair(rsnet)
    process = context.Process(target=answer_received, args=(far,))
    process.start()
    far.close()
    near.send(there)
    there.close()
    here.sendall(b"question")
    assert here.recv(99) == b"QUESTION"
    process.join()
    assert process.exitcode == 0
    process.close()
    near.close()


@pytest.mark.parametrize(
    ("family", "type"),
    [
        (rsnet.AF_INET, rsnet.SOCK_STREAM),
        (rsnet.AF_INET6, rsnet.SOCK_DGRAM),
        (rsnet.AF_UNIX, rsnet.SOCK_SEQPACKET),
    ],
)
def test_what_a_sent_socket_is_when_it_arrives(pair, sharing, family, type):
    here, there = pair(rsnet, family, type)
    data = multiprocessing.reduction.ForkingPickler.dumps(there)
    with pickle.loads(data) as arrived:
        assert arrived.__class__ is there.__class__
        assert (arrived.family, arrived.type, arrived.proto) == (family, type, there.proto)
        assert arrived.fileno() != there.fileno()
        here.send(b"data")
        assert arrived.recv(9) == b"data"


def test_plain_pickling_stays_refused_with_multiprocessing_loaded(pair):
    with pytest.raises(TypeError):
        pickle.dumps(pair(rsnet)[0])


@pytest.mark.parametrize("first", ["rsnet", "multiprocessing.reduction"])
def test_multiprocessing_knows_the_class_whichever_comes_first(run_python, first):
    source = """
        import importlib, sys
        importlib.import_module(sys.argv[1])
        import multiprocessing.reduction, rsnet
        print(rsnet.socket in multiprocessing.reduction.ForkingPickler._extra_reducers)
    """
    assert run_python(source, first) == "True\n"


def test_connections_and_listeners_over_rsnet(monkeypatch, in_thread):
    monkeypatch.setattr(multiprocessing.connection, "socket", rsnet)
    with multiprocessing.connection.Listener(("127.0.0.1", 0), authkey=b"key") as listener:
        assert type(listener._listener._socket) is rsnet.socket
        accepting = in_thread(listener.accept)
        with multiprocessing.connection.Client(listener.address, authkey=b"key") as client:
            with accepting.result() as server:
                client.send({"any": ["object", 1]})
                assert server.recv() == {"any": ["object", 1]}
                server.send_bytes(bytes(200_000))
                assert client.recv_bytes() == bytes(200_000)


def test_multiprocessing_waits_for_sockets(pair):
    here, there = pair(rsnet)
    assert multiprocessing.connection.wait([there], 0) == []
    here.send(b"x")
    assert multiprocessing.connection.wait([there], 20) == [there]


def test_descriptors_by_the_functions_of_reduction(pair):
    pass_over, take = pair(rsnet, rsnet.AF_UNIX)
    here, there = pair(rsnet)
    multiprocessing.reduction.sendfds(pass_over, [there.fileno()])
    [descriptor] = multiprocessing.reduction.recvfds(take, 1)
    with rsnet.socket(fileno=descriptor) as copy:
        here.send(b"data")
        assert copy.recv(9) == b"data"


CHILD = """
import sys
import rsnet as socket

with socket.socket(fileno=int(sys.argv[1])) as sock:
    print(sock.family, sock.type, sock.proto, sock.gettimeout(), flush=True)
    sock.sendall(sock.recv(99).upper())
"""


@pytest.mark.parametrize("inherit", ["pass_fds", "set_inheritable"])
def test_subprocess(pair, inherit):
    here, there = pair(rsnet)
    keywords = {"pass_fds": [there.fileno()]}
    if inherit == "set_inheritable":
        there.set_inheritable(True)
        keywords = {"close_fds": False}
    command = [sys.executable, "-W", "error", "-c", CHILD, str(there.fileno())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **keywords) as process:
        there.close()
        here.sendall(b"question")
        assert here.recv(99) == b"QUESTION"
        assert here.recv(99) == b""
        assert process.stdout.readline() == "2 1 6 None\n"
    assert process.returncode == 0


def test_descriptors_are_not_inherited_unasked(pair):
    _, there = pair(rsnet)
    source = "import os, sys; os.fstat(int(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", source, str(there.fileno())], close_fds=False, capture_output=True
    )
    assert done.returncode == 1
    assert b"Bad file descriptor" in done.stderr


def test_a_socket_as_the_output_of_a_program(pair):
    here, there = pair(rsnet)
    done = subprocess.run([sys.executable, "-c", "print('to a socket')"], stdout=there)
    there.close()
    assert done.returncode == 0
    assert here.recv(99) == b"to a socket\n"
    assert here.recv(99) == b""


def test_os_functions_on_the_descriptor(pair):
    here, there = pair(rsnet)
    assert os.write(here.fileno(), b"data") == 4
    assert os.read(there.fileno(), 9) == b"data"
    with os.fdopen(os.dup(here.fileno()), "wb") as file:
        file.write(b"more")
    assert there.recv(9) == b"more"
