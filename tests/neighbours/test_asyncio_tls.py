"""asyncio's TLS over connections that rsnet sockets carry, and UNIX sockets handed to it."""

import asyncio

import pytest

import rsnet

DATA = bytes(range(256)) * 8_000
LIMIT_S = 20


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, LIMIT_S), debug=True)


async def end(writer):
    writer.close()
    await writer.wait_closed()


async def answer(reader, writer):
    """Sends back what comes, in capitals, a line at a time."""
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    await end(writer)


async def ask(reader, writer):
    writer.write(b"question\n")
    line = await reader.readline()
    await end(writer)
    return line


def test_a_client_and_a_server(listener, opened, server_context, client_context):
    server_socket = listener(rsnet)
    client = opened(rsnet.create_connection(server_socket.getsockname()))
    client.setblocking(False)

    async def talk():
        server = await asyncio.start_server(answer, sock=server_socket, ssl=server_context)
        async with server:
            reader, writer = await asyncio.open_connection(
                sock=client, ssl=client_context, server_hostname="localhost"
            )
            assert writer.get_extra_info("peercert")["subjectAltName"]
            return await ask(reader, writer)

    assert run(talk()) == b"QUESTION\n"


def test_tls_begun_on_an_open_connection(listener, opened, server_context, client_context):
    server_socket = listener(rsnet)
    client = opened(rsnet.create_connection(server_socket.getsockname()))

    async def upgrade(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.drain()
        await writer.start_tls(server_context)
        await answer(reader, writer)

    async def talk():
        async with await asyncio.start_server(upgrade, sock=server_socket):
            reader, writer = await asyncio.open_connection(sock=client)
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go\n"
            await writer.start_tls(client_context, server_hostname="localhost")
            return await ask(reader, writer)

    assert run(talk()) == b"QUESTION\n"


def test_an_accepted_socket(pair, server_context, client_context):
    client, accepted = pair(rsnet)

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data.upper())

    async def talk():
        loop = asyncio.get_running_loop()
        accepting = asyncio.ensure_future(
            loop.connect_accepted_socket(Echo, accepted, ssl=server_context)
        )
        reader, writer = await asyncio.open_connection(
            sock=client, ssl=client_context, server_hostname="localhost"
        )
        await accepting
        return await ask(reader, writer)

    assert run(talk()) == b"QUESTION\n"


@pytest.mark.parametrize("abstract", [False, True])
def test_a_unix_server_and_its_client(opened, tmp_path, abstract):
    def path():
        return "" if abstract else str(tmp_path / "server")

    server_socket = opened(rsnet.socket(rsnet.AF_UNIX))
    # Bound to nothing, an AF_UNIX socket gets an abstract name of the kernel's choice.
    server_socket.bind(path())
    client = opened(rsnet.socket(rsnet.AF_UNIX))

    async def talk():
        server = await asyncio.start_unix_server(answer, sock=server_socket)
        async with server:
            client.connect(server_socket.getsockname())
            return await ask(*await asyncio.open_unix_connection(sock=client))

    assert run(talk()) == b"QUESTION\n"
