"""urllib3 over http and https, against nginx with a certificate of a throw-away authority."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import urllib3
from proof import nginx
from proof.operations import Operations
from proof.servers import HOST

NAME = "urllib3"
TIMEOUT = "timeout"
PROGRAMS = nginx.PROGRAMS


def server(place: Path) -> contextlib.AbstractContextManager[dict[str, Any]]:
    return nginx.nginx(place)


def facts(response: urllib3.BaseHTTPResponse) -> object:
    headers = {name: value for name, value in response.headers.items() if name != "Date"}
    return response.status, headers, response.data


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    def pool() -> urllib3.PoolManager:
        return urllib3.PoolManager(ca_certs=at.authority, timeout=timeout_s, retries=False)

    with pool() as connections:

        def get(url: str) -> object:
            return facts(connections.request("GET", url))

        def visit(url: str) -> object:
            with pool() as others:
                return facts(others.request("GET", url))

        def stream() -> object:
            response = connections.request("GET", f"{at.http}/long", preload_content=False)
            return sum(len(chunk) for chunk in response.stream(16384))

        yield Operations(
            timed={
                "http GET 1 KiB": lambda: get(f"{at.http}/short"),
                "http GET 1 MiB in chunks of 16 KiB": stream,
                "https GET 1 KiB": lambda: get(f"{at.https}/short"),
                "http connect, GET, close": lambda: visit(f"{at.http}/short"),
                "https connect, GET, close": lambda: visit(f"{at.https}/short"),
            },
            compared={
                "not found": lambda: get(f"{at.http}/nothing"),
                "http to https": lambda: get(at.https.replace("https", "http")),
                "https to http": lambda: get(at.http.replace("http", "https")),
                "refused": lambda: get(f"http://{HOST}:{at.refusing_port}/"),
                "timed out": lambda: connections.request(
                    "GET", f"http://{HOST}:{at.silent_port}/", timeout=0.05
                ),
            },
        )
