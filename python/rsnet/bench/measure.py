"""Measures a row: all its variants take turns, round by round, in random order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from . import instructions, systemcalls
from .catalogue import Row
from .process import Missing, Worker, floor_worker, python_worker
from .verdict import RoundFigures

MOST_ROUNDS = 600
LARGEST_AMOUNT = 100_000


@dataclass(frozen=True)
class Plan:
    """How a run is made: `cores` are the measured one and the other."""

    cores: tuple[int, int]
    floor: str | None
    is_quick: bool
    seed: int
    counts_calls: bool
    counts_instructions: bool

    @property
    def generations(self) -> int:
        """How often the processes of a row are started anew, each time with other luck.

        Where the memory of a process lies decides how well caches serve it, all its life long.
        """
        return 1 if self.is_quick else 3

    @property
    def row_s(self) -> float:
        return 0.3 if self.is_quick else 6.0

    @property
    def round_s(self) -> float:
        return 0.003 if self.is_quick else 0.008

    @property
    def fewest_rounds(self) -> int:
        return 3 if self.is_quick else 11


@dataclass
class Measured:
    """What was measured of a row. missing: why it was not."""

    row: Row
    rounds: list[RoundFigures] = field(default_factory=list)
    amount: int = 0
    missing: str = ""
    notes: list[str] = field(default_factory=list)
    calls: dict[str, Mapping[str, float]] = field(default_factory=dict)


def measure(row: Row, plan: Plan) -> Measured:
    """Raises process.Failed when a worker ends."""
    measured = Measured(row)
    try:
        if row.metric == "instructions":
            if not plan.counts_instructions:
                raise Missing("left out of a quick run, unless --row names it")
            measured.rounds = [instructions.figures(plan.cores)]
            return measured
        for generation in range(plan.generations):
            with _workers(row, plan, measured) as workers:
                measured.amount = measured.amount or _amount(row, plan, workers["stdlib"])
                _take_turns(measured, plan, workers, generation)
                if plan.counts_calls and row.is_counted and not measured.calls:
                    _count_calls(measured, workers)
    except Missing as missing:
        measured.missing = str(missing)
    return measured


@contextmanager
def _workers(row: Row, plan: Plan, measured: Measured) -> Iterator[dict[str, Worker]]:
    """The variants of the row that are there, by name; Missing when one of the two is not."""
    workers: dict[str, Worker] = {}
    try:
        workers["stdlib"] = python_worker(row.stdlib or row.name, "socket", plan.cores, plan.floor)
        workers["rsnet"] = python_worker(row.name, "rsnet", plan.cores, plan.floor)
        if row.peer:
            workers["peer"] = python_worker(
                row.peer.workload, row.peer.module, plan.cores, plan.floor
            )
        if plan.floor:
            workers["floor"] = floor_worker(row.name, plan.cores, plan.floor)
        for name, worker in list(workers.items()):
            try:
                worker.wait_until_ready()
            except Missing as missing:
                if name in ("stdlib", "rsnet"):
                    raise
                if name == "peer" and row.peer:
                    measured.notes = [f"{row.peer.label} is left out: it lacks {missing}"]
                workers.pop(name).close()
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


def _amount(row: Row, plan: Plan, worker: Worker) -> int:
    """The amount that keeps the standard library busy for a round, feeding included."""
    fixed = row.quick_amount if plan.is_quick else row.amount
    if fixed is not None:
        return fixed
    amount = 8
    while True:
        # The shortest of three: one stolen time slice must not make all rounds too small.
        taken_s = min(_wall_s(worker, amount) for _ in range(3))
        if taken_s > plan.round_s / 4 or amount >= LARGEST_AMOUNT:
            return max(1, round(amount * plan.round_s / taken_s))
        amount *= 2


def _wall_s(worker: Worker, amount: int) -> float:
    started_s = perf_counter()
    worker.run(amount)
    return perf_counter() - started_s


def _take_turns(
    measured: Measured, plan: Plan, workers: dict[str, Worker], generation: int
) -> None:
    chance = random.Random(f"{plan.seed} {measured.row.name} {generation}")
    done, share = len(measured.rounds), 1 / plan.generations
    for worker in workers.values():
        # Caches fill, code is specialised: the first round is not counted.
        worker.run(measured.amount)
    ends_s = perf_counter() + plan.row_s * measured.row.patience * share
    order = list(workers)
    while len(measured.rounds) - done < MOST_ROUNDS * share:
        if perf_counter() > ends_s and len(measured.rounds) - done >= plan.fewest_rounds * share:
            return
        chance.shuffle(order)
        figures = {name: workers[name].run(measured.amount) for name in order}
        measured.rounds.append(figures)


def _count_calls(measured: Measured, workers: dict[str, Worker]) -> None:
    row = measured.row
    for name, worker in workers.items():
        try:
            measured.calls[name] = systemcalls.per_operation(worker, row.batch, row.feeding)
        except systemcalls.NotCounted as reason:
            measured.notes.append(f"system calls of {name} were not counted: {reason}")
