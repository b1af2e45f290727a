"""requests over http and https, against nginx with a certificate of a throw-away authority."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import requests
from proof import nginx
from proof.operations import Operations
from proof.servers import HOST

NAME = "requests"
TIMEOUT = "timeout"
PROGRAMS = nginx.PROGRAMS


def server(place: Path) -> contextlib.AbstractContextManager[dict[str, Any]]:
    return nginx.nginx(place)


def facts(response: requests.Response) -> object:
    headers = {name: value for name, value in response.headers.items() if name != "Date"}
    return response.status_code, headers, response.content


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    with requests.Session() as session:
        session.verify = at.authority
        # Neither proxies nor passwords of the machine's user.
        session.trust_env = False

        def get(url: str) -> object:
            return facts(session.get(url, timeout=timeout_s))

        def visit(url: str) -> object:
            with requests.Session() as another:
                another.verify, another.trust_env = at.authority, False
                return facts(another.get(url, timeout=timeout_s))

        yield Operations(
            timed={
                "http GET 1 KiB": lambda: get(f"{at.http}/short"),
                "http GET 1 MiB": lambda: get(f"{at.http}/long"),
                "https GET 1 KiB": lambda: get(f"{at.https}/short"),
                "https GET 1 MiB": lambda: get(f"{at.https}/long"),
                "http connect, GET, close": lambda: visit(f"{at.http}/short"),
                "https connect, GET, close": lambda: visit(f"{at.https}/short"),
            },
            compared={
                "not found": lambda: get(f"{at.http}/nothing"),
                "redirected": lambda: get(f"{at.http}/moved"),
                "certificate refused": lambda: requests.get(f"{at.https}/short", verify=True),
                "http to https": lambda: get(at.https.replace("https", "http")),
                "https to http": lambda: get(at.http.replace("http", "https")),
                "refused": lambda: get(f"http://{HOST}:{at.refusing_port}/"),
                "timed out": lambda: session.get(f"http://{HOST}:{at.silent_port}/", timeout=0.05),
            },
        )
