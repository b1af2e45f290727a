"""What the tests of measurements share: servers of one behaviour, and networks of their own."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import rsnet

LIMIT_S = 60
PACKAGES = str(Path(rsnet.__file__).parent.parent)


@pytest.fixture
def served() -> Iterator[Callable[..., int]]:
    """`served(behave)`: the port of a server that gives each connection to `behave`."""
    with contextlib.ExitStack() as stack:

        def serve(behave: Callable[[socket.socket], Any], backlog: int = 128) -> int:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
            thread = threading.Thread(target=answer, args=(server, behave))
            thread.start()
            stack.callback(thread.join, LIMIT_S)
            # A close would not wake the thread.
            stack.callback(server.shutdown, socket.SHUT_RDWR)
            return server.getsockname()[1]

        yield serve


def answer(server: socket.socket, behave: Callable[[socket.socket], Any]) -> None:
    while True:
        try:
            sock, _ = server.accept()
        except OSError:
            return
        with sock, contextlib.suppress(OSError):
            behave(sock)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that drops what comes: its queue of connections is full, and nobody takes them."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        while True:
            one = stack.enter_context(socket.socket())
            one.settimeout(0.2)
            try:
                one.connect(server.getsockname())
            except TimeoutError:
                break
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


# What code in a network of its own begins with: loopback up, with an address that is not
# loopback's, and a way to have packets dropped.
PREAMBLE = """
import fcntl, json, os, socket, struct, subprocess, sys, time
import rsnet

SIOCSIFADDR, SIOCSIFFLAGS, IFF_UP = 0x8916, 0x8914, 1
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    def to_kernel(request, name, argument):
        fcntl.ioctl(control, request, struct.pack("16s16s", name, argument))
    to_kernel(SIOCSIFFLAGS, b"lo", struct.pack("h", IFF_UP))
    local = struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton("10.9.0.1"))
    to_kernel(SIOCSIFADDR, b"lo:1", local)

def filter(rule):
    commands = "add table inet t; add chain inet t o { type filter hook output priority 0; }; "
    subprocess.run(["nft", commands + f"add rule inet t o {rule}"], check=True)
"""


@pytest.fixture(scope="session")
def in_namespace() -> Callable[..., Any]:
    """`in_namespace(code)` runs it in a network of its own: what it prints last, from JSON."""

    def run(code: str, **variables: str) -> Any:
        import json

        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c"]
            + [PREAMBLE + dedent(code)],
            env={"PATH": f"{os.environ['PATH']}:/usr/sbin", "PYTHONPATH": PACKAGES, **variables},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
