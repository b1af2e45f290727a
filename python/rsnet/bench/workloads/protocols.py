"""Programs of other people that take a socket module or a socket: asyncio, http.client, redis."""

from __future__ import annotations

import asyncio
import http.client
import importlib
import shutil
import socket as standard
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from time import perf_counter_ns
from types import ModuleType
from typing import Any

from .far_end import far_end
from .mapping import keep_mapping
from .round import Figures, Missing, Round, Setting, Workload, mean

PIECE = b"x" * 100


def asyncio_echo(loop_of: str | None) -> Workload:
    """A StreamWriter writes 100 bytes and a StreamReader reads them back, server in the same loop.

    loop_of: the package whose event loop is used instead of asyncio's own, with its own transports.
    """

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        keep_mapping()
        loop = asyncio.new_event_loop() if loop_of is None else imported(loop_of).new_event_loop()
        try:
            server, reader, writer = loop.run_until_complete(connected(setting.module))

            async def exchange(amount: int) -> None:
                for _ in repeat(None, amount):
                    writer.write(PIECE)
                    await reader.readexactly(len(PIECE))

            def run(amount: int) -> Figures:
                started_ns = perf_counter_ns()
                loop.run_until_complete(exchange(amount))
                return mean(perf_counter_ns() - started_ns, amount)

            yield run
            writer.close()
            server.close()
        finally:
            loop.close()

    return open_workload


def imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Missing(f"the package {name}") from None


async def connected(module: Any) -> tuple[Any, asyncio.StreamReader, asyncio.StreamWriter]:
    """A server that echoes, and a client's streams, both over sockets of the module."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1024):
            writer.write(piece)
        writer.close()

    listener = module.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = await asyncio.start_server(echo, sock=listener)
    client = module.create_connection(listener.getsockname())
    client.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=client)
    return server, reader, writer


@contextmanager
def http_get(setting: Setting) -> Iterator[Round]:
    """GET over a connection that is kept, with a timeout, by http.client."""
    with far_end("http", setting.near_core, setting.floor) as (host, port):
        connection = http.client.HTTPConnection(host, port, timeout=5)
        # What http.client calls in place of socket.create_connection.
        connection._create_connection = setting.module.create_connection  # type: ignore[attr-defined]

        def run(amount: int) -> Figures:
            started_ns = perf_counter_ns()
            for _ in repeat(None, amount):
                connection.request("GET", "/status")
                connection.getresponse().read()
            return mean(perf_counter_ns() - started_ns, amount)

        yield run
        connection.close()


@contextmanager
def redis_get(setting: Setting) -> Iterator[Round]:
    """GET by redis-py with a timeout, from a redis-server of our own."""
    redis = imported("redis")
    connection_module: ModuleType = imported("redis.connection")
    # redis-py makes its sockets by socket.socket of this name.
    connection_module.socket = setting.module  # type: ignore[attr-defined]
    with redis_server() as port:
        client = redis.Redis(port=port, socket_timeout=5)
        client.set("key", b"x" * 64)

        def run(amount: int) -> Figures:
            get = client.get
            started_ns = perf_counter_ns()
            for _ in repeat(None, amount):
                get("key")
            return mean(perf_counter_ns() - started_ns, amount)

        yield run
        client.close()


@contextmanager
def redis_server() -> Iterator[int]:
    """The port of a redis-server that keeps nothing, runs on our core and ends with the block."""
    program = shutil.which("redis-server")
    if program is None:
        raise Missing("redis-server")
    # It cannot choose a port by itself, and somebody may take the free one before it does.
    for _ in range(5):
        port = free_port()
        settings = f"--port {port} --bind 127.0.0.1 --appendonly no --save".split()
        with subprocess.Popen([program, *settings, ""], stdout=subprocess.PIPE) as process:
            try:
                if is_ready(process):
                    yield port
                    return
            finally:
                process.terminate()
    raise Missing("a redis-server that starts")


def free_port() -> int:
    with standard.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_ready(process: subprocess.Popen[bytes]) -> bool:
    """Whether the server says that it is, before it ends."""
    assert process.stdout is not None
    return any(b"Ready to accept connections" in line for line in process.stdout)
