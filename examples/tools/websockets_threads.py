"""websockets' threading client against its own server."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from proof.operations import Operations
from proof.servers import HOST, free_port, running
from websockets.sync import client as threads
from websockets.sync.server import ServerConnection, serve

NAME = "websockets"
TIMEOUT = "open_timeout, recv(timeout=)"
PROGRAMS = ()

SHORT, LONG = b"x" * 64, b"y" * 65536


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@contextlib.contextmanager
def server(place: Path) -> Iterator[dict[str, Any]]:
    port = free_port()
    with running([sys.executable, __file__, str(port)], place, port, as_me=True):
        yield {"port": port}


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    def connect(port: int = at.port, limit_s: float | None = timeout_s) -> threads.ClientConnection:
        return threads.connect(
            f"ws://{HOST}:{port}", open_timeout=limit_s, compression=None, proxy=None
        )

    def there_and_back(connection: threads.ClientConnection, message: bytes | str) -> object:
        connection.send(message)
        return connection.recv(timeout=timeout_s)

    def once(**settings: Any) -> object:
        with connect(**settings) as another:
            return there_and_back(another, "hello")

    with connect() as connection:
        yield Operations(
            timed={
                "echo 64 B": lambda: there_and_back(connection, SHORT),
                "echo 64 KiB": lambda: there_and_back(connection, LONG),
                "connect, echo, close": once,
            },
            compared={
                "text": lambda: there_and_back(connection, "grüß dich"),
                "nothing to receive": lambda: connection.recv(timeout=0.05),
                "refused": lambda: once(port=at.refusing_port),
                "timed out": lambda: once(port=at.silent_port, limit_s=0.1),
            },
        )


if __name__ == "__main__":
    with serve(echo, HOST, int(sys.argv[1]), compression=None) as running_server:
        running_server.serve_forever()
