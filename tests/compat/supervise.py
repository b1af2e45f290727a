"""Runs a test module in a child process and outlives whatever the tests do to that child.

A test that hangs or takes the process down is answered for, and a new child goes on with the rest.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from verdicts import ModuleRun, Verdict

_CHILD = Path(__file__).with_name("child.py")
# How long importing the module may take at least, however short the limit for a test is.
_IMPORT_LIMIT_S = 60.0
# What faulthandler needs to write its traceback after SIGABRT, generously.
_LAST_WORDS_LIMIT_S = 5.0
# A process that a test forked can hold the pipe open after the child is gone: the pipe's end is
# not proof enough, so the child itself is looked at this often.
_LOOK_S = 0.5
_DETAIL_CHARS = 20_000


@dataclass(frozen=True)
class Job:
    """One module with one `socket`."""

    module: str
    subject: str
    network: bool
    patterns: list[str]
    left_out: list[str]
    hang_limit_s: float


class Interruption:
    """Ctrl-C and SIGTERM, taken where no verdict is lost by it: not between reading and noting."""

    def __init__(self) -> None:
        self._asked = False

    def watch(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._ask)

    def check(self) -> None:
        if self._asked:
            raise KeyboardInterrupt

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self._asked = True


class _Hung(Exception):
    pass


class _Ended(Exception):
    pass


def run(job: Job, into: ModuleRun, interruption: Interruption) -> None:
    """Run the module to its end, or to KeyboardInterrupt with `into` filled as far as it came."""
    started_s = time.monotonic()
    only: list[str] | None = None
    try:
        while only is None or only:
            with tempfile.TemporaryDirectory(prefix="judge-", ignore_cleanup_errors=True) as place:
                child = _Child(job, Path(place), only, interruption)
                try:
                    _follow(child, job, into)
                finally:
                    child.end()
            if into.whole is not None:
                break
            only = into.remaining()
        into.finished = True
    finally:
        into.taken_s = time.monotonic() - started_s


def _follow(child: "_Child", job: Job, into: ModuleRun) -> None:
    """Take what one child tells until it is done or gone, and answer for what took it away."""
    before = len(into.verdicts)
    scene = _Scene(job, into)
    try:
        for event in child.events(scene):
            scene.take(event)
        status = child.wait(job.hang_limit_s)
    except _Hung:
        scene.blame(Verdict("hang", child.last_words()), before)
    except _Ended:
        scene.blame(Verdict("crash", child.obituary()), before)
    except KeyboardInterrupt:
        for event in child.remaining_events():
            scene.take(event)
        raise
    else:
        if status != 0:
            into.give(f"{job.module} (interpreter exit)", Verdict("crash", child.obituary()))


class _Scene:
    """What the child is at, as far as its events tell."""

    def __init__(self, job: Job, into: ModuleRun) -> None:
        self._job, self._into = job, into
        self.on_the_stand: list[str] = []  # the tests to blame should the child die now
        self._last_id = "the start"
        self._done = False
        self._loading = True

    @property
    def limit_s(self) -> float:
        limit_s = self._job.hang_limit_s
        return max(limit_s, _IMPORT_LIMIT_S) if self._loading else limit_s

    def take(self, event: dict[str, Any]) -> None:
        match event:
            case {"event": "in-place", "origin": origin, "holders": holders}:
                self._into.origin = origin
                if holders:
                    self._note(f"hold the standard socket all the same: {', '.join(holders)}")
            case {"event": "module", "verdict": name, "detail": detail}:
                self._whole(Verdict(name, detail))
            case {"event": "collected", "ids": ids}:
                self._loading = False
                self._into.collected = self._into.collected or ids
            case {"event": "setting-up", "ids": ids}:
                self.on_the_stand = ids
            case {"event": "start", "id": test_id}:
                self.on_the_stand = [test_id]
            case {"event": "verdict", "id": test_id, "verdict": name}:
                self.on_the_stand, self._last_id = [], test_id
                self._into.give(test_id, Verdict(name, event["detail"], event["taken_s"]))
            case {"event": "done", "still_in_place": still_in_place}:
                self._done = True
                if not still_in_place:
                    self._note("something put another module in the place of socket")
                for test_id in self._into.remaining():
                    self._into.give(test_id, Verdict("error", "unittest gave no verdict"))

    def blame(self, verdict: Verdict, before: int) -> None:
        into, blamed = self._into, self.on_the_stand
        if self._loading:
            self._whole(verdict)
        elif self._done:
            into.give(f"{self._job.module} (interpreter exit)", verdict)
        elif blamed:
            for test_id in blamed:
                into.give(test_id, verdict)
        elif len(into.verdicts) > before:
            into.give(f"{self._job.module} (after {self._last_id})", verdict)
        else:  # no test, no fixture, no progress: another child would come no further
            for test_id in into.remaining():
                into.give(test_id, verdict)

    def _whole(self, verdict: Verdict) -> None:
        self._into.whole = verdict
        if verdict.name != "absent":
            self._into.give(self._job.module, verdict)

    def _note(self, text: str) -> None:
        if text not in self._into.notes:
            self._into.notes.append(text)


class _Child:
    """A child process, its group, its log and the pipe it tells its events through."""

    def __init__(
        self, job: Job, place: Path, only: list[str] | None, interruption: Interruption
    ) -> None:
        self._interruption = interruption
        for name in ("cwd", "tmp"):
            (place / name).mkdir()
        self._log = place / "log"
        self._unread = b""
        self._pipe, told_fd = os.pipe()
        plan = {
            "module": job.module,
            "subject": job.subject,
            "network": job.network,
            "patterns": job.patterns,
            "left_out": job.left_out,
            "only": only,
            "events_fd": told_fd,
        }
        (place / "plan").write_text(json.dumps(plan), encoding="utf-8")
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    # -P: the judge's own folder is not on the tests' path.
                    [sys.executable, "-P", str(_CHILD), str(place / "plan")],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=place / "cwd",
                    env=_environment(place / "tmp"),
                    pass_fds=(told_fd,),
                    start_new_session=True,  # its own group: what a test leaves behind goes with it
                )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(told_fd)

    def events(self, scene: _Scene) -> Iterator[dict[str, Any]]:
        """Events until `done` or the whole-module verdict; _Hung or _Ended if they stop before."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            heard_s = time.monotonic()
            while True:
                self._interruption.check()
                gone = self._gone()  # looked at before reading: what it told last is still read
                if selector.select(0 if gone else _LOOK_S):
                    if not self._read():
                        # No more to come yet alive: a test closed the descriptor it tells through.
                        raise _Ended if self._await_end(_LAST_WORDS_LIMIT_S) else _Hung
                    heard_s = time.monotonic()
                    for event in self._told():
                        yield event
                        if event["event"] in ("done", "module"):
                            return
                elif gone:
                    raise _Ended
                elif time.monotonic() - heard_s > scene.limit_s:
                    raise _Hung

    def remaining_events(self) -> Iterator[dict[str, Any]]:
        """What it had told, unread, before it is killed here."""
        os.killpg(self._process.pid, signal.SIGKILL)
        os.set_blocking(self._pipe, False)
        yield from self._told()
        with contextlib.suppress(BlockingIOError):
            while self._read():
                yield from self._told()

    def _read(self) -> bool:
        chunk = os.read(self._pipe, 65536)
        self._unread += chunk
        return bool(chunk)

    def _told(self) -> Iterator[dict[str, Any]]:
        while b"\n" in self._unread:
            line, _, self._unread = self._unread.partition(b"\n")
            yield json.loads(line)

    def wait(self, limit_s: float) -> int:
        """The exit status of a child that is done; _Hung if it does not get out."""
        if not self._await_end(limit_s):
            raise _Hung
        return self._status()

    def last_words(self) -> str:
        """Every thread's traceback from a child that hangs; it does not survive the question."""
        asked_at = self._log.stat().st_size
        os.kill(self._process.pid, signal.SIGABRT)
        self._await_end(_LAST_WORDS_LIMIT_S)
        return self._logged(asked_at) or "no traceback: the child did not react to SIGABRT"

    def obituary(self) -> str:
        status = self._status()
        how = f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
        return f"the process ended with {how}; the end of what it wrote:\n{self._logged(0)}"

    def end(self) -> None:
        # The leader is not reaped yet, so its number, which is the group's, is still ours.
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._pipe)

    def _gone(self) -> bool:
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, how) is not None

    def _await_end(self, limit_s: float) -> bool:
        deadline_s = time.monotonic() + limit_s
        while not self._gone():
            self._interruption.check()
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.01)
        return True

    def _status(self) -> int:
        how = os.WEXITED | os.WNOWAIT
        ended = os.waitid(os.P_PID, self._process.pid, how)
        assert ended is not None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def _logged(self, start: int) -> str:
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start, size - _DETAIL_CHARS))
            return log.read().decode(errors="backslashreplace").strip()


def _environment(tmp: Path) -> dict[str, str]:
    environment = {**os.environ, "TMPDIR": str(tmp)}
    path = environment.get("PYTHONPATH")
    if path:  # the child works elsewhere: what was relative to here must stay so
        entries = [str(Path(entry).absolute()) for entry in path.split(os.pathsep)]
        environment["PYTHONPATH"] = os.pathsep.join(entries)
    return environment
