"""selectors, select, poll and epoll take an rsnet socket: it has a fileno."""

import select
import selectors

import pytest

import rsnet

SELECTORS = [
    selectors.SelectSelector,
    selectors.PollSelector,
    selectors.EpollSelector,
    selectors.DefaultSelector,
]
LIMIT_S = 20


@pytest.mark.parametrize("kind", SELECTORS, ids=lambda kind: kind.__name__)
def test_selectors(pair, kind):
    client, server = pair(rsnet)
    with kind() as selector:
        key = selector.register(server, selectors.EVENT_READ, data="mine")
        selector.register(client, selectors.EVENT_WRITE)
        assert key.fileobj is server and key.fd == server.fileno()
        assert [(key.fileobj, events) for key, events in selector.select(LIMIT_S)] == [
            (client, selectors.EVENT_WRITE)
        ]
        client.send(b"x")
        selector.modify(client, selectors.EVENT_READ)
        assert [key.data for key, _ in selector.select(LIMIT_S)] == ["mine"]
        assert selector.get_key(server).fileobj is server
        assert selector.unregister(server).fileobj is server
        assert selector.select(0) == []


@pytest.mark.parametrize("kind", SELECTORS, ids=lambda kind: kind.__name__)
def test_selectors_and_closed_sockets(pair, kind):
    client, server = pair(rsnet)
    with kind() as selector:
        selector.register(server, selectors.EVENT_READ)
        server.close()
        assert selector.unregister(server).fileobj is server
        client.close()
        with pytest.raises(ValueError, match="Invalid file"):
            selector.register(client, selectors.EVENT_READ)


@pytest.mark.parametrize("kind", SELECTORS, ids=lambda kind: kind.__name__)
def test_a_listener(listener, opened, kind):
    server = listener(rsnet)
    with kind() as selector:
        selector.register(server, selectors.EVENT_READ)
        assert selector.select(0) == []
        opened(rsnet.create_connection(server.getsockname()))
        assert [key.fileobj for key, _ in selector.select(LIMIT_S)] == [server]
        opened(server.accept()[0])


def test_select(pair):
    client, server = pair(rsnet)
    assert select.select([server], [client], [server], LIMIT_S) == ([], [client], [])
    client.send(b"x")
    assert select.select([client, server], [], [], LIMIT_S) == ([server], [], [])
    client.close()
    with pytest.raises(ValueError):
        select.select([client], [], [], 0)


def test_poll(pair):
    client, server = pair(rsnet)
    poller = select.poll()
    poller.register(server, select.POLLIN)
    assert poller.poll(0) == []
    client.send(b"x")
    assert poller.poll(LIMIT_S * 1000) == [(server.fileno(), select.POLLIN)]
    poller.modify(server, select.POLLOUT)
    assert poller.poll(0) == [(server.fileno(), select.POLLOUT)]
    poller.unregister(server)
    assert poller.poll(0) == []


@pytest.mark.parametrize("flags", [0, select.EPOLLET])
def test_epoll(pair, flags):
    client, server = pair(rsnet)
    server.setblocking(False)
    with select.epoll() as poller:
        poller.register(server, select.EPOLLIN | flags)
        client.send(b"xy")
        assert poller.poll(LIMIT_S) == [(server.fileno(), select.EPOLLIN)]
        assert server.recv(1) == b"x"
        # Level-triggered, what is left is told of again; edge-triggered it is not.
        assert len(poller.poll(0)) == (0 if flags else 1)
        poller.unregister(server)


def test_an_event_loop_by_hand(listener, in_thread):
    """A whole server on one selector, as in the documentation of `selectors`."""
    server = listener(rsnet)
    server.setblocking(False)

    def client(number):
        with rsnet.create_connection(server.getsockname(), timeout=LIMIT_S) as sock:
            sock.sendall(b"%d" % number * 1000)
            sock.shutdown(rsnet.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(4096), b""))

    clients = [in_thread(client, number) for number in range(8)]
    ended = 0
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        while ended < len(clients):
            for key, _ in selector.select(LIMIT_S):
                if key.fileobj is server:
                    accepted, _ = server.accept()
                    selector.register(accepted, selectors.EVENT_READ, data=accepted)
                elif data := key.data.recv(4096):
                    key.data.sendall(data)
                else:
                    selector.unregister(key.data)
                    key.data.close()
                    ended += 1
    assert [call.result() for call in clients] == [b"%d" % n * 1000 for n in range(8)]
