"""A connect that is begun, waited for with a poller, and then asked for its outcome."""

import errno
import select
import selectors

import pytest

import rsnet

LIMIT_S = 20


def by_select(sock):
    _, writable, _ = select.select([], [sock], [], LIMIT_S)
    return writable == [sock]


def by_poll(sock):
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    return [number for number, _ in poller.poll(LIMIT_S * 1000)] == [sock.fileno()]


def by_epoll(sock):
    with select.epoll() as poller:
        poller.register(sock, select.EPOLLOUT)
        return [number for number, _ in poller.poll(LIMIT_S)] == [sock.fileno()]


def by_selector(sock):
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        return [key.fileobj for key, _ in selector.select(LIMIT_S)] == [sock]


@pytest.fixture(params=[by_select, by_poll, by_epoll, by_selector])
def writable(request):
    return request.param


@pytest.fixture
def nonblocking(opened):
    sock = opened(rsnet.socket())
    sock.setblocking(False)
    return sock


def test_that_succeeds(nonblocking, listener, opened, writable):
    server = listener(rsnet)
    assert nonblocking.connect_ex(server.getsockname()) == errno.EINPROGRESS
    assert writable(nonblocking)
    assert nonblocking.getsockopt(rsnet.SOL_SOCKET, rsnet.SO_ERROR) == 0
    assert nonblocking.getpeername() == server.getsockname()
    accepted = opened(server.accept()[0])
    nonblocking.send(b"data")
    assert accepted.recv(9) == b"data"


def test_that_is_refused(nonblocking, refused_port, writable):
    with pytest.raises(BlockingIOError) as raised:
        nonblocking.connect(("127.0.0.1", refused_port))
    assert raised.value.errno == errno.EINPROGRESS
    assert writable(nonblocking)
    assert nonblocking.getsockopt(rsnet.SOL_SOCKET, rsnet.SO_ERROR) == errno.ECONNREFUSED


def test_that_is_under_way(nonblocking, unanswered):
    assert nonblocking.connect_ex(unanswered) == errno.EINPROGRESS
    assert nonblocking.connect_ex(unanswered) == errno.EALREADY
    assert select.select([], [nonblocking], [], 0) == ([], [], [])
