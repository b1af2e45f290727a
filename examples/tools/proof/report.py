"""The table for people and the JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

from proof.measure import Plan, Proof, Row
from proof.rival import SUBJECTS

HEADINGS = (
    *("tool", "operation", "timeout", "socket µs", "rsnet µs", "ratio", "interval"),
    *("calls socket", "calls rsnet", "verdict"),
)
TEXT_COLUMNS = 3


def table(proofs: Sequence[Proof]) -> str:
    lines = [HEADINGS, *(cells(row) for proof in proofs for row in proof.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if column < TEXT_COLUMNS else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def cells(row: Row) -> tuple[str, ...]:
    assert row.comparison is not None
    times = (f"{ns / 1000:.1f}" for ns in (row.comparison.socket_ns, row.comparison.rsnet_ns))
    return (
        row.tool,
        row.operation,
        timeout(row),
        *times,
        f"{row.comparison.ratio:.3f}",
        f"{row.comparison.low:.3f}-{row.comparison.high:.3f}",
        *(f"{sum(row.calls[subject].values()):.1f}" for subject in SUBJECTS),
        row.comparison.verdict,
    )


def timeout(row: Row) -> str:
    if not row.has_timeout:
        return "-"
    return "no" if row.timeout_s is None else f"{row.timeout_s:g} s"


def summary(proof: Proof) -> str:
    """One line for a tool whose results were equal; one for each difference otherwise."""
    if proof.failure:
        return f"FAILED     {proof.tool}: {proof.failure}"
    if proof.differences:
        return "\n".join(f"DIFFERENT  {text}" for text in proof.differences)
    return f"{proof.tool}: {proof.compared} results equal"


def as_json(proofs: Sequence[Proof], plan: Plan | None) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "server_on_another_core": plan.apart if plan else None,
        "tools": [
            {
                "tool": proof.tool,
                "holds": proof.holds,
                "compared": proof.compared,
                "differences": proof.differences,
                "failure": proof.failure,
                "rows": [row_as_json(row) for row in proof.rows],
            }
            for proof in proofs
        ],
    }


def row_as_json(row: Row) -> dict[str, Any]:
    found = row.comparison
    assert found is not None
    return {
        "operation": row.operation,
        "has_timeout_setting": row.has_timeout,
        "timeout_s": row.timeout_s,
        "socket_ns": found.socket_ns,
        "rsnet_ns": found.rsnet_ns,
        "ratio": found.ratio,
        "interval": [found.low, found.high],
        "verdict": found.verdict,
        "measured_twice": row.doubted is not None,
        "system_calls": row.calls,
    }
