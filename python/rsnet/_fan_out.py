"""One measurement in several parts, on whatever can run a function somewhere else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from rsnet._progress import Progress
from rsnet.records import Records, join

# How often a part is given to somebody else before it is done here.
_TRIES = 3

# Parts in all, if nobody says how many. More than most have workers, so that the last one is short.
SHARDS = 16


class Executor(Protocol):
    """ThreadPoolExecutor, ProcessPoolExecutor, Dask's Client and others."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any: ...


def run(
    executor: Executor,
    work: Callable[..., Records],
    arguments: tuple[Any, ...],
    shards: int,
    progress: Progress | None,
    total: int,
) -> Records:
    """The records of all parts. `work` is given the arguments, the part's number and their count.

    A part whose worker is lost is given away again, and at last done here. What is interrupted
    gives the parts that are done.
    """
    parts: dict[int, Records] = {}
    waiting: deque[tuple[int, Any]] = deque()
    tries = dict.fromkeys(range(shards), 0)
    try:
        for shard in range(shards):
            waiting.append((shard, _submitted(executor, work, arguments, shard, shards)))
        while waiting:
            shard, future = waiting.popleft()
            tries[shard] += 1
            try:
                parts[shard] = _result(future, work, arguments, shard, shards)
            except (ValueError, TypeError):
                raise
            except Exception:
                if tries[shard] >= _TRIES:
                    parts[shard] = work(*arguments, shard, shards)
                else:
                    again = _submitted(executor, work, arguments, shard, shards)
                    waiting.append((shard, again))
                    continue
            if progress is not None:
                progress(sum(map(len, parts.values())), total)
    except KeyboardInterrupt:
        if not parts:
            raise
    done = join(parts[shard] for shard in sorted(parts))
    return done if len(parts) == shards else _marked_partial(done)


def _submitted(
    executor: Executor,
    work: Callable[..., Records],
    arguments: tuple[Any, ...],
    shard: int,
    shards: int,
) -> Any:
    """The future of a part; None if nobody takes it."""
    try:
        return executor.submit(work, *arguments, shard, shards)
    except RuntimeError:
        # A pool that lost a process takes no more.
        return None


def _result(
    future: Any,
    work: Callable[..., Records],
    arguments: tuple[Any, ...],
    shard: int,
    shards: int,
) -> Records:
    records: Records = work(*arguments, shard, shards) if future is None else future.result()
    return records


def _marked_partial(records: Records) -> Records:
    table = records._table
    return Records(table.with_metadata({**table.metadata, "partial": "true"}))
