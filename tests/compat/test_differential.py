"""The same random programs with `socket` and with `rsnet`: nothing that they can see may differ.

RSNET_DIFFERENTIAL_SEQUENCES  how many programs (20,000 unless told)
RSNET_DIFFERENTIAL_SEED       other programs; those of one seed are always the same
RSNET_DIFFERENTIAL_SHARD      "2/4": only the second quarter of them, for four processes at a time
RSNET_DIFFERENTIAL_ECHO       "1": each program on stderr before it runs, should one crash
"""

import os
import socket as standard
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

import rsnet

from .differential.comparison import lasting_difference
from .differential.grammar import FUNCTIONS, KINDS, METHODS, SCENES, Call
from .differential.rival import FAULTS, rival, wraps_all
from .differential.sequences import every_argument, lines_of, programs
from .differential.world import Program, Surroundings, World

SEQUENCES = int(os.environ.get("RSNET_DIFFERENTIAL_SEQUENCES", "20000"))
SEED = int(os.environ.get("RSNET_DIFFERENTIAL_SEED", "0"))
SHARD, SHARDS = map(int, os.environ.get("RSNET_DIFFERENTIAL_SHARD", "1/1").split("/"))
ECHO = os.environ.get("RSNET_DIFFERENTIAL_ECHO") == "1"

# As many as one test runs. Hypothesis remembers all of a run, which a million would not be good
# for, and a shard takes whole chunks.
CHUNK = 500
CHUNKS = range(-(-SEQUENCES // CHUNK))[SHARD - 1 :: SHARDS]

# A scene is made anew after so many lines, before too much of it is closed or used up.
LINES_PER_SCENE = 12
NONBLOCKING = "[s.setblocking(False) for s in (a, b, c, d)]"

Comparison = Callable[[Program], None]

# SIGALRM is the worlds' own.
pytestmark = pytest.mark.timeout(method="thread")


@pytest.fixture
def surroundings(tmp_path: Path) -> Iterator[Surroundings]:
    before = os.listdir("/proc/self/fd")
    with Surroundings(tmp_path) as surroundings:
        yield surroundings
    assert os.listdir("/proc/self/fd") == before


@pytest.fixture
def compare(surroundings: Surroundings) -> Comparison:
    return comparison_of(rsnet, surroundings)


def comparison_of(subject: ModuleType, surroundings: Surroundings) -> Comparison:
    """Fails when a program tells the subject from the standard library."""
    worlds = World(standard, surroundings), World(subject, surroundings)

    def compare(program: Program) -> None:
        if ECHO:
            print(*program, "", sep="\n", file=sys.__stderr__, flush=True)
        if difference := lasting_difference(program, *worlds):
            raise AssertionError(str(difference))

    return compare


def search(compare: Comparison, seed_number: int, count: int, *phases: Phase) -> None:
    @seed(seed_number)
    @settings(
        max_examples=count,
        phases=(Phase.generate, *phases),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(programs())
    def run(program: Program) -> None:
        compare(program)

    run()


@pytest.mark.parametrize("chunk", CHUNKS)
def test_random_programs(compare: Comparison, chunk: int) -> None:
    count = min(CHUNK, SEQUENCES - chunk * CHUNK)
    print(f"RSNET_DIFFERENTIAL_SEED={SEED}, chunk {chunk} of {count} programs")
    search(compare, SEED * 1_000_000 + chunk, count, Phase.shrink)


def name_of(call: Call) -> str:
    return call.function.split("\n")[-1].split(" = ")[-1].replace("$target.", "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", METHODS, ids=name_of)
def test_every_argument_of_a_method(compare: Comparison, call: Call, kind: str) -> None:
    compare_in_scenes(compare, call, kind)


@pytest.mark.parametrize("call", FUNCTIONS, ids=name_of)
def test_every_argument_of_a_function(compare: Comparison, call: Call) -> None:
    compare_in_scenes(compare, call, "tcp")


def compare_in_scenes(compare: Comparison, call: Call, kind: str) -> None:
    statements = list(every_argument(call, kind))
    for start in range(0, len(statements), LINES_PER_SCENE):
        lines = statements[start : start + LINES_PER_SCENE]
        compare(lines_of([*SCENES[kind], NONBLOCKING, *lines]))


def test_stand_in_without_a_fault(surroundings: Surroundings) -> None:
    compare = comparison_of(rival(wraps_all), surroundings)
    search(compare, 0, CHUNK)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(surroundings: Surroundings, fault: str) -> None:
    compare = comparison_of(rival(FAULTS[fault]), surroundings)
    with pytest.raises(AssertionError, match="After the last of these lines"):
        search(compare, 0, 4 * CHUNK)
