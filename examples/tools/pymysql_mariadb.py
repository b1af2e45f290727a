"""PyMySQL against MariaDB."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pymysql
from proof.operations import Operations, Program
from proof.servers import HOST, free_port, installed, run_once, running

NAME = "PyMySQL"
TIMEOUT = "read_timeout, write_timeout"
PROGRAMS = (
    Program("mariadbd", "mariadb-server"),
    Program("mariadb-install-db", "mariadb-server"),
)

THOUSAND_ROWS = "SELECT seq, CONCAT('row ', seq) FROM seq_1_to_1000"


@contextlib.contextmanager
def server(place: Path) -> Iterator[dict[str, Any]]:
    # Its own Unix socket: the machine may have a server of its own.
    files = [f"--datadir={place}/data", f"--socket={place}/socket", f"--tmpdir={place}"]
    quiet = ["--auth-root-authentication-method=normal"]
    run_once([installed("mariadb-install-db"), "--no-defaults", *files[::2], *quiet], place)
    port = free_port()
    network = [f"--bind-address={HOST}", f"--port={port}", "--skip-name-resolve"]
    # Connections that refuse to speak its protocol (the wait for it to start is one) are no reason
    # to lock a host out.
    lenient = ["--max-connect-errors=1000000"]
    command = [installed("mariadbd"), "--no-defaults", *files, *network, *lenient]
    with running(command, place, port):
        yield {"port": port}


@contextlib.contextmanager
def client(at: SimpleNamespace, timeout_s: float | None) -> Iterator[Operations]:
    def connect(port: int = at.port, **settings: Any) -> Any:
        limits = {"read_timeout": timeout_s, "write_timeout": timeout_s} | settings
        return pymysql.connect(
            host=HOST, port=port, user="root", database="test", autocommit=True, **limits
        )

    def ask(connection: Any, statement: str) -> object:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def once(statement: str, **settings: Any) -> object:
        with connect(**settings) as another:
            return ask(another, statement)

    with connect() as connection:
        ask(connection, "CREATE OR REPLACE TEMPORARY TABLE notes (note VARCHAR(100))")

        yield Operations(
            timed={
                "SELECT one row": lambda: ask(connection, "SELECT 1, 'one'"),
                "SELECT 1000 rows": lambda: ask(connection, THOUSAND_ROWS),
                "SELECT 1 MiB": lambda: ask(connection, "SELECT REPEAT('x', 1048576)"),
                "ping": connection.ping,
                "connect, SELECT, close": lambda: once("SELECT 1"),
            },
            compared={
                "INSERT": lambda: ask(connection, "INSERT INTO notes VALUES ('a'), ('b')"),
                "read back": lambda: ask(connection, "SELECT * FROM notes ORDER BY note"),
                "no such table": lambda: ask(connection, "SELECT * FROM nothing.here"),
                "timed out": lambda: once("SELECT SLEEP(5)", read_timeout=1),
                "refused": lambda: once("SELECT 1", port=at.refusing_port),
            },
        )
