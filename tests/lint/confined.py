"""Checks that what is dangerous stands only in the Rust files that are meant for it.

    python tests/lint/confined.py [ROOT]

Comments, texts and tests do not count. The files that may have unsafe code are those of the table
in CONTRIBUTING.md, where each has its reason.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import rust_source

FOLDERS = ("src", "core/src")
UNSAFE_HEADING = "## Where unsafe code stands"


@dataclass(frozen=True)
class Rule:
    what: str
    pattern: re.Pattern[str]
    allowed: frozenset[str]


def rules(root: Path) -> list[Rule]:
    return [
        Rule(
            "unsafe code (CONTRIBUTING.md lists the files that may have it)",
            re.compile(r"\bunsafe\b"),
            unsafe_files(root),
        ),
        Rule(
            "letting go of the interpreter",
            # Socket.detach() is something else: it takes no closure and is called on no token.
            re.compile(
                r"\bpy\b(?:\(\))?\s*\.\s*detach\s*\(|\.\s*detach\s*\(\s*(?:move\s*)?\|"
                r"|\bPython::detach\b|\ballow_threads\b|\bPyEval_(?:Save|Restore)Thread\b"
            ),
            frozenset({"src/call.rs", "src/gil.rs"}),
        ),
        Rule(
            "running signal handlers",
            re.compile(r"\bcheck_signals\b|\bPyErr_CheckSignals\b"),
            frozenset({"src/call.rs"}),
        ),
        Rule(
            "making an exception",
            re.compile(
                r"\bPyErr::(?:new|from_value|from_type)\b|::new_err\b|\bPyErr_(?:Set|New|Format)\w*"
            ),
            frozenset({"src/errors.rs"}),
        ),
        Rule(
            "what may panic",
            re.compile(
                r"\.\s*(?:unwrap|unwrap_err|expect|expect_err|unwrap_unchecked)\s*\("
                r"|\b(?:panic|todo|unimplemented|unreachable)!"
                # An assertion in a constant is checked by the compiler.
                r"|^(?!\s*const\b).*\bassert(?:_eq|_ne)?!",
                re.MULTILINE,
            ),
            frozenset(),
        ),
    ]


def unsafe_files(root: Path) -> frozenset[str]:
    """The first column of the table under the heading; each row must give a reason."""
    _, found, rest = (root / "CONTRIBUTING.md").read_text().partition(f"{UNSAFE_HEADING}\n")
    if not found:
        raise SystemExit(f"CONTRIBUTING.md has no heading {UNSAFE_HEADING!r}")
    section = rest.split("\n## ")[0]
    return frozenset(re.findall(r"^\| `([^`]+)` \| \S.* \|$", section, re.MULTILINE))


def check(root: Path) -> Iterator[str]:
    for path in sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.rs")):
        name = path.relative_to(root).as_posix()
        code = rust_source.code_without_tests(path.read_text())
        for rule in rules(root):
            if name not in rule.allowed:
                for hit in rule.pattern.finditer(code):
                    yield f"{name}:{rust_source.line_number(code, hit.end())}: {rule.what}"
    for name in sorted(unsafe_files(root)):
        if not (root / name).exists():
            yield f"CONTRIBUTING.md: {name} may have unsafe code but does not exist"


def main(arguments: Sequence[str]) -> int:
    root = Path(arguments[0]) if arguments else Path(__file__).parents[2]
    problems = list(check(root))
    for problem in problems:
        print(problem)
    print(f"confined code: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
