"""Runs one test module with one `socket` and tells the judge every verdict as it happens.

The subject has to stand in for `socket` before anything imports `socket`: before unittest, before
asyncio, before test.support. A module that came first would go on using the standard library, and
its tests would pass without having tried the subject at all. So the imports above `stand_in` are
only such as do not import `socket`, and `stand_in` checks that.

The one exception is `ssl`, which comes first. `ssl.SSLSocket` inherits from whatever
`socket.socket` is when `ssl` is imported, and OpenSSL's binding accepts a subclass of the C type
`_socket.socket` and nothing else. Import `ssl` after the swap and every test that wraps a socket
fails, whatever the subject does right.
"""

import faulthandler
import json
import os
import resource
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any


class Events:
    """JSON lines to the judge, on a descriptor no test can meet by accident."""

    def __init__(self, fd: int) -> None:
        import fcntl

        # High and not inheritable: tests that count, reuse or inherit descriptors do not see it,
        # and a program a test leaves behind does not hold the judge's pipe open.
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, min(500, most // 2))
        os.close(fd)
        self._owner_pid = os.getpid()

    def send(self, event: str, **fields: object) -> None:
        if os.getpid() != self._owner_pid:
            return  # a fork made by a test that ran on into the runner: not a verdict
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        while line:
            line = line[os.write(self._fd, line) :]


def stand_in(subject: str) -> tuple[types.ModuleType, list[str]]:
    """Put `subject` in the place of `socket`; name the modules that still hold the standard one."""
    early = sorted({"socket", "ssl", "unittest", "asyncio"} & sys.modules.keys())
    if early:
        raise RuntimeError(f"imported before the judge could put {subject} in place: {early}")
    import socket as standard
    import ssl  # noqa: F401  (before the subject: see the module docstring)

    __import__(subject)
    module = sys.modules[subject]
    sys.modules["socket"] = module
    return module, _holders(standard, subject) if module is not standard else []


def _holders(standard: types.ModuleType, subject: str) -> list[str]:
    expected = {"socket", "ssl", "_socket"}
    return sorted(
        name
        for name, module in list(sys.modules.items())
        if name not in expected and name.partition(".")[0] != subject
        # By identity: a module's namespace holds objects whose == does anything at all.
        if any(
            v is standard or v is standard.socket for v in getattr(module, "__dict__", {}).values()
        )
    )


class Resources(dict[str, None]):
    """test.support's resources: all of them, and the public network only when told.

    All is what `python -m unittest` gives. A mapping, because later versions ask for a value.
    """

    def __init__(self, *, network: bool) -> None:
        super().__init__()
        self._network = network

    def __contains__(self, name: object) -> bool:
        return self._network or name != "network"


def _set_resources(*, network: bool) -> None:
    try:
        from test import support  # type: ignore[import-not-found]
    except ModuleNotFoundError:
        return  # no test package: the module under test is then absent, or needs no resources
    support.use_resources = Resources(network=network)


def _load(name: str) -> types.ModuleType | tuple[str, str]:
    """The module, or the verdict that stands for all of it, with its detail."""
    import importlib
    import traceback
    import unittest

    try:
        return importlib.import_module(name)
    except unittest.SkipTest as skipped:
        return "skip", str(skipped)
    except ModuleNotFoundError as missing:
        if missing.name and f"{name}.".startswith(f"{missing.name}."):
            return "absent", str(missing)
        return "error", traceback.format_exc()
    except Exception:
        return "error", traceback.format_exc()


def _flat(suite: Iterable[Any]) -> Iterator[Any]:
    for test in suite:
        if hasattr(test, "_testMethodName"):
            yield test
        else:
            yield from _flat(test)


@dataclass(frozen=True)
class Planned:
    """What is known of a test before it runs. Not the test: unittest drops it once it has run."""

    id: str
    class_name: str
    module_name: str

    @classmethod
    def of(cls, test: Any) -> "Planned":
        kind = type(test)
        return cls(test.id(), f"{kind.__module__}.{kind.__qualname__}", kind.__module__)


def _matches(test_id: str, patterns: list[str]) -> bool:
    """As `unittest -k`: a pattern without a star may stand anywhere."""
    from fnmatch import fnmatchcase

    return any(fnmatchcase(test_id, p if "*" in p else f"*{p}*") for p in patterns)


def _chosen(module: types.ModuleType, plan: dict[str, Any]) -> list[Any]:
    import unittest

    left_out, patterns, only = plan["left_out"], plan["patterns"], plan["only"]
    wanted = None if only is None else set(only)
    chosen: dict[str, Any] = {}
    for test in _flat(unittest.defaultTestLoader.loadTestsFromModule(module)):
        planned = Planned.of(test)
        if planned.class_name in left_out or planned.id in chosen:
            continue
        if patterns and not _matches(planned.id, patterns):
            continue
        if wanted is None or planned.id in wanted:
            chosen[planned.id] = test
    return list(chosen.values())


def _make_result(send: Callable[..., None], planned: list[Planned]) -> Any:
    """A unittest result that sends each test's verdict. A function, as unittest comes late."""
    import traceback
    import unittest

    severity = ("ok", "expected-failure", "skip", "unexpected-success", "fail", "error")

    class Result(unittest.TestResult):
        def __init__(self) -> None:
            super().__init__()
            self._running: str | None = None
            self._verdict = ""
            self._details: list[str] = []
            self._started_s = 0.0

        def startTest(self, test: Any) -> None:
            super().startTest(test)
            self._running, self._verdict, self._details = test.id(), "", []
            self._started_s = time.monotonic()
            send("start", id=self._running)

        def stopTest(self, test: Any) -> None:
            super().stopTest(test)
            running, self._running = self._running, None
            # No verdict: a KeyboardInterrupt is on its way through unittest and ends this child.
            # Not running: 3.12.1 skips a test without starting it; _note has told it.
            if running is not None and self._verdict:
                taken_s = round(time.monotonic() - self._started_s, 3)
                self._tell(running, self._verdict, "\n".join(self._details), taken_s)

        def _tell(self, test_id: str, verdict: str, detail: str, taken_s: float = 0.0) -> None:
            send("verdict", id=test_id, verdict=verdict, detail=detail, taken_s=taken_s)

        def _note(self, test: Any, verdict: str, detail: str = "") -> None:
            if self._running is None:
                for test_id in _answerable(test, planned):
                    self._tell(test_id, verdict, detail)
                return
            if self._verdict == "" or severity.index(verdict) > severity.index(self._verdict):
                self._verdict = verdict
            if detail:
                self._details.append(detail)

        def _note_exception(self, test: Any, verdict: str, err: Any) -> None:
            self._note(test, verdict, "".join(traceback.format_exception(*err)))

        def addSuccess(self, test: Any) -> None:
            self._note(test, "ok")

        def addError(self, test: Any, err: Any) -> None:
            self._note_exception(test, "error", err)

        def addFailure(self, test: Any, err: Any) -> None:
            self._note_exception(test, "fail", err)

        def addSkip(self, test: Any, reason: str) -> None:
            self._note(test, "skip", reason)

        def addExpectedFailure(self, test: Any, err: Any) -> None:
            self._note(test, "expected-failure")

        def addUnexpectedSuccess(self, test: Any) -> None:
            self._note(test, "unexpected-success", "passed, though marked as an expected failure")

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            if err is None:
                return
            failed = issubclass(err[0], test.failureException)
            text = f"{subtest}\n" + "".join(traceback.format_exception(*err))
            self._note(test, "fail" if failed else "error", text)

    return Result()


def _answerable(test: Any, planned: list[Planned]) -> list[str]:
    """The tests a verdict given outside any test is about.

    unittest reports a fixture under a name such as `setUpClass (module.Class)`. A class or module
    that could not be set up ran none of its tests, so all of them share the verdict. Tearing down
    comes after their verdicts and is answered for under its own name.
    """
    fixture, _, scope = test.id().partition(" (")
    scope = scope.removesuffix(")")
    shared: list[str] = []
    if fixture == "setUpClass":
        shared = [p.id for p in planned if p.class_name == scope]
    elif fixture == "setUpModule":
        shared = [p.id for p in planned if p.module_name == scope]
    return shared or [test.id()]


def _make_suite(send: Callable[..., None], tests: list[Any], planned: list[Planned]) -> Any:
    import unittest

    class Suite(unittest.TestSuite):
        """Says whose fixture runs, so that a hang or a crash in it can be answered for."""

        def _handleModuleFixture(self, test: Any, result: Any) -> None:
            module, previous = type(test).__module__, getattr(result, "_previousTestClass", None)
            if module != getattr(previous, "__module__", None):
                send("setting-up", ids=[p.id for p in planned if p.module_name == module])
            super()._handleModuleFixture(test, result)  # type: ignore[misc]

        def _handleClassSetUp(self, test: Any, result: Any) -> None:
            if type(test) is not getattr(result, "_previousTestClass", None):
                name = Planned.of(test).class_name
                send("setting-up", ids=[p.id for p in planned if p.class_name == name])
            super()._handleClassSetUp(test, result)  # type: ignore[misc]

    return Suite(tests)


def _run(plan: dict[str, Any], events: Events) -> None:
    loaded = _load(plan["module"])
    if isinstance(loaded, tuple):
        verdict, detail = loaded
        events.send("module", verdict=verdict, detail=detail)
        return
    tests = _chosen(loaded, plan)
    planned = [Planned.of(test) for test in tests]
    events.send("collected", ids=[p.id for p in planned])
    suite = _make_suite(events.send, tests, planned)
    del tests
    suite.run(_make_result(events.send, planned))


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    events = Events(plan["events_fd"])
    # The judge ends a hung child with SIGABRT: faulthandler then writes every thread's traceback.
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        module, holders = stand_in(plan["subject"])
    except Exception:
        import traceback

        events.send("module", verdict="error", detail=traceback.format_exc())
        return
    origin = getattr(module, "__file__", None)
    events.send("in-place", origin=origin, holders=holders)

    import warnings

    warnings.simplefilter("default")  # as `python -m unittest`
    _set_resources(network=plan["network"])
    _run(plan, events)
    events.send("done", still_in_place=sys.modules.get("socket") is module)


if __name__ == "__main__":
    main()
