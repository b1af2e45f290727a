"""The far end of the rows that talk to another process.

    python far_end.py KIND CORE

Where the floor is built its far end is used instead: it costs less, so that more of what is
measured is the near end. It prints its port and serves until its standard input ends.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHUNK_BYTES = 256 * 1024
# A value of SO_LINGER, which accepted connections inherit: they end by RST when they are closed,
# which leaves none of their ports busy at either end. Otherwise the hundred thousand connections of
# a run would wait out their minute (TIME_WAIT) in the tables that the kernel searches for the next.
END_AT_ONCE = struct.pack("ii", 1, 0)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: floor\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 100\r\nConnection: keep-alive\r\n\r\n" + b"0123456789" * 10
)


@contextmanager
def far_end(kind: str, core: int, floor: str | None) -> Iterator[tuple[str, int]]:
    """The address of a far end of that kind, pinned to that core, in a process of its own."""
    program = [floor, "far-end"] if floor else [sys.executable, "-IS", str(Path(__file__))]
    command = [*program, kind, str(core)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield "127.0.0.1", int(process.stdout.readline())
        finally:
            process.stdin.close()


def main(kind: str, core: str) -> None:
    os.sched_setaffinity(0, {int(core)})
    # It waits for its turn. On the measured core it would otherwise interrupt whoever wakes it, or
    # not, as the scheduler likes: a matter of microseconds that moved ratios by a fifth.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if kind == "udp-echo":
        in_thread(echo_datagrams, bound(socket.SOCK_DGRAM))
    elif kind in ("tcp-echo", "http"):
        in_thread(answer, bound(socket.SOCK_STREAM), RESPONSE if kind == "http" else None)
    else:
        in_thread(stream, bound(socket.SOCK_STREAM), kind == "source")
    # The process ends with its input, and the thread with it.
    sys.stdin.buffer.read()


def in_thread(serve: object, *arguments: object) -> None:
    threading.Thread(target=serve, args=arguments, daemon=True).start()  # type: ignore[arg-type]


def bound(kind: int) -> socket.socket:
    far = socket.socket(socket.AF_INET, kind)
    far.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, END_AT_ONCE)
        far.listen(1024)
    print(far.getsockname()[1], flush=True)
    return far


def echo_datagrams(far: socket.socket) -> None:
    while True:
        far.sendto(*far.recvfrom(2048))


def answer(listener: socket.socket, response: bytes | None) -> None:
    """Answers each piece that a connection brings: with the response, or with the piece itself."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                elif not answer_once(ready, response):
                    selector.unregister(ready)
                    ready.close()


def answer_once(connection: socket.socket, response: bytes | None) -> bool:
    """Whether the connection is still there."""
    try:
        piece = connection.recv(CHUNK_BYTES)
        connection.sendall(response if response and piece else piece)
    except OSError:
        return False
    return bool(piece)


def stream(listener: socket.socket, is_source: bool) -> None:
    while True:
        connection, _ = listener.accept()
        in_thread(pour if is_source else swallow, connection)


def pour(connection: socket.socket) -> None:
    data = bytes(CHUNK_BYTES)
    with connection:
        try:
            while True:
                connection.sendall(data)
        except OSError:
            return


def swallow(connection: socket.socket) -> None:
    buffer = bytearray(CHUNK_BYTES)
    with connection:
        try:
            while connection.recv_into(buffer):
                pass
        except OSError:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
