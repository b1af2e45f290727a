"""One tool with both modules: results, times and system calls."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proof import servers, system_calls
from proof.comparison import Comparison, Round, compare
from proof.failure import Failed
from proof.operations import Tool
from proof.rival import SUBJECTS, Rival, rival

# Long enough never to pass on loopback; what is measured is that there is one.
TIMEOUT_S = 5.0
WARM_UP = 3
# Operations whose system calls are counted: a whole number of each, and some room for an odd one.
LEAST_COUNTED, MOST_COUNTED = 4, 50


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    pairs: int
    most_pairs: int
    # Fewer where the operations are slow: a pair's rounds of one operation end after `pair_ns`.
    rounds: int
    least_rounds: int
    pair_ns: float
    block_ns: float
    count_ns: float
    # Whether the server runs on the client's core or on another one.
    apart: bool


THOROUGH = Plan(
    pairs=6,
    most_pairs=12,
    rounds=40,
    least_rounds=6,
    pair_ns=6e8,
    block_ns=2.5e6,
    count_ns=1e8,
    apart=False,
)
QUICK = Plan(
    pairs=3,
    most_pairs=3,
    rounds=8,
    least_rounds=3,
    pair_ns=1e8,
    block_ns=2e6,
    count_ns=1e7,
    apart=False,
)


@dataclass
class Row:
    """One operation, with or without a timeout."""

    tool: str
    operation: str
    # None: the tool has no such setting.
    timeout_s: float | None
    has_timeout: bool
    calls: dict[str, dict[str, float]] = field(default_factory=dict)
    comparison: Comparison | None = None
    # Of a first measurement that said "SLOWER" and was not taken for an answer.
    doubted: Comparison | None = None


@dataclass
class Proof:
    """What came of one tool."""

    tool: str
    rows: list[Row] = field(default_factory=list)
    compared: int = 0
    differences: list[str] = field(default_factory=list)
    # Why it could not be carried through.
    failure: str | None = None

    @property
    def holds(self) -> bool:
        slower = [row for row in self.rows if row.comparison and row.comparison.verdict == "SLOWER"]
        return not (self.differences or slower or self.failure)


@dataclass(frozen=True)
class Setting:
    """A tool whose server runs, and one way to set its client up."""

    tool: Tool
    path: Path
    place: Path
    at: dict[str, Any]
    timeout_s: float | None

    @contextlib.contextmanager
    def rivals(self, **how: Any) -> Iterator[tuple[Rival, Rival]]:
        one, other = (
            rival(subject, self.tool.NAME, self.path, self.at, self.timeout_s, **how)
            for subject in SUBJECTS
        )
        with one as socket, other as rsnet:
            yield socket, rsnet


def prove(tool: Tool, path: Path, plan: Plan | None) -> Proof:
    """Run the tool's server, and its client in every setting; with no plan compare results only."""
    proof = Proof(tool.NAME)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(servers.folder())
        at = stack.enter_context(servers.decoys())
        try:
            with pinned(cores(plan)[1]):
                at |= stack.enter_context(tool.server(place))
            for timeout_s in (None, TIMEOUT_S) if tool.TIMEOUT else (None,):
                use(Setting(tool, path, place, at, timeout_s), plan, proof)
        except Failed as failed:
            proof.failure = f"{failed} The server's log ends: {servers.last_words(place)}"
    return proof


def use(setting: Setting, plan: Plan | None, proof: Proof) -> None:
    rows = check(setting, plan, proof)
    if plan is not None:
        measure(setting, plan, rows)
        proof.rows += rows


def cores(plan: Plan | None) -> tuple[int | None, int | None]:
    """The client's core and the server's."""
    if plan is None:
        return None, None
    every = sorted(os.sched_getaffinity(0))
    return every[-1], every[0] if plan.apart else every[-1]


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Whatever is started in the block stays on that core."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def check(setting: Setting, plan: Plan | None, proof: Proof) -> list[Row]:
    """Compare the results of all operations, count the system calls of the timed ones."""
    rows = []
    with setting.rivals(watched=True) as (socket, rsnet):
        for operation in socket.timed + socket.compared:
            outcomes = [client.outcome(operation) for client in (socket, rsnet)]
            proof.compared += 1
            if outcomes[0] != outcomes[1]:
                proof.differences.append(difference(setting, operation, outcomes))
            if plan is not None and operation in socket.timed:
                rows.append(counted(setting, plan, operation, (socket, rsnet)))
    # The proof that the library's sockets were the ones that they are said to be.
    if (
        not any(name.startswith("rsnet") for name in rsnet.classes)
        or "socket.socket" in rsnet.classes
    ):
        proof.differences.append(
            f"{setting.tool.NAME}: with rsnet in place it made sockets of {rsnet.classes}"
        )
    return rows


def difference(setting: Setting, operation: str, outcomes: list[str]) -> str:
    where = f"{setting.tool.NAME}, {operation}, timeout {setting.timeout_s}"
    return f"{where}: socket: {outcomes[0]}; rsnet: {outcomes[1]}"


def counted(setting: Setting, plan: Plan, operation: str, clients: tuple[Rival, Rival]) -> Row:
    row = Row(setting.tool.NAME, operation, setting.timeout_s, bool(setting.tool.TIMEOUT))
    warm_ns = min(client.time(operation, WARM_UP) for client in clients)
    times = min(max(LEAST_COUNTED, round(plan.count_ns / warm_ns)), MOST_COUNTED)
    for subject, client in zip(SUBJECTS, clients, strict=True):
        row.calls[subject] = system_calls.per_operation(client, operation, times, setting.place)
    return row


def measure(setting: Setting, plan: Plan, rows: list[Row]) -> None:
    """Time the operations of `rows`; look a second time, with new processes, at what is slower."""
    time_rows(setting, plan, rows)
    doubtful = [row for row in rows if row.comparison and row.comparison.verdict == "SLOWER"]
    for row in doubtful:
        row.doubted = row.comparison
    if doubtful:
        time_rows(setting, plan, doubtful, first_seed=plan.most_pairs)


def time_rows(setting: Setting, plan: Plan, rows: list[Row], *, first_seed: int = 0) -> None:
    """Time the operations by one pair of processes after the other, each with its own seed."""
    taken: dict[str, list[list[Round]]] = defaultdict(list)
    wanted = list(rows)
    while wanted:
        done = len(taken[wanted[0].operation])
        with setting.rivals(core=cores(plan)[0], seed=first_seed + done) as clients:
            for row in wanted:
                taken[row.operation].append(rounds_of(clients, row.operation, plan))
        if done + 1 < plan.pairs:
            continue
        for row in wanted:
            row.comparison = compare(taken[row.operation])
        if done + 1 == plan.most_pairs:
            break
        wanted = [row for row in wanted if row.comparison and row.comparison.wide]


def rounds_of(clients: tuple[Rival, Rival], operation: str, plan: Plan) -> list[Round]:
    """The rounds of one pair of processes, which take turns at going first."""
    warm_ns = min(client.time(operation, WARM_UP) for client in clients)
    repeats = max(1, round(plan.block_ns / warm_ns))
    affordable = round(plan.pair_ns / (2 * repeats * warm_ns))
    rounds = []
    for number in range(min(max(affordable, plan.least_rounds), plan.rounds)):
        order = clients if number % 2 else clients[::-1]
        times = {client: client.time(operation, repeats) for client in order}
        rounds.append((times[clients[0]], times[clients[1]]))
    return rounds
