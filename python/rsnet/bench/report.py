"""The run as JSON, for machines."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .measure import Measured, Plan
from .spread import Spread, spread
from .verdict import Outcome, ratios, row_outcomes, worst


def as_json(rows: Sequence[Measured], plan: Plan, others_share: float) -> str:
    """All that was measured. others_share: of the cores' time, what other programs took."""
    document = {
        "machine": _machine(),
        "others_share": others_share,
        "quick": plan.is_quick,
        "seed": plan.seed,
        "cores": list(plan.cores),
        "rows": [_row(measured) for measured in rows],
    }
    return json.dumps(document, indent=1)


def _machine() -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "kernel": platform.release(),
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
    }


def _row(measured: Measured) -> dict[str, Any]:
    row = measured.row
    document: dict[str, Any] = {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "metric": row.metric,
        "missing": measured.missing or None,
        "notes": measured.notes,
        "amount": measured.amount,
        "rounds": len(measured.rounds),
    }
    if measured.missing:
        return document | {"verdict": "missing"}
    outcomes = row_outcomes(row, measured.rounds)
    return document | {
        "verdict": worst([each.verdict for each in outcomes]),
        "peer": row.peer.label if row.peer else None,
        "variants": {name: _variant(measured, name) for name in measured.rounds[0]},
        "targets": [_target(each) for each in outcomes],
    }


def _variant(measured: Measured, name: str) -> dict[str, Any]:
    metrics = measured.rounds[0][name]
    return {
        "figures": {
            metric: _spread(spread([one[name][metric] for one in measured.rounds]))
            for metric in metrics
        },
        "against_stdlib": _spread(ratios(measured.rounds, name, measured.row.metric)),
        "system_calls": measured.calls.get(name),
    }


def _target(outcome: Outcome) -> dict[str, Any]:
    return {
        "kind": outcome.target.kind.name.lower(),
        "meaning": outcome.target.kind.value,
        "metric": outcome.target.metric,
        "bound": outcome.target.bound,
        "value": _spread(outcome.value),
        "verdict": outcome.verdict,
    }


def _spread(value: Spread) -> dict[str, float]:
    return {"median": value.median, "low": value.low, "high": value.high}
