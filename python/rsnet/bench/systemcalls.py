"""System calls per operation, as `strace -c` counts them, in a pass of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping

from .process import Worker

BATCHES = 4
# Calls that are rarer than this per operation are the interpreter's: memory, mostly.
FEWEST = 0.002


class NotCounted(Exception):
    """strace could not do it; the text says why."""


def is_there() -> bool:
    return shutil.which("strace") is not None


def per_operation(worker: Worker, batch: int, feeding: Mapping[str, float]) -> dict[str, float]:
    """The calls of an operation by name.

    batch: an amount whose double is another whole number of batches: what a round costs besides is
        in both counts, and so not in their difference.
    feeding: calls per operation that feed or empty the other end of the measured socket.
    Raises NotCounted.
    """
    amount = BATCHES * batch
    few, many = _calls(worker, amount), _calls(worker, 2 * amount)
    counts = {
        name: round((many[name] - few[name]) / amount - feeding.get(name, 0.0), 4) for name in many
    }
    return {name: count for name, count in sorted(counts.items()) if count >= FEWEST}


def _calls(worker: Worker, amount: int) -> Counter[str]:
    with tempfile.NamedTemporaryFile("r") as table:
        command = ["strace", "-c", "-f", "-o", table.name, "-p", str(worker.pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            line = strace.stderr.readline()
            if "attached" not in line:
                strace.kill()
                raise NotCounted(line.strip())
            try:
                worker.run(amount)
            finally:
                strace.send_signal(signal.SIGINT)
                strace.communicate()
        return _parse(table.read())


def _parse(table: str) -> Counter[str]:
    """The fourth column of each line is a number of calls, the last one the call's name."""
    counts: Counter[str] = Counter()
    for line in table.splitlines():
        columns = line.split()
        if len(columns) in (5, 6) and columns[3].isdigit() and columns[-1] != "total":
            counts[columns[-1]] += int(columns[3])
    return counts
