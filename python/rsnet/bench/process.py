"""A worker process, asked for one round after the other."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0
LEAVE_S = 5.0
_BENCH = Path(__file__).parent


class Missing(Exception):
    """A variant that is not there; the text says what is missing."""


class Failed(Exception):
    """A worker that ended before its time; the text is what it said last."""


class Worker:
    """A process that does rounds of one workload."""

    def __init__(self, command: list[str]) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - close() closes it
        # A session of its own: Ctrl-C comes to the scoreboard alone, which then ends its workers.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environment(),
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Raises Missing when it says that something is missing, Failed when it ends."""
        if missing := self._read().get("missing"):
            raise Missing(missing)

    def run(self, amount: int) -> Mapping[str, float]:
        """The figures of a round of that amount. Raises Failed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{amount}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._last_words()) from None
        return self._read()

    def _read(self) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        # One line for one question: nothing is left in the file's own buffer.
        readable, _, _ = select.select([out], [], [], PATIENCE_S)
        line = out.readline() if readable else ""
        if not line:
            raise Failed(self._last_words() if readable else f"no answer in {PATIENCE_S:g} s")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._process.wait(LEAVE_S)
        self._errors.seek(0)
        lines = self._errors.read().splitlines()
        return lines[-1] if lines else f"ended with exit code {self._process.returncode}"

    def close(self) -> None:
        """Ends the process and whatever it has started."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(LEAVE_S)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        finally:
            self._process.stdout.close()
            self._errors.close()


def python_worker(workload: str, module: str, cores: tuple[int, int], floor: str | None) -> Worker:
    script = str(_BENCH / "worker.py")
    near, far = map(str, cores)
    return Worker([sys.executable, "-P", script, workload, module, near, far, floor or ""])


def floor_worker(workload: str, cores: tuple[int, int], floor: str) -> Worker:
    near, far = map(str, cores)
    return Worker([floor, "worker", workload, near, far])


def package_folder() -> Path:
    """Where a worker finds this very rsnet, however it was found here."""
    return _BENCH.parent.parent


def _environment() -> dict[str, str]:
    path = [str(package_folder()), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}
