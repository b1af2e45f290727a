"""What a test can come to, and when one verdict is worse than another."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

# From best to worst; those of one row are equally bad. `missing` is a test that the standard
# library runs and the subject never gets to, such as one in a class that is only defined if
# `socket` has some name; `absent` is said of a whole module that the interpreter does not have.
_ROWS = (
    ("ok",),
    ("expected-failure",),
    ("skip",),
    ("fail", "error", "unexpected-success", "missing", "absent"),
    ("hang",),
    ("crash",),
)
_SEVERITY = {name: row for row, names in enumerate(_ROWS) for name in names}
_SKIP = _SEVERITY["skip"]


@dataclass
class Verdict:
    name: str
    detail: str = ""
    taken_s: float = 0.0

    @property
    def severity(self) -> int:
        return _SEVERITY[self.name]

    @property
    def column(self) -> str:
        """Where it counts in a table: ok, failed or skipped."""
        if self.severity == _SKIP:
            return "skipped"
        return "ok" if self.severity < _SKIP else "failed"


@dataclass
class ModuleRun:
    """One module's run with one `socket`."""

    collected: list[str] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    # The module could not be imported, is skipped as a whole, or is not there ("absent").
    whole: Verdict | None = None
    origin: str | None = None
    notes: list[str] = field(default_factory=list)
    taken_s: float = 0.0
    finished: bool = False

    def give(self, test_id: str, verdict: Verdict) -> None:
        """A test's class may answer for it twice (set-up, clean-up): the worse verdict stays."""
        known = self.verdicts.get(test_id)
        if known is None or verdict.severity > known.severity:
            self.verdicts[test_id] = verdict

    def remaining(self) -> list[str]:
        return [test_id for test_id in self.collected if test_id not in self.verdicts]

    def count(self, column: str) -> int:
        return sum(verdict.column == column for verdict in self.verdicts.values())


@dataclass
class Deviations:
    """CPython tests that are allowed to be worse, each with the reason."""

    reasons: dict[str, str]

    @classmethod
    def load(cls, path: Path) -> "Deviations":
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("test", [])
        return cls({table["id"]: table["reason"] for table in tables})


@dataclass
class Worse:
    test_id: str
    standard: str
    subject: Verdict


def worse_tests(standard: ModuleRun, subject: ModuleRun) -> list[Worse]:
    """Every test whose verdict is worse with the subject than with the standard library."""
    worse = []
    for test_id in {**standard.verdicts, **subject.verdicts}:
        was, now = standard.verdicts.get(test_id), subject.verdicts.get(test_id)
        if now is None:
            if not subject.finished:
                continue  # interrupted before it was its turn
            now = subject.whole or Verdict("missing", "not among the tests the subject was given")
        if was is None:
            # Only the subject came to this test, or to this fixture: it has to be no failure.
            if standard.finished and now.column == "failed":
                worse.append(Worse(test_id, "no verdict", now))
        elif now.severity > was.severity:
            worse.append(Worse(test_id, was.name, now))
    return worse
