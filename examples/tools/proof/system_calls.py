"""Counts the system calls of one operation with strace -c, on a client that is not timed."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from proof.failure import Failed
from proof.rival import Rival


def per_operation(client: Rival, operation: str, times: int, place: Path) -> dict[str, float]:
    """System calls of one operation by their names.

    Twice as many operations less once as many: what it takes to ask for them falls out.
    """
    once, twice = (count(client, operation, times * factor, place) for factor in (1, 2))
    differences = {name: (twice[name] - once[name]) / times for name in twice | once}
    return {name: calls for name, calls in sorted(differences.items()) if calls > 0}


def count(client: Rival, operation: str, times: int, place: Path) -> Counter[str]:
    summary = place / "strace.txt"
    with attached(client.pid, summary):
        client.time(operation, times)
    return parse(summary.read_text())


@contextlib.contextmanager
def attached(pid: int, summary: Path) -> Iterator[None]:
    command = ["strace", "-c", "-f", "-o", str(summary), "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        if "attached" not in first:
            process.wait()
            raise Failed(f"strace cannot count: {first.strip()}.")
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.stderr.read()


def parse(summary: str) -> Counter[str]:
    """Calls by name, from the table that strace -c writes."""
    calls: Counter[str] = Counter()
    for line in summary.splitlines():
        words = line.split()
        # % time, seconds, usecs/call, calls, errors when there were any, name.
        if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
            calls[words[-1]] += int(words[3])
    return calls
