"""From times to verdicts, and from strace's table to counts."""

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "tools"))

from proof.comparison import CONFIDENCE, Round, compare
from proof.system_calls import parse


def times(ratio: float, *, seed: int = 1, pairs: int = 6, rounds: int = 10) -> list[list[Round]]:
    """Times of which the standard library's are `ratio` times rsnet's, but for noise of 2%."""
    draw = random.Random(seed)

    def one(mean_ns: float) -> float:
        return mean_ns * draw.uniform(0.98, 1.02)

    return [[(one(1000 * ratio), one(1000)) for _ in range(rounds)] for _ in range(pairs)]


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(2, "faster"), (1.05, "faster"), (0.95, "SLOWER"), (0.5, "SLOWER")]
)
def test_verdict(ratio: float, verdict: str) -> None:
    found = compare(times(ratio))
    assert found.verdict == verdict
    assert found.low < found.ratio < found.high
    assert found.low < ratio < found.high


def test_equal_times_are_called_equal_as_often_as_promised() -> None:
    # Neither less often nor always. 4 standard deviations around what is expected of 400.
    verdicts = Counter(compare(times(1, seed=seed)).verdict for seed in range(400))
    assert abs(verdicts["equal"] - 400 * CONFIDENCE) < 4 * (400 * CONFIDENCE * 0.05) ** 0.5


def test_what_pairs_of_processes_do_not_agree_on_is_not_decided() -> None:
    # Rounds agree within each pair. Taken for independent, 60 of them would say "faster".
    shifts = (0.96, 1.10, 0.97, 1.08, 1.02, 1.03)
    taken = [times(shift, seed=seed, pairs=1)[0] for seed, shift in enumerate(shifts)]
    assert compare(taken).verdict == "equal"
    assert compare(taken).wide


def test_a_machine_that_becomes_slower_meanwhile_changes_nothing() -> None:
    taken = times(1.05)
    drifting = [
        [(one * factor, other * factor) for one, other in pair]
        for factor, pair in enumerate(taken, start=1)
    ]
    steady, drifted = compare(taken), compare(drifting)
    assert drifted.ratio == pytest.approx(steady.ratio)
    assert drifted.low == pytest.approx(steady.low)


SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000300           3       100        20 recvfrom
 40.00    0.000200           2       100           sendto
  0.00    0.000000           0         1           poll
------ ----------- ----------- --------- --------- ----------------
100.00    0.000500           2       201        20 total
"""


def test_summary_of_strace() -> None:
    assert parse(SUMMARY) == {"recvfrom": 100, "sendto": 100, "poll": 1}


def test_empty_summary_of_strace() -> None:
    assert parse("") == {}
