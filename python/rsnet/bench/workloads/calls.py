"""One call whose data is there already."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from time import perf_counter_ns
from typing import Any

from .mapping import keep_mapping
from .round import Figures, Missing, Round, Setting, SocketModule, Workload, clock_cost_ns, mean

MESSAGE = b"x" * 64
# As many as fit into the smallest usual buffer of a Unix socket.
BATCH = 128
LARGE_BYTES = 256 * 1024
LINES_FED = 64
LINES = (b"x" * 1023 + b"\n") * LINES_FED


@contextmanager
def tcp_pair(module: SocketModule) -> Iterator[tuple[Any, Any]]:
    """Two ends of one connection over loopback."""
    with module.create_server(("127.0.0.1", 0)) as listener:
        near = module.create_connection(listener.getsockname())
        far, _ = listener.accept()
    far.setsockopt(module.IPPROTO_TCP, module.TCP_NODELAY, 1)
    with near, far:
        yield near, far


def ready(family: str, timeout_s: float | None) -> Workload:
    """recv of 64 bytes that are there, alone in the time that is taken."""

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        pair = tcp_pair(setting.module) if family == "tcp" else unix_pair(setting.module)
        with pair as (near, far):
            near.settimeout(timeout_s)
            # write(2), so that strace tells feeding from receiving; and in one piece where the
            # socket keeps no boundaries.
            pieces = [MESSAGE * BATCH] if family == "tcp" else [MESSAGE] * BATCH
            recv, fd = near.recv, far.fileno()

            def run(amount: int) -> Figures:
                batches = -(-amount // BATCH)
                total_ns = 0
                for _ in repeat(None, batches):
                    for piece in pieces:
                        os.write(fd, piece)
                    started_ns = perf_counter_ns()
                    for _ in repeat(None, BATCH):
                        recv(64)
                    total_ns += perf_counter_ns() - started_ns
                return mean(total_ns, batches * BATCH)

            yield run

    return open_workload


@contextmanager
def unix_pair(module: SocketModule) -> Iterator[tuple[Any, Any]]:
    near, far = module.socketpair()
    with near, far:
        yield near, far


@contextmanager
def send_and_recv(setting: Setting) -> Iterator[Round]:
    """send and recv of 64 bytes over a blocking Unix pair."""
    with unix_pair(setting.module) as (near, far):
        send, recv = near.send, far.recv

        def run(amount: int) -> Figures:
            started_ns = perf_counter_ns()
            for _ in repeat(None, amount):
                send(MESSAGE)
                recv(1024)
            return mean(perf_counter_ns() - started_ns, amount)

        yield run


def udp_self(timeout_s: float | None) -> Workload:
    """sendto and recvfrom of a UDP socket that talks to itself."""

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        module = setting.module
        with module.socket(module.AF_INET, module.SOCK_DGRAM) as socket:
            socket.bind(("127.0.0.1", 0))
            socket.settimeout(timeout_s)
            address = socket.getsockname()
            sendto, recvfrom = socket.sendto, socket.recvfrom

            def run(amount: int) -> Figures:
                started_ns = perf_counter_ns()
                for _ in repeat(None, amount):
                    sendto(MESSAGE, address)
                    recvfrom(1024)
                return mean(perf_counter_ns() - started_ns, amount)

            yield run

    return open_workload


def large(family: str, method: str) -> Workload:
    """recv of up to 256 KiB that gets 100 bytes, as asyncio reads; recv_into is the way around."""

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        keep_mapping()
        pair = tcp_pair(setting.module) if family == "tcp" else unix_pair(setting.module)
        with pair as (near, far):
            receive = getattr(near, method)
            argument = LARGE_BYTES if method == "recv" else bytearray(LARGE_BYTES)
            data, fd = b"x" * 100, far.fileno()

            def run(amount: int) -> Figures:
                total_ns = 0
                for _ in repeat(None, amount):
                    os.write(fd, data)
                    started_ns = perf_counter_ns()
                    receive(argument)
                    total_ns += perf_counter_ns() - started_ns
                return {"ns": max(total_ns / amount - clock_cost_ns(), 1.0)}

            yield run

    return open_workload


@contextmanager
def makefile_readline(setting: Setting) -> Iterator[Round]:
    """readline of 1 KiB lines from makefile("rb")."""
    with tcp_pair(setting.module) as (near, far), near.makefile("rb") as file:
        readline, fd = file.readline, far.fileno()

        def run(amount: int) -> Figures:
            batches = -(-amount // LINES_FED)
            total_ns = 0
            for _ in repeat(None, batches):
                if os.write(fd, LINES) != len(LINES):
                    raise Missing("room for 64 KiB in a TCP buffer")
                started_ns = perf_counter_ns()
                for _ in repeat(None, LINES_FED):
                    readline()
                total_ns += perf_counter_ns() - started_ns
            return mean(total_ns, batches * LINES_FED)

        yield run
