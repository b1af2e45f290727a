"""User instructions per send+recv pair, counted by callgrind: the same in every run.

    python -m rsnet bench --row instructions --strict

gates on it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable

from .process import Failed, Missing, package_folder

FEW, MANY = 500, 1500
# In a function, as programs have it: in a module's own code each name is a look-up in a dictionary,
# 700 instructions a pair that are neither module's.
PROGRAM = """
import sys
module = __import__(sys.argv[1])

def run(send, recv, data, pairs):
    for _ in range(pairs):
        send(data)
        recv(1024)

near, far = module.socketpair()
run(near.send, far.recv, b"x" * 64, int(sys.argv[2]))
"""


def figures(cores: Iterable[int]) -> dict[str, dict[str, float]]:
    """Instructions of a pair with each module.

    cores: where to count. Raises Missing without valgrind, and Failed.
    """
    if shutil.which("valgrind") is None:
        raise Missing("valgrind")
    # All at the same time: it is their number that is asked for, not how long they take.
    started = {
        name: [_start(module, pairs, cores) for pairs in (FEW, MANY)]
        for name, module in (("stdlib", "socket"), ("rsnet", "rsnet"))
    }
    counts = {name: [_instructions(each) for each in runs] for name, runs in started.items()}
    return {
        name: {"instructions": (many - few) / (MANY - FEW)} for name, (few, many) in counts.items()
    }


def _start(module: str, pairs: int, cores: Iterable[int]) -> subprocess.Popen[str]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        return _valgrind(module, pairs)
    finally:
        os.sched_setaffinity(0, before)


def _valgrind(module: str, pairs: int) -> subprocess.Popen[str]:
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    python = [sys.executable, "-P", "-S", "-c", PROGRAM, module, str(pairs)]
    # Hashes decide how dictionaries lie in memory, and that how many steps a look-up takes.
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(package_folder())}
    return subprocess.Popen(
        [*valgrind, *python],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _instructions(process: subprocess.Popen[str]) -> int:
    _, errors = process.communicate()
    found = re.search(r"Collected : (\d+)", errors)
    if process.returncode or found is None:
        raise Failed((errors.splitlines() or ["valgrind says nothing"])[-1])
    return int(found[1])
