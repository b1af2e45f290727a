"""`python -m rsnet bench`."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from . import disturbance, plot, report, systemcalls, table
from .catalogue import ROWS, Row
from .measure import Measured, Plan, measure
from .process import Failed
from .verdict import ratios, row_outcomes, worst

INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    """Measures rsnet beside the standard library and prints a table.

    argv: the arguments after `bench`. Returns the exit code: 0, 1 when a row could not be measured
    (or, with --strict, missed its target), 2 for wrong arguments, 130 when interrupted.

    >>> main(["--list", "--row", "udp-self"])
    udp-self                   UDP sendto+recvfrom to itself, blocking
    0
    """
    options = _parser().parse_args(argv)
    rows = [row for row in ROWS if _is_wanted(row, options.row)]
    if not rows:
        print(f"No row is called {' or '.join(options.row)}: see --list.", file=sys.stderr)
        return 2
    if options.list:
        for row in rows:
            print(f"{row.name:26} {row.title}")
        return 0
    try:
        _check(options)
        return _run(rows, options)
    except (OSError, plot.NoPlot) as reason:
        print(reason, file=sys.stderr)
        return 1


def _check(options: argparse.Namespace) -> None:
    """Finds out what would fail before the minutes that measuring takes, not after."""
    if options.floor:
        subprocess.run([options.floor, "--version"], capture_output=True)
    if options.json:
        Path(options.json).touch()
    if options.plot:
        plot.pyplot()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rsnet bench",
        description="Measures rsnet beside the standard library, on this machine, over loopback.",
    )
    parser.add_argument("--quick", action="store_true", help="less than a minute, larger spreads")
    parser.add_argument(
        "--row", action="append", default=[], metavar="NAME", help="only this row (or: 'recv*')"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios there (png, svg, pdf)")
    parser.add_argument("--floor", metavar="PROGRAM", help="the rsnet-floor binary, if built")
    parser.add_argument("--seed", type=int, help="of the order in which variants take turns")
    parser.add_argument(
        "--strict", action="store_true", help="exit code 1 when a target is not met"
    )
    return parser


def _is_wanted(row: Row, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(row.name, pattern) for pattern in patterns)


def _run(rows: Sequence[Row], options: argparse.Namespace) -> int:
    allowed = os.sched_getaffinity(0)
    far, *_, near = sorted(allowed) * 2
    plan = Plan(
        cores=(near, far),
        floor=str(Path(options.floor).resolve()) if options.floor else None,
        is_quick=options.quick,
        seed=random.SystemRandom().getrandbits(32) if options.seed is None else options.seed,
        counts_calls=systemcalls.is_there() and not options.quick,
        # Starting Python under callgrind takes many seconds.
        counts_instructions=bool(options.row) or not options.quick,
    )
    # What is measured has its core for itself.
    os.sched_setaffinity(0, {far})
    measured: list[Measured] = []
    before = disturbance.processor()
    try:
        code = _measure_all(rows, plan, measured)
    except KeyboardInterrupt:
        print("interrupted: these rows were measured", file=sys.stderr)
        code = INTERRUPTED
    finally:
        os.sched_setaffinity(0, allowed)
    others = disturbance.others_share(before, disturbance.processor())
    print(table.table(measured, plan.floor is not None, others), flush=True)
    if options.json:
        Path(options.json).write_text(report.as_json(measured, plan, others))
    if options.plot:
        plot.plot(measured, options.plot)
    if options.strict and not all(map(_is_met, measured)):
        return code or 1
    return code


def _measure_all(rows: Sequence[Row], plan: Plan, measured: list[Measured]) -> int:
    code = 0
    for number, row in enumerate(rows, 1):
        _say(f"[{number}/{len(rows)}] {row.name} ")
        try:
            one = measure(row, plan)
        except Failed as failed:
            code = 1
            one = Measured(row, missing=f"failed: {failed}")
        measured.append(one)
        _say(f"{_summary(one)}\n")
    return code


def _summary(measured: Measured) -> str:
    if measured.missing:
        return f"missing: {measured.missing}"
    ratio = ratios(measured.rounds, "rsnet", measured.row.metric)
    return f"{table.times(ratio.median)}, {_verdict(measured)}"


def _verdict(measured: Measured) -> str:
    return worst([each.verdict for each in row_outcomes(measured.row, measured.rounds)])


def _is_met(measured: Measured) -> bool:
    return not measured.missing and _verdict(measured) in ("met", "no target")


def _say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)
