"""Connections, and the two client programs against a far end in another process."""

from __future__ import annotations

import socket as standard
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from time import perf_counter_ns

from .far_end import END_AT_ONCE, far_end
from .round import Figures, Round, Setting, Workload, each, mean

# Connections that wait in a listener's queue at a time.
QUEUED = 32


def tcp_client(timeout_s: float | None) -> Workload:
    """The TCP program of the README: socket, connect, sendall, recv, close."""

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        socket = setting.module
        message = b"hello over TCP\n"
        with far_end("tcp-echo", setting.near_core, setting.floor) as (host, port):

            def run(amount: int) -> Figures:
                times_ns = []
                for _ in repeat(None, amount):
                    started_ns = perf_counter_ns()
                    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                    if timeout_s is not None:
                        client.settimeout(timeout_s)
                    client.connect((host, port))
                    client.sendall(message)
                    client.recv(1024)
                    client.close()
                    times_ns.append(perf_counter_ns() - started_ns)
                return each(times_ns)

            yield run

    return open_workload


def udp_client(timeout_s: float | None) -> Workload:
    """The UDP program of the README: socket, sendto, recvfrom, close."""

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        socket = setting.module
        message = b"hello over UDP\n"
        with far_end("udp-echo", setting.near_core, setting.floor) as (host, port):

            def run(amount: int) -> Figures:
                times_ns = []
                for _ in repeat(None, amount):
                    started_ns = perf_counter_ns()
                    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    if timeout_s is not None:
                        client.settimeout(timeout_s)
                    client.sendto(message, (host, port))
                    client.recvfrom(1024)
                    client.close()
                    times_ns.append(perf_counter_ns() - started_ns)
                return each(times_ns)

            yield run

    return open_workload


@contextmanager
def create_connection(setting: Setting) -> Iterator[Round]:
    """create_connection(numeric host, 5 s), and close."""
    connect = setting.module.create_connection

    def run(amount: int) -> Figures:
        batches = -(-amount // QUEUED)
        total_ns = 0
        # The standard library's for everybody: it is not measured.
        with standard.create_server(("127.0.0.1", 0), backlog=QUEUED) as listener:
            listener.setsockopt(standard.SOL_SOCKET, standard.SO_LINGER, END_AT_ONCE)
            address = listener.getsockname()
            for _ in repeat(None, batches):
                started_ns = perf_counter_ns()
                for _ in repeat(None, QUEUED):
                    connect(address, 5).close()
                total_ns += perf_counter_ns() - started_ns
                for _ in repeat(None, QUEUED):
                    listener.accept()[0].close()
        return mean(total_ns, batches * QUEUED)

    yield run


@contextmanager
def accept(setting: Setting) -> Iterator[Round]:
    """accept of connections that wait."""

    def run(amount: int) -> Figures:
        batches = -(-amount // QUEUED)
        total_ns = 0
        with setting.module.create_server(("127.0.0.1", 0), backlog=QUEUED) as listener:
            listener.setsockopt(standard.SOL_SOCKET, standard.SO_LINGER, END_AT_ONCE)
            address = listener.getsockname()
            for _ in repeat(None, batches):
                waiting = []
                for _ in repeat(None, QUEUED):
                    client = standard.socket()
                    client.connect(address)
                    waiting.append(client)
                accepted = []
                started_ns = perf_counter_ns()
                for _ in repeat(None, QUEUED):
                    accepted.append(listener.accept())
                total_ns += perf_counter_ns() - started_ns
                for connection, _ in accepted:
                    connection.close()
                for client in waiting:
                    client.close()
        return mean(total_ns, batches * QUEUED)

    yield run
