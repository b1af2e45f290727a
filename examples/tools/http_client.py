"""http.client against http.server: the one pair that needs nothing but Python."""

import contextlib
import http.client
import http.server
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from proof.operations import Operations
from proof.servers import HOST, free_port, running

NAME = "http.client"
TIMEOUT = "timeout"
PROGRAMS = ()

PAGES = {"/short": b"x" * 1024, "/long": b"y" * 1024 * 1024}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two sends; without this the second waits for the client's delayed ACK.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        page = PAGES.get(self.path)
        if page is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def server(place: Path) -> Iterator[dict[str, Any]]:
    port = free_port()
    with running([sys.executable, __file__, str(port)], place, port, as_me=True):
        yield {"port": port}


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    def connect(port: int, limit_s: float | None = timeout_s) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(HOST, port, timeout=limit_s)

    def get(connection: http.client.HTTPConnection, path: str) -> object:
        connection.request("GET", path)
        response = connection.getresponse()
        headers = [(name, value) for name, value in response.getheaders() if name != "Date"]
        return response.status, headers, response.read()

    def once(connect: Callable[[], http.client.HTTPConnection]) -> object:
        with contextlib.closing(connect()) as connection:
            return get(connection, "/short")

    with contextlib.closing(connect(at.port)) as connection:
        yield Operations(
            timed={
                "GET 1 KiB": lambda: get(connection, "/short"),
                "GET 1 MiB": lambda: get(connection, "/long"),
                "connect, GET, close": lambda: once(lambda: connect(at.port)),
            },
            compared={
                "not found": lambda: get(connection, "/nothing"),
                "refused": lambda: once(lambda: connect(at.refusing_port)),
                "timed out": lambda: once(lambda: connect(at.silent_port, 0.05)),
            },
        )


if __name__ == "__main__":
    http.server.ThreadingHTTPServer((HOST, int(sys.argv[1])), Handler).serve_forever()
