"""Threads that share the interpreter: beside one that computes, and among themselves.

Amounts are milliseconds here, not operations: everybody works for the same time, and what counts is
how much each gets done.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import exp, log
from time import perf_counter_ns
from typing import Any

from .bulk import page_aligned
from .far_end import far_end
from .round import Figures, Missing, Round, Setting, Workload

# One step of a thread: an exchange with its far end.
Step = Callable[[], object]
PIECE = b"x" * 64
STREAM_BYTES = 4096
LARGE_BYTES = 1 << 20


def reader(connection: Any) -> Step:
    """Receives 4 KiB of a stream that never ends."""
    recv = connection.recv
    return lambda: recv(STREAM_BYTES)


def asker(connection: Any) -> Step:
    """A request of 64 bytes and its response."""
    send, recv = connection.send, connection.recv

    def ask() -> None:
        send(PIECE)
        recv(1024)

    return ask


def sender(connection: Any) -> Step:
    """sendall of 64 KiB."""
    sendall, data = connection.sendall, bytes(65536)
    return lambda: sendall(data)


def large_sender(connection: Any) -> Step:
    """sendall of 1 MiB."""
    sendall, data = connection.sendall, page_aligned(LARGE_BYTES)
    return lambda: sendall(data)


def large_reader(connection: Any) -> Step:
    """recv_into of 1 MiB, until it is full."""
    recv_into, buffer = connection.recv_into, page_aligned(LARGE_BYTES)

    def fill() -> None:
        missing = LARGE_BYTES
        while missing:
            missing -= recv_into(buffer[:missing])

    return fill


# A role of a thread: what it does, and the far end that it does it with.
ROLES: dict[str, tuple[Callable[[Any], Step], str]] = {
    "read": (reader, "source"),
    "ask": (asker, "tcp-echo"),
    "send": (sender, "sink"),
    "send 1 MiB": (large_sender, "sink"),
    "read 1 MiB": (large_reader, "source"),
}


def beside_a_computing_thread(role: str, switch_interval_s: float | None) -> Workload:
    """One thread that does I/O on the near core, one that computes on the far core.

    switch_interval_s: for sys.setswitchinterval, or None to leave it alone.
    """

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        if setting.near_core == setting.far_core:
            raise Missing("a second core")
        if switch_interval_s is not None:
            sys.setswitchinterval(switch_interval_s)
        make_step, kind = ROLES[role]
        with (
            far_end(kind, setting.near_core, setting.floor) as address,
            connection_to(setting.module, address) as connection,
        ):
            step = make_step(connection)

            def run(milliseconds: int) -> Figures:
                span_ns = milliseconds * 1_000_000
                # Before and after, for the machine does not stay as fast as it is.
                alone = computed(setting.far_core, span_ns // 4, lambda _: None)
                rates: list[float] = []
                beside = computed(
                    setting.far_core, span_ns, lambda ends_ns: rates.append(rate(step, ends_ns))
                )
                alone += computed(setting.far_core, span_ns // 4, lambda _: None)
                return {"ns": 1e9 / rates[0], "cpu_share": 2 * beside / alone}

            yield run

    return open_workload


def computed(core: int, span_ns: int, meanwhile: Callable[[int], None]) -> float:
    """How much a thread on that core computes in a second while this one does something."""
    amounts: list[float] = []
    started = threading.Event()

    def compute() -> None:
        os.sched_setaffinity(0, {core})
        started.set()
        amounts.append(rate(spin, perf_counter_ns() + span_ns))

    thread = threading.Thread(target=compute)
    thread.start()
    started.wait()
    meanwhile(perf_counter_ns() + span_ns)
    thread.join()
    return amounts[0]


def spin() -> None:
    """Some microseconds of pure Python, which keep the interpreter."""
    for _ in range(100):
        pass


def rate(step: Step, ends_ns: int) -> float:
    """How often a step is done in a second, until that time; at least once."""
    started_ns = perf_counter_ns()
    steps = 0
    while True:
        step()
        steps += 1
        now_ns = perf_counter_ns()
        if now_ns >= ends_ns:
            return steps * 1e9 / (now_ns - started_ns)


def among_themselves(*roles: str) -> Workload:
    """Threads that do nothing but I/O, pinned to the two cores by turns, as their far ends are."""

    @contextmanager
    def open_workload(setting: Setting) -> Iterator[Round]:
        with ExitStack() as stack:
            cores = (setting.near_core, setting.far_core)
            steps = []
            for number, role in enumerate(roles):
                make_step, kind = ROLES[role]
                core = cores[number % 2]
                address = stack.enter_context(far_end(kind, core, setting.floor))
                connection = stack.enter_context(connection_to(setting.module, address))
                steps.append((role, core, make_step(connection)))
            yield lambda milliseconds: together(steps, milliseconds * 1_000_000)

    return open_workload


def together(steps: list[tuple[str, int, Step]], span_ns: int) -> Figures:
    """The rate of each thread, and the time of an operation averaged over the kinds of threads.

    That average is geometric: a kind of thread that gets less counts as much as one that gets more,
    however different their operations are.
    """
    rates: Figures = {}
    barrier = threading.Barrier(len(steps))

    def work(number: int, role: str, core: int, step: Step) -> None:
        os.sched_setaffinity(0, {core})
        barrier.wait()
        rates[f"rate of {role} {number}"] = rate(step, perf_counter_ns() + span_ns)

    threads = [
        threading.Thread(target=work, args=(number, *step)) for number, step in enumerate(steps)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roles = {role for role, _, _ in steps}
    logarithms = [
        log(sum(rate for name, rate in rates.items() if name.startswith(f"rate of {role} ")))
        for role in roles
    ]
    return {"ns": 1e9 / exp(sum(logarithms) / len(roles))} | rates


@contextmanager
def connection_to(module: Any, address: tuple[str, int]) -> Iterator[Any]:
    with module.create_connection(address) as connection:
        connection.setsockopt(module.IPPROTO_TCP, module.TCP_NODELAY, 1)
        yield connection
