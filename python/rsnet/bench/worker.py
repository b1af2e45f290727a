"""A process that runs one workload with one module, round by round.

    python worker.py WORKLOAD MODULE NEAR_CORE FAR_CORE [FLOOR]

A line on its standard input is the amount of a round; the answer is a line of JSON with the round's
figures. The first line it writes says that it is ready, or what is missing. It ends with its input.

It is started by its path and gets `workloads` as a package of its own, so that nothing of rsnet is
loaded in a process that measures the standard library.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

PACKAGE = "rsnet_bench_workloads"
# From linux/prctl.h.
PR_SET_PTRACER, PR_SET_PTRACER_ANY = 0x59616D61, -1


def main(name: str, module_name: str, near_core: str, far_core: str, floor: str = "") -> None:
    os.sched_setaffinity(0, {int(near_core)})
    allow_tracing()
    round_module = load_workloads()
    workloads = importlib.import_module(f"{PACKAGE}.names").WORKLOADS
    module = importlib.import_module(module_name)
    setting = round_module.Setting(module, int(near_core), int(far_core), floor or None)
    try:
        with workloads[name](setting) as run:
            answer(ready=True)
            # What exists by now stays: the collector need not look at it in the middle of a round.
            gc.collect()
            gc.freeze()
            for line in sys.stdin:
                answer(**run(int(line)))
    except round_module.Missing as missing:
        answer(missing=str(missing))


def load_workloads() -> Any:
    """Makes the package importable without the package around it; gives its module `round`."""
    folder = Path(__file__).with_name("workloads")
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"{PACKAGE}.round")


def allow_tracing() -> None:
    """Lets strace, a sibling, attach where the kernel asks for that (Yama)."""
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_long(PR_SET_PTRACER_ANY), 0, 0, 0)


def answer(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
