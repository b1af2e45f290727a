"""The shape of a workload: opened once, then asked for rounds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter_ns
from typing import Any

# `socket`, or rsnet in its place.
SocketModule = Any

# The figures of a round by their name: "ns" is the time of one operation, in nanoseconds.
Figures = dict[str, float]
Round = Callable[[int], Figures]


@dataclass(frozen=True)
class Setting:
    """What a workload is given: `module` stands for `socket`, the rest for where it runs."""

    module: SocketModule
    near_core: int
    far_core: int
    floor: str | None


Workload = Callable[[Setting], AbstractContextManager[Round]]


class Missing(Exception):
    """This variant cannot do this workload here; the text says what is missing."""


def attribute(holder: object, name: str) -> Any:
    """The attribute, or Missing with its name, for a row whose method is not there (yet)."""
    try:
        return getattr(holder, name)
    except AttributeError:
        raise Missing(name) from None


def mean(total_ns: int, operations: int) -> Figures:
    return {"ns": total_ns / operations}


def each(times_ns: list[int]) -> Figures:
    """The median, which a stolen time slice does not move, and the 99th percentile."""
    times_ns.sort()
    last = len(times_ns) - 1
    return {"ns": times_ns[last * 50 // 100], "p99_ns": times_ns[last * 99 // 100]}


def clock_cost_ns() -> float:
    """What reading the clock twice adds to a span so short that it shows."""
    spans = []
    for _ in repeat(None, 1001):
        started_ns = perf_counter_ns()
        spans.append(perf_counter_ns() - started_ns)
    return float(sorted(spans)[500])
