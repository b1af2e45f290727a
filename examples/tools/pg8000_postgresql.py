"""pg8000 against PostgreSQL."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pg8000.native
from proof.operations import Operations, Program
from proof.servers import HOST, free_port, installed, run_once, running

NAME = "pg8000"
TIMEOUT = "timeout"
PROGRAMS = (Program("postgres", "postgresql"), Program("initdb", "postgresql"))

USER = "tester"
THOUSAND_ROWS = "SELECT i, 'row ' || i FROM generate_series(1, 1000) AS i"


@contextlib.contextmanager
def server(place: Path) -> Iterator[dict[str, Any]]:
    data = place / "data"
    run_once(
        [
            *(installed("initdb"), "--pgdata", data, "--username", USER, "--auth", "trust"),
            *("--no-sync", "--encoding", "UTF8", "--locale", "C"),
        ],
        place,
    )
    port = free_port()
    command = [
        *(installed("postgres"), "-D", data, "-h", HOST, "-p", str(port), "-k", place),
        # Its background work would come in between now and then.
        *("-c", "autovacuum=off", "-c", "fsync=off"),
    ]
    # SIGINT is its fast shutdown: it does not wait for clients to go.
    with running(command, place, port, stop=signal.SIGINT):
        yield {"port": port}


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    def connect(port: int = at.port, limit_s: float | None = timeout_s) -> Any:
        return pg8000.native.Connection(
            USER, host=HOST, port=port, database="postgres", timeout=limit_s
        )

    def once(statement: str, **settings: Any) -> object:
        with contextlib.closing(connect(**settings)) as another:
            return another.run(statement)

    with contextlib.closing(connect()) as connection:
        connection.run("CREATE TEMPORARY TABLE notes (note text)")

        yield Operations(
            timed={
                "SELECT one row": lambda: connection.run("SELECT 1, 'one'"),
                "SELECT with a parameter": lambda: connection.run("SELECT :it", it="this"),
                "SELECT 1000 rows": lambda: connection.run(THOUSAND_ROWS),
                "SELECT 1 MiB": lambda: connection.run("SELECT repeat('x', 1048576)"),
                "connect, SELECT, close": lambda: once("SELECT 1"),
            },
            compared={
                "INSERT": lambda: connection.run("INSERT INTO notes VALUES ('a'), ('b')"),
                "read back": lambda: connection.run("SELECT * FROM notes ORDER BY note"),
                "no such table": lambda: connection.run("SELECT * FROM nothing"),
                "timed out": lambda: once("SELECT pg_sleep(5)", limit_s=0.2),
                "refused": lambda: once("SELECT 1", port=at.refusing_port),
            },
        )
