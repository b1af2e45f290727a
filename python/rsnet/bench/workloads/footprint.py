"""What rsnet costs that is not a call: the import, and memory."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .round import Figures, Missing, Round, Setting, SocketModule

SOCKETS = 10_000
WARM_UP = 100
TIMED_IMPORT = """
from time import perf_counter_ns
started_ns = perf_counter_ns()
import {}
print(perf_counter_ns() - started_ns)
"""


@contextmanager
def import_time(setting: Setting) -> Iterator[Round]:
    """The import in a fresh interpreter; an operation is an interpreter."""
    command = [sys.executable, "-c", TIMED_IMPORT.format(setting.module.__name__)]

    def run(amount: int) -> Figures:
        times_ns = [int(subprocess.check_output(command)) for _ in range(amount)]
        return {"ns": float(min(times_ns))}

    yield run


@contextmanager
def idle_sockets(setting: Setting) -> Iterator[Round]:
    """Memory for 10,000 open sockets with a timeout, of which amounts are the number of trials."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = SOCKETS + 100
    if most != resource.RLIM_INFINITY and most < needed:
        raise Missing(f"{needed} descriptors (ulimit -Hn says {most})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))

    def run(amount: int) -> Figures:
        return {"bytes": min(in_child(setting.module) for _ in range(amount))}

    yield run


def in_child(module: SocketModule) -> float:
    """Bytes a socket, in a process that has never had any: memory that was used once stays."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(into, b"%f" % bytes_per_socket(module))
        finally:
            os._exit(0)
    os.close(into)
    with open(out, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return float(text)


def bytes_per_socket(module: SocketModule) -> float:
    # A few first: what the first socket makes for all of them is not a socket's.
    sockets = opened(module, WARM_UP)
    gc.collect()
    before_bytes = private_bytes()
    sockets += opened(module, SOCKETS - WARM_UP)
    return (private_bytes() - before_bytes) / (SOCKETS - WARM_UP)


def opened(module: SocketModule, count: int) -> list[Any]:
    sockets = []
    for _ in range(count):
        idle = module.socket(module.AF_INET, module.SOCK_DGRAM)
        idle.settimeout(5)
        sockets.append(idle)
    return sockets


def private_bytes() -> int:
    """Memory that is only ours and in use."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, *rest = line.split()
        if name == "Private_Dirty:":
            return int(rest[0]) * 1024
    raise Missing("Private_Dirty in /proc/self/smaps_rollup")
