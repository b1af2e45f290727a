"""What of an rsnet socket goes through multiprocessing's pickler, and what is refused."""

import multiprocessing
import multiprocessing.reduction
import multiprocessing.resource_sharer
import pickle
import socket as standard

import pytest

import rsnet


class Derived(rsnet.socket):
    """A subclass as programs have it."""


class StandardDerived(standard.socket):
    """The same of the standard class."""


def answer_from(inbox):
    """In the other process: answers on each socket that comes, in capitals, until None comes."""
    while (sock := inbox.get()) is not None:
        with sock:
            assert type(sock) is rsnet.socket
            sock.sendall(sock.recv(99).upper())


@pytest.fixture
def sharing():
    """Ends the thread that multiprocessing starts to hand descriptors out."""
    yield
    multiprocessing.resource_sharer.stop(timeout=20)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_sockets_through_a_queue(pair, sharing, method):
    context = multiprocessing.get_context(method)
    # A SimpleQueue writes in the calling thread: nothing runs beside it when the child is forked.
    outbox = context.SimpleQueue()
    process = context.Process(target=answer_from, args=(outbox,))
    process.start()
    for family in (rsnet.AF_INET, rsnet.AF_INET6, rsnet.AF_UNIX):
        here, there = pair(rsnet, family)
        outbox.put(there)
        there.close()
        here.sendall(b"question")
        assert here.recv(99) == b"QUESTION"
        assert here.recv(99) == b""
    outbox.put(None)
    process.join()
    assert process.exitcode == 0
    process.close()
    outbox.close()


def test_the_sender_keeps_its_own(pair, sharing):
    here, there = pair(rsnet)
    data = multiprocessing.reduction.ForkingPickler.dumps(there)
    pickle.loads(data).close()
    here.send(b"data")
    assert there.recv(9) == b"data"


def test_a_listener_goes_over(listener, opened, sharing):
    server = listener(rsnet)
    data = multiprocessing.reduction.ForkingPickler.dumps(server)
    server.close()
    with pickle.loads(data) as arrived:
        client = opened(rsnet.create_connection(arrived.getsockname()))
        accepted, address = arrived.accept()
        with accepted:
            assert address == client.getsockname()


@pytest.mark.parametrize("timeout_s", [None, 0, 5])
def test_the_timeout_stays_behind_as_with_the_standard_class(pair, sharing, timeout_s):
    def arrived_with(module):
        _, there = pair(module)
        there.settimeout(timeout_s)
        with pickle.loads(multiprocessing.reduction.ForkingPickler.dumps(there)) as arrived:
            return arrived.gettimeout(), arrived.getblocking()

    assert arrived_with(rsnet) == arrived_with(standard)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("pickler", [pickle.dumps, multiprocessing.reduction.ForkingPickler.dumps])
def test_subclasses_are_refused(opened, pickler, protocol):
    for_each = []
    for kind in (StandardDerived, Derived):
        with pytest.raises(TypeError) as raised:
            pickler(opened(kind()), protocol)
        for_each.append(str(raised.value).replace("StandardDerived", "Derived"))
    assert for_each[0] == for_each[1]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickle_refuses_with_the_same_words(opened, protocol):
    said = []
    for module in (standard, rsnet):
        with pytest.raises(TypeError) as raised:
            pickle.dumps(opened(module.socket()), protocol)
        said.append(str(raised.value))
    assert said[0] == said[1]


ROUND_TRIP = """
    import importlib, pickle, sys

    for name in sys.argv[1].split(","):
        importlib.import_module(name)
    import rsnet
    from multiprocessing import reduction, resource_sharer

    here, there = rsnet.socketpair()
    with here, there:
        with pickle.loads(reduction.ForkingPickler.dumps(there)) as arrived:
            here.send(b"data")
            print(type(arrived) is rsnet.socket, arrived.recv(9))
        resource_sharer.stop(timeout=20)
    print([finder for finder in sys.meta_path if type(finder).__module__.startswith("rsnet")])
    print(type(reduction.__loader__).__module__.startswith("rsnet"))
"""


@pytest.mark.parametrize(
    "order", ["rsnet,multiprocessing.reduction", "multiprocessing.reduction,rsnet"]
)
def test_whichever_was_imported_first(run_python, order):
    # Afterwards nothing of rsnet is left in the import system.
    assert run_python(ROUND_TRIP, order) == "True b'data'\n[]\nFalse\n"


def test_import_rsnet_does_not_import_multiprocessing(run_python):
    source = """
        import sys, rsnet
        print([name for name in sys.modules if name.startswith("multiprocessing")])
    """
    assert run_python(source) == "[]\n"
