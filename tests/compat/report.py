"""The judge's findings: as text for people and as JSON for programs."""

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from verdicts import Deviations, ModuleRun, Worse, worse_tests

_DETAIL_LINES = 12


@dataclass
class ModuleFindings:
    name: str
    standard: ModuleRun = field(default_factory=ModuleRun)
    subject: ModuleRun = field(default_factory=ModuleRun)
    worse: list[Worse] = field(default_factory=list)

    @property
    def absent(self) -> str | None:
        whole = self.standard.whole
        return whole.detail if whole is not None and whole.name == "absent" else None

    @property
    def finished(self) -> bool:
        return self.standard.finished and self.subject.finished

    def compare(self) -> None:
        self.worse = worse_tests(self.standard, self.subject)


@dataclass
class Report:
    subject: str
    deviations: Deviations
    left_out: dict[str, str]
    hang_limit_s: float
    patterns: list[str]
    modules: list[ModuleFindings] = field(default_factory=list)
    partial: bool = False

    @property
    def ran(self) -> bool:
        return any(module.standard.verdicts for module in self.modules)

    def worse(self) -> list[Worse]:
        """Worse, and not allowed to be."""
        return [
            worse for worse in self._all_worse() if worse.test_id not in self.deviations.reasons
        ]

    def allowed(self) -> list[Worse]:
        return [worse for worse in self._all_worse() if worse.test_id in self.deviations.reasons]

    def stale(self) -> list[str]:
        """Deviations whose test ran with both and was not worse."""
        worse = {worse.test_id for worse in self._all_worse()}
        ran = {
            test_id
            for module in self.modules
            if module.finished
            for test_id in module.standard.verdicts
        }
        return [test_id for test_id in self.deviations.reasons if test_id in ran - worse]

    def totals(self) -> tuple[int, int, int]:
        """Passed, failed (worse and not allowed to be), skipped."""
        worse = {worse.test_id for worse in self._all_worse()}
        same = [
            verdict.column
            for module in self.modules
            for test_id, verdict in module.subject.verdicts.items()
            if test_id not in worse
        ]
        return same.count("ok"), len(self.worse()), same.count("skipped")

    def _all_worse(self) -> list[Worse]:
        return [worse for module in self.modules for worse in module.worse]

    def text(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{_interpreter()}: {self.subject} beside the standard library's socket"
        for origin in sorted({m.subject.origin for m in self.modules if m.subject.origin}):
            yield f"{self.subject} is {origin}"
        if self.partial:
            yield "PARTIAL: interrupted; what follows covers only what ran until then"
        yield ""
        yield from self._table()
        yield from self._worse_section()
        yield from self._allowed_section()
        yield from _section(
            "stale deviations (listed as allowed, but not worse)", [f"  {t}" for t in self.stale()]
        )
        yield from _section("left out", [f"  {name}: {why}" for name, why in self.left_out.items()])
        yield from _section("remarks", list(self._remarks()))
        yield ""
        passed, failed, skipped = self.totals()
        yield f"{passed} passed, {failed} failed, {skipped} skipped"

    def _table(self) -> Iterator[str]:
        width = max([len(module.name) for module in self.modules] + [6])
        yield f"{'':{width}}  {'standard library':^26}  {self.subject:^26}"
        columns = f"{'ok':>6} {'failed':>6} {'skipped':>7} {'s':>4}"
        yield f"{'module':{width}}  {columns}  {columns}  worse"
        for module in self.modules:
            if module.absent is not None:
                yield f"{module.name:{width}}  not on this interpreter: {module.absent}"
                continue
            cells = "  ".join(_cells(run) for run in (module.standard, module.subject))
            yield f"{module.name:{width}}  {cells}  {len(module.worse):5}"

    def _worse_section(self) -> Iterator[str]:
        worse, lines = self.worse(), []
        # A fixture or an import that failed answers for many tests: its detail is shown once.
        for detail, same in groupby(worse, key=lambda w: w.subject.detail):
            lines += [f"  {w.test_id}: {w.standard} -> {w.subject.name}" for w in same]
            lines += [f"      {line}" for line in detail.splitlines()[-_DETAIL_LINES:]]
        yield from _section(f"worse than the standard library ({len(worse)})", lines)

    def _allowed_section(self) -> Iterator[str]:
        lines: list[str] = []
        for worse in self.allowed():
            lines.append(f"  {worse.test_id}: {worse.standard} -> {worse.subject.name}")
            lines += [f"      {line}" for line in worse.subject.detail.splitlines()[-3:]]
            lines.append(f"      reason: {self.deviations.reasons[worse.test_id].strip()}")
        yield from _section("worse, and allowed to be (deviations.toml)", lines)

    def _remarks(self) -> Iterator[str]:
        for module in self.modules:
            for name, run in (
                ("standard library", module.standard),
                (self.subject, module.subject),
            ):
                for note in run.notes:
                    yield f"  {module.name}, {name}: {note}"
                whole = run.whole
                if whole is not None and whole.name != "absent":
                    last = (whole.detail.splitlines() or [""])[-1]
                    yield f"  {module.name}, {name}: the whole module is a {whole.name}: {last}"

    def json(self) -> dict[str, Any]:
        passed, failed, skipped = self.totals()
        return {
            "interpreter": _interpreter(),
            "executable": sys.executable,
            "subject": self.subject,
            "hang_limit_s": self.hang_limit_s,
            "patterns": self.patterns,
            "partial": self.partial,
            "passed": passed,
            "failed": failed,
            "skipped": skipped,
            "worse": [_worse_json(worse) for worse in self.worse()],
            "allowed": [_worse_json(worse) for worse in self.allowed()],
            "stale_deviations": self.stale(),
            "left_out": self.left_out,
            "modules": {module.name: _module_json(module) for module in self.modules},
        }


def _interpreter() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _cells(run: ModuleRun) -> str:
    ok, failed, skipped = (run.count(column) for column in ("ok", "failed", "skipped"))
    return f"{ok:6} {failed:6} {skipped:7} {run.taken_s:4.0f}"


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        yield from lines


def _worse_json(worse: Worse) -> dict[str, str]:
    return {
        "id": worse.test_id,
        "standard": worse.standard,
        "subject": worse.subject.name,
        "detail": worse.subject.detail,
    }


def _module_json(module: ModuleFindings) -> dict[str, Any]:
    sides = {"standard": module.standard, "subject": module.subject}
    return {"absent": module.absent, **{side: _run_json(run) for side, run in sides.items()}}


def _run_json(run: ModuleRun) -> dict[str, Any]:
    return {
        "finished": run.finished,
        "taken_s": round(run.taken_s, 3),
        "ok": run.count("ok"),
        "failed": run.count("failed"),
        "skipped": run.count("skipped"),
        "notes": run.notes,
        "tests": {
            test_id: {"verdict": v.name, "taken_s": v.taken_s, "detail": v.detail}
            for test_id, v in run.verdicts.items()
        },
    }
