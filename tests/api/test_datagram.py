"""rsnet.Datagram: one received datagram, read only, that nobody but recvmmsg makes."""

import copy
import gc
import hashlib
import pickle
import struct
import sys
import weakref

import pytest

import rsnet

FIELDS = ["address", "ancdata", "data", "destination", "ecn", "flags", "interface_index"]
FIELDS += ["nbytes", "timestamp_ns", "tos", "ttl"]


@pytest.fixture
def datagram(endpoint):
    sock = endpoint(rsnet)
    sock.sendto(b"payload", sock.getsockname())
    (datagram,) = sock.recvmmsg(1, 100)
    return datagram


def test_fields(datagram):
    assert datagram.data == b"payload"
    assert type(datagram.data) is bytes
    assert datagram.nbytes == 7
    assert datagram.address[0] == "127.0.0.1"
    assert datagram.flags == 0
    assert datagram.ancdata == []
    for name in ("timestamp_ns", "destination", "interface_index", "ttl", "tos", "ecn"):
        assert getattr(datagram, name) is None
    assert sorted(name for name in dir(datagram) if name[0] != "_") == FIELDS
    for name in FIELDS:
        assert getattr(type(datagram), name).__doc__


def test_a_list_of_control_messages_of_ones_own(datagram):
    datagram.ancdata.append("mine")
    assert datagram.ancdata == []


def test_unpacks_as_recvfrom_gives_it(datagram):
    data, address = datagram
    assert (data, address) == (b"payload", datagram.address)
    assert tuple(datagram) == (data, address)
    # Each time anew.
    assert list(datagram) == [data, address]
    for wrong in (lambda: len(datagram), lambda: datagram[0], lambda: reversed(datagram)):
        with pytest.raises(TypeError):
            wrong()


def test_text(datagram):
    assert repr(datagram) == f"<rsnet.Datagram of 7 bytes from {datagram.address!r}>"
    assert str(datagram) == repr(datagram)


def test_the_class():
    assert (rsnet.Datagram.__module__, rsnet.Datagram.__qualname__) == ("rsnet", "Datagram")
    assert "recvmmsg" in rsnet.Datagram.__doc__
    assert rsnet.Datagram.__mro__ == (rsnet.Datagram, object)


# The buffer.


def test_buffer(datagram):
    view = memoryview(datagram)
    assert (view.format, view.itemsize, view.ndim, view.shape) == ("B", 1, 1, (7,))
    assert (view.readonly, view.c_contiguous, view.obj) == (True, True, datagram)
    assert view == b"payload"
    with pytest.raises(TypeError):
        view[0] = 1
    assert bytes(view[2:5]) == b"ylo"


def test_whatever_takes_a_buffer_takes_a_datagram(datagram, tmp_path):
    assert bytearray(datagram) == b"payload"
    assert b"".join([datagram, datagram]) == b"payloadpayload"
    assert hashlib.sha256(datagram).digest() == hashlib.sha256(b"payload").digest()
    assert struct.unpack_from("3s", datagram, 3) == (b"loa",)
    assert int.from_bytes(memoryview(datagram)) == int.from_bytes(b"payload")
    (tmp_path / "kept").write_bytes(datagram)
    assert (tmp_path / "kept").read_bytes() == b"payload"
    with pytest.raises(TypeError):
        struct.pack_into("3s", datagram, 0, b"abc")


def test_nobody_writes_to_it(datagram):
    near, far = rsnet.socketpair()
    with near, far:
        near.send(b"overwrite")
        with pytest.raises((BufferError, TypeError)):
            far.recv_into(datagram)
        with pytest.raises((BufferError, TypeError)):
            far.recvmsg_into([datagram])
        with pytest.raises((BufferError, TypeError)):
            far.recv_into(memoryview(datagram))
    assert datagram.data == b"payload"


def test_empty(endpoint):
    sock = endpoint(rsnet)
    sock.sendto(b"", sock.getsockname())
    (datagram,) = sock.recvmmsg(1, 100)
    assert (datagram.data, datagram.nbytes, bytes(memoryview(datagram))) == (b"", 0, b"")
    assert memoryview(datagram).shape == (0,)
    assert bool(datagram)


def test_alignment_and_every_size(endpoint):
    sock = endpoint(rsnet)
    payloads = [bytes(range(size % 256)) * (size // 256 + 1) for size in range(0, 2_000, 37)]
    sock.sendmmsg([(payload, sock.getsockname()) for payload in payloads])
    for payload, datagram in zip(payloads, sock.recvmmsg(99, 9_000), strict=True):
        assert memoryview(datagram) == payload == datagram.data
        assert datagram.nbytes == len(payload)
        assert sys.getsizeof(datagram) - len(payload) < 120


def test_lives_longer_than_the_list_the_socket_and_itself(endpoint):
    sock = endpoint(rsnet)
    sock.gro = sock.metadata = True
    sock.sendmmsg([(bytes([number]) * 500, sock.getsockname()) for number in range(40)])
    datagrams = sock.recvmmsg(64, 1_000)
    views = [memoryview(datagram) for datagram in datagrams]
    times = [datagram.timestamp_ns for datagram in datagrams]
    last = datagrams[-1]
    sock.close()
    del datagrams, sock
    gc.collect()
    churn = [bytes(600) for _ in range(2_000)]
    assert [bytes(view) for view in views] == [bytes([number]) * 500 for number in range(40)]
    # What they share of the metadata is the last one's alone now.
    del views, churn
    assert (last.data, last.timestamp_ns) == (b"\x27" * 500, times[-1])


# Nobody makes or changes one.


@pytest.mark.parametrize(
    "make",
    [
        lambda datagram: type(datagram)(),
        lambda datagram: type(datagram)(b"data"),
        lambda datagram: object.__new__(type(datagram)),
        lambda datagram: type(datagram).__new__(type(datagram)),
        lambda datagram: type("Derived", (type(datagram),), {}),
        lambda datagram: copy.copy(datagram),
        lambda datagram: copy.deepcopy(datagram),
        lambda datagram: pickle.dumps(datagram),
        lambda datagram: pickle.loads(pickle.dumps(datagram, 0)),
        lambda datagram: weakref.ref(datagram),
        lambda datagram: setattr(datagram, "__class__", bytes),
        lambda datagram: setattr(type(datagram), "data", 1),
        lambda datagram: setattr(type(datagram), "more", 1),
        lambda datagram: delattr(type(datagram), "data"),
        lambda datagram: type(datagram).data.__get__(b"another"),
        lambda datagram: type(datagram).__iter__(b"another"),
        lambda datagram: type(datagram).__repr__(object()),
    ],
)
def test_not_to_be_made_or_taken_for_another(datagram, make):
    with pytest.raises(TypeError):
        make(datagram)
    assert datagram.data == b"payload"


@pytest.mark.parametrize("name", [*FIELDS, "more", "__dict__"])
def test_not_to_be_changed(datagram, name):
    with pytest.raises((AttributeError, TypeError)):
        setattr(datagram, name, 1)
    with pytest.raises((AttributeError, TypeError)):
        delattr(datagram, name)
    assert datagram.data == b"payload"


def test_not_to_be_changed_behind_its_back(datagram):
    with pytest.raises(AttributeError):
        object.__setattr__(datagram, "data", b"")
    with pytest.raises(AttributeError):
        type(datagram).data.__set__(datagram, b"")


def test_equality_is_identity(endpoint):
    sock = endpoint(rsnet)
    sock.sendmmsg([(b"same", sock.getsockname())] * 2)
    one, other = sock.recvmmsg(2, 9)
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2
    assert one != b"same"
