"""One client process as its parent sees it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proof.failure import Failed

CLIENT = Path(__file__).with_name("client.py")
SUBJECTS = ("socket", "rsnet")


class Rival:
    """A client with one of the two modules in the place of `socket`."""

    def __init__(self, process: subprocess.Popen[str], subject: str, tool: str) -> None:
        self._process = process
        self._who = f"{tool} with {subject}"
        self.pid = process.pid
        answer = self._answer()
        self.timed: list[str] = answer["timed"]
        self.compared: list[str] = answer["compared"]
        self.classes: list[str] = []

    def time(self, operation: str, repeats: int) -> float:
        """Nanoseconds per operation."""
        took_ns: int = self._ask(do="time", operation=operation, repeats=repeats)["took_ns"]
        return took_ns / repeats

    def outcome(self, operation: str) -> str:
        """The result, or the exception, as text."""
        result: str = self._ask(do="compare", operation=operation)["result"]
        return result

    def finish(self) -> None:
        """Let it close what it has open; after that `classes` says which sockets it made."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.classes = self._answer()["classes"]
        if self._process.wait() != 0:
            raise Failed(f"{self._who} ended with exit code {self._process.returncode}.")

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise Failed(f"{self._who} ended early with exit code {code}; see above.")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def rival(
    subject: str,
    tool: str,
    path: Path,
    at: dict[str, Any],
    timeout_s: float | None,
    *,
    core: int | None = None,
    watched: bool = False,
    seed: int = 0,
) -> Iterator[Rival]:
    """A client process; `watched` is for counting and not for timing."""
    command = [sys.executable, str(CLIENT), subject, str(path)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # The layout of dicts and of memory shifts times by more than what is to be seen. Both of a
        # pair get the same, and each pair another.
        env=os.environ | {"PYTHONHASHSEED": str(seed)},
    ) as process:
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            assert process.stdin is not None
            order = {"at": at, "timeout_s": timeout_s, "watched": watched, "seed": seed}
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            client = Rival(process, subject, tool)
            yield client
            client.finish()
        finally:
            # Only one that failed still runs.
            process.kill()
