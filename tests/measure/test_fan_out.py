"""executor=: parts of a measurement elsewhere, and not a row less for a worker that is lost."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

import rsnet

PORTS = "20001-20500"


def keys(records):
    return [(row.address, row.port) for row in records]


@pytest.fixture(scope="module")
def alone():
    return rsnet.tcp.probe("127.0.0.1-2", PORTS, timeout=5, seed=3)


def spawned(workers):
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, spawned])
@pytest.mark.parametrize("shards", [1, 3, 16])
def test_the_rows_are_those_of_one_call(alone, pool, shards):
    told = []
    with pool(2) as executor:
        found = rsnet.tcp.probe(
            "127.0.0.1-2",
            PORTS,
            timeout=5,
            seed=3,
            executor=executor,
            shards=shards,
            progress=lambda *how_far: told.append(how_far),
        )
    assert keys(found) == keys(alone)
    assert found.metadata == alone.metadata and not found.partial
    assert told[-1] == (1000, 1000) and len(told) == shards


def test_a_killed_worker_loses_nothing(alone):
    with spawned(2) as executor:
        executor.submit(os.getpid).result()
        victims = list(executor._processes)

        def kill(done, total):
            while victims:
                os.kill(victims.pop(), signal.SIGKILL)

        found = rsnet.tcp.probe(
            "127.0.0.1-2", PORTS, timeout=5, executor=executor, shards=8, progress=kill
        )
    assert keys(found) == keys(alone) and not found.partial


class Unreliable:
    """Takes work and fails it, so many times."""

    def __init__(self, failures):
        self.failures = failures
        self.taken = 0

    def submit(self, function, *arguments):
        self.taken += 1
        if self.failures:
            self.failures -= 1
            return Lost()
        return Done(function(*arguments))


class Lost:
    def result(self):
        raise ConnectionError("the worker is gone")


class Done:
    def __init__(self, value):
        self.value = value

    def result(self):
        return self.value


@pytest.mark.parametrize("failures", [0, 1, 5, 1000])
def test_lost_work_is_given_away_again_and_at_last_done_here(alone, failures):
    executor = Unreliable(failures)
    found = rsnet.tcp.probe("127.0.0.1-2", PORTS, timeout=5, executor=executor, shards=4)
    assert keys(found) == keys(alone)
    assert executor.taken == 4 + min(failures, 8)


def test_fewer_targets_than_shards():
    found = rsnet.tcp.probe("127.0.0.1", 9, timeout=5, executor=Unreliable(0), shards=64)
    assert len(found) == 1


def test_all_parts_together_keep_to_the_rate():
    with ThreadPoolExecutor(4) as executor:
        found = rsnet.tcp.probe(
            "127.0.0.1", "20001-20040", rate=100, timeout=5, executor=executor, shards=4
        )
    times = found.column("time")
    assert (max(times) - min(times)).total_seconds() >= 0.3
