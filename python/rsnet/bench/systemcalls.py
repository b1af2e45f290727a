"""System calls per operation, as `strace -c` counts them, in a pass of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping

from .process import Worker


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
    few, many = _calls(worker, batch), _calls(worker, 2 * batch)
    counts = {
        name: round((many[name] - few[name]) / batch - feeding.get(name, 0.0), 3) for name in many
    }
    # What is less than one call in a hundred operations is the interpreter's: memory, mostly.
    return {name: count for name, count in sorted(counts.items()) if count >= 0.005}


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
