"""asyncio on rsnet sockets: the low-level calls, streams, servers and datagrams."""

import asyncio
import socket as standard
from socket import AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM

import pytest

import rsnet

DATA = bytes(range(256)) * 20_000
LIMIT_S = 20


def run(coroutine):
    # Debug mode checks, among much else, that the sockets do not block.
    return asyncio.run(asyncio.wait_for(coroutine, LIMIT_S), debug=True)


def nonblocking(sock):
    sock.setblocking(False)
    return sock


@pytest.fixture
def ends(pair):
    return [nonblocking(sock) for sock in pair(rsnet)]


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_connect_and_accept(listener, opened, family):
    server = nonblocking(listener(rsnet, family))

    async def talk():
        loop = asyncio.get_running_loop()
        client = opened(nonblocking(rsnet.socket(family)))
        accepting = asyncio.ensure_future(loop.sock_accept(server))
        await loop.sock_connect(client, server.getsockname())
        accepted, address = await accepting
        with accepted:
            assert type(accepted) is rsnet.socket
            assert address == client.getsockname()
            assert accepted.gettimeout() == 0
            await loop.sock_sendall(client, b"question")
            assert await loop.sock_recv(accepted, 99) == b"question"

    run(talk())


def test_a_refused_connect(refused_port, opened):
    async def connect():
        sock = opened(nonblocking(rsnet.socket()))
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", refused_port))

    with pytest.raises(ConnectionRefusedError):
        run(connect())


def test_much_data(ends):
    client, server = ends

    async def receive(loop):
        received = bytearray()
        buffer = bytearray(1 << 16)
        while len(received) < len(DATA):
            count = await loop.sock_recv_into(server, buffer)
            received += buffer[:count]
        return received

    async def talk():
        loop = asyncio.get_running_loop()
        received, _ = await asyncio.gather(receive(loop), loop.sock_sendall(client, DATA))
        return received

    assert run(talk()) == DATA


def test_datagrams(pair):
    async def talk():
        loop = asyncio.get_running_loop()
        client, server = [nonblocking(sock) for sock in pair(rsnet, AF_INET, SOCK_DGRAM)]
        receiving = asyncio.ensure_future(loop.sock_recvfrom(server, 99))
        await asyncio.sleep(0)
        await loop.sock_sendto(client, b"there", server.getsockname())
        data, address = await receiving
        await loop.sock_sendto(server, b"back", address)
        buffer = bytearray(9)
        count, _ = await loop.sock_recvfrom_into(client, buffer)
        return data, bytes(buffer[:count])

    assert run(talk()) == (b"there", b"back")


def test_cancelling_a_receive(ends):
    client, server = ends

    async def talk():
        loop = asyncio.get_running_loop()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loop.sock_recv(server, 9), 0.01)
        await loop.sock_sendall(client, b"data")
        return await loop.sock_recv(server, 9)

    assert run(talk()) == b"data"


def test_sendfile(ends, tmp_path):
    client, server = ends
    (tmp_path / "data").write_bytes(DATA)

    async def receive(loop):
        received = b""
        while piece := await loop.sock_recv(server, 1 << 20):
            received += piece
        return received

    async def send(loop):
        with open(tmp_path / "data", "rb") as file:
            count = await loop.sock_sendfile(client, file)
        client.close()
        return count

    async def talk():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(receive(loop), send(loop))

    assert run(talk()) == [DATA, len(DATA)]


@pytest.mark.parametrize("family", [AF_INET, AF_UNIX])
def test_streams_over_a_socket(pair, family):
    async def talk():
        client, server = pair(rsnet, family)
        reader, writer = await asyncio.open_connection(sock=client)
        other_reader, other_writer = await asyncio.open_connection(sock=server)
        assert writer.get_extra_info("socket").fileno() == client.fileno()
        assert writer.get_extra_info("sockname") == client.getsockname()
        writer.write(DATA)
        writer.write_eof()
        received = await other_reader.read()
        other_writer.write(b"line\n")
        line = await reader.readline()
        for each in (writer, other_writer):
            each.close()
            await each.wait_closed()
        return received, line

    assert run(talk()) == (DATA, b"line\n")


def test_a_server_over_a_socket(listener):
    sock = listener(rsnet)
    address = sock.getsockname()

    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()
        await writer.wait_closed()

    async def talk():
        server = await asyncio.start_server(answer, sock=sock)
        async with server:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"question\n")
            answer_line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return answer_line

    assert run(talk()) == b"QUESTION\n"


def test_a_datagram_endpoint_over_a_socket(opened):
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data.upper(), address)

    class Client(asyncio.DatagramProtocol):
        def __init__(self):
            self.answer = asyncio.get_running_loop().create_future()

        def datagram_received(self, data, address):
            self.answer.set_result((data, address))

    def bound():
        sock = rsnet.socket(type=SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        return sock

    async def talk():
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(Echo, sock=(there := bound()))
        client, protocol = await loop.create_datagram_endpoint(Client, sock=bound())
        address = there.getsockname()
        client.sendto(b"question", address)
        answer = await protocol.answer
        client.close()
        server.close()
        await asyncio.sleep(0)
        return answer == (b"QUESTION", address)

    assert run(talk())


def test_readers_and_writers(ends):
    client, server = ends

    async def talk():
        loop = asyncio.get_running_loop()
        readable, writable = loop.create_future(), loop.create_future()
        loop.add_reader(server, lambda: readable.done() or readable.set_result(True))
        loop.add_writer(client, lambda: writable.done() or writable.set_result(True))
        await writable
        loop.remove_writer(client)
        client.send(b"x")
        await readable
        return loop.remove_reader(server)

    assert run(talk())


def test_a_blocking_socket_is_refused(pair):
    async def receive():
        client, _ = pair(rsnet)
        await asyncio.get_running_loop().sock_recv(client, 1)

    with pytest.raises(ValueError, match="non-blocking"):
        run(receive())


def test_a_selector_loop_built_on_rsnet_sockets(monkeypatch):
    # The loop's own pair of sockets, and every connection that it makes.
    monkeypatch.setattr(standard, "socket", rsnet.socket)
    monkeypatch.setattr(standard, "socketpair", rsnet.socketpair)

    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()
        await writer.wait_closed()

    async def talk():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            kind = type(writer.get_extra_info("socket")._sock)
            writer.write(b"question\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return line, kind

    assert run(talk()) == (b"QUESTION\n", rsnet.socket)
