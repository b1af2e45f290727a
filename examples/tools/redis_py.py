"""redis-py, the client of Redis, against redis-server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import redis
from proof.operations import Operations, Program
from proof.servers import HOST, free_port, installed, running
from redis.backoff import NoBackoff
from redis.retry import Retry

NAME = "redis-py"
TIMEOUT = "socket_timeout"
PROGRAMS = (Program("redis-server", "redis-server"),)

SHORT, LONG = b"x" * 64, b"y" * 65536


@contextlib.contextmanager
def server(place: Path) -> Iterator[dict[str, Any]]:
    port = free_port()
    settings = ["--bind", HOST, "--port", str(port), "--dir", place, "--save", ""]
    with running([installed("redis-server"), *settings], place, port):
        yield {"port": port}


def connect(port: int, timeout_s: float | None) -> redis.Redis:
    return redis.Redis(
        host=HOST,
        port=port,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        # A failure is to come through at once.
        retry=Retry(NoBackoff(), 0),
    )


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    with connect(at.port, timeout_s) as store:
        store.set("short", SHORT)
        store.set("long", LONG)

        def get_many() -> object:
            with store.pipeline(transaction=False) as pipeline:
                for _ in range(100):
                    pipeline.get("short")
                return pipeline.execute()

        def visit() -> object:
            with connect(at.port, timeout_s) as another:
                return another.ping()

        def wait_in_vain() -> object:
            with connect(at.port, 0.05) as another:
                return another.blpop(["nothing"], timeout=5)

        yield Operations(
            timed={
                "GET 64 B": lambda: store.get("short"),
                "GET 64 KiB": lambda: store.get("long"),
                "SET 64 KiB": lambda: store.set("long", LONG),
                "100 GETs in a pipeline": get_many,
                "connect, PING, close": visit,
            },
            compared={
                "wrong type": lambda: store.lpush("short", "x"),
                "refused": lambda: connect(at.refusing_port, timeout_s).ping(),
                "timed out": wait_in_vain,
            },
        )
