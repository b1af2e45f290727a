"""Megabytes through one TCP connection, to a far end on the other core."""

from __future__ import annotations

import array
import fcntl
import mmap
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from time import perf_counter_ns
from typing import Any

from .far_end import far_end
from .round import Figures, Round, Setting, mean

MEBIBYTE = 1 << 20


@contextmanager
def sendall(setting: Setting) -> Iterator[Round]:
    """sendall of a mebibyte."""
    with (
        far_end("sink", setting.far_core, setting.floor) as address,
        setting.module.create_connection(address) as client,
    ):
        data = page_aligned(MEBIBYTE)

        def run(amount: int) -> Figures:
            started_ns = perf_counter_ns()
            for _ in repeat(None, amount):
                client.sendall(data)
            taken_ns = perf_counter_ns() - started_ns
            # What is under way would keep the other core busy during somebody else's round.
            while unsent_bytes(client):
                pass
            return mean(taken_ns, amount)

        yield run


def page_aligned(size_bytes: int) -> memoryview:
    """A buffer at the start of a page: some processors copy several times slower elsewhere."""
    return memoryview(mmap.mmap(-1, size_bytes))


def unsent_bytes(client: Any) -> int:
    """How many bytes were sent and not acknowledged."""
    count = array.array("i", [0])
    fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, count)
    return count[0]


@contextmanager
def recv_into(setting: Setting) -> Iterator[Round]:
    """recv_into of 256 KiB until a mebibyte is there."""
    with (
        far_end("source", setting.far_core, setting.floor) as address,
        setting.module.create_connection(address) as client,
    ):
        buffer = page_aligned(MEBIBYTE // 4)
        receive = client.recv_into

        def run(amount: int) -> Figures:
            missing = amount * MEBIBYTE
            started_ns = perf_counter_ns()
            while missing > 0:
                missing -= receive(buffer)
            return mean(perf_counter_ns() - started_ns, amount)

        yield run
