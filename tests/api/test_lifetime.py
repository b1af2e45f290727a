"""Sockets that nobody closes are closed and complained of; those that are closed are not."""

import gc
import os
import sys
import warnings

import pytest

import rsnet


@pytest.fixture
def complaints():
    """The ResourceWarnings of a test, as warnings.WarningMessage."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield caught


def is_open(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_an_unclosed_socket_is_complained_of_and_closed(complaints):
    sock = rsnet.socket()
    descriptor, text = sock.fileno(), repr(sock)
    del sock
    gc.collect()
    (complaint,) = complaints
    assert complaint.category is ResourceWarning
    assert str(complaint.message) == f"unclosed {text}"
    assert not is_open(descriptor)


def test_the_complaint_carries_its_source(complaints):
    rsnet.socket()
    gc.collect()
    (complaint,) = complaints
    assert type(complaint.source) is rsnet.socket
    assert complaint.source.fileno() == -1


def test_the_source_tells_where_the_socket_was_made(run_python):
    source = """
        import sys, warnings
        import rsnet

        warnings.simplefilter("always")
        def make_one_and_forget_it():
            rsnet.socket()
        sys.stderr = sys.stdout
        make_one_and_forget_it()
    """
    text = run_python(source, env={"PYTHONTRACEMALLOC": "10"})
    assert "ResourceWarning: unclosed <rsnet.socket" in text
    assert "Object allocated at (most recent call last)" in text
    assert "in make_one_and_forget_it" in text or "lineno 7" in text


@pytest.mark.parametrize("how", ["close", "detach", "with", "file"])
def test_no_complaint_of_closed_sockets(complaints, how):
    sock = rsnet.socket()
    if how == "detach":
        os.close(sock.detach())
    elif how == "with":
        with sock:
            pass
    elif how == "file":
        file = sock.makefile("rb")
        sock.close()
        file.close()
    else:
        sock.close()
    del sock
    gc.collect()
    assert complaints == []


def test_no_complaint_of_a_socket_that_never_was(complaints):
    for bad in ({"family": 9999}, {"type": 9999}, {"fileno": -1}, {"proto": "x"}):
        with pytest.raises((OSError, ValueError, TypeError)):
            rsnet.socket(**bad)
    rsnet.socket.__new__(rsnet.socket)
    gc.collect()
    assert complaints == []


def test_a_socket_in_a_cycle_is_closed(complaints):
    class Mine(rsnet.socket):
        pass

    sock = Mine()
    sock.itself = sock
    descriptor = sock.fileno()
    del sock
    assert is_open(descriptor)
    gc.collect()
    assert not is_open(descriptor)
    assert len(complaints) == 1


def test_a_file_keeps_its_socket_alive(complaints):
    left, right = rsnet.socketpair()
    file = left.makefile("rb")
    descriptor = left.fileno()
    del left
    gc.collect()
    assert is_open(descriptor)
    right.sendall(b"still there\n")
    assert file.readline() == b"still there\n"
    assert complaints == []
    file._sock = None
    file.close()
    right.close()
    gc.collect()
    assert not is_open(descriptor)


def test_a_complaint_that_is_an_error_does_not_keep_the_descriptor(monkeypatch):
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: raised.append(it.exc_type))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sock = rsnet.socket()
        descriptor = sock.fileno()
        del sock
        gc.collect()
    assert raised == [ResourceWarning]
    assert not is_open(descriptor)


def test_the_exception_in_progress_is_left_alone(complaints):
    def fail():
        rsnet.socket()
        raise RuntimeError("the one")

    with pytest.raises(RuntimeError, match="the one") as caught:
        fail()
    assert caught.value.__context__ is None
    gc.collect()
    assert len(complaints) == 1


def test_a_socket_alive_at_exit(run_python):
    source = """
        import warnings
        import rsnet
        warnings.simplefilter("ignore")
        kept = rsnet.socket()
        class Mine(rsnet.socket):
            pass
        other = Mine()
        other.itself = other
        print("end")
    """
    assert run_python(source) == "end\n"
