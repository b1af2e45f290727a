"""`python -m rsnet run`: a program on rsnet, otherwise as `python` runs it.

The program gets an interpreter of its own, in the place of this one (exec), with the same options:
its exit code, tracebacks, arguments and search path are Python's own doing. On the way up that
interpreter imports `sitecustomize`, as every interpreter does; the one in `_startup`, first on
PYTHONPATH, patches, puts everything back as it was, and imports the program's own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["FOLLOW", "PACKAGE", "PYTHONPATH", "main"]

# The environment that the interpreter finds: whether its children are to be patched too, what
# PYTHONPATH was, and where this package is.
FOLLOW = "RSNET_RUN_FOLLOW"
PYTHONPATH = "RSNET_RUN_PYTHONPATH"
PACKAGE = "RSNET_RUN_PACKAGE"

HELP = """\
usage: python -m rsnet run [--follow] SCRIPT [ARGUMENT ...]
       python -m rsnet run [--follow] -m MODULE [ARGUMENT ...]
       python -m rsnet run [--follow] -c CODE [ARGUMENT ...]

Runs a program with rsnet in the place of the standard socket module. SCRIPT is a file, or a folder
or zip file with a __main__.py, as python takes it; everything else is as python does it.

  --follow   Python programs that it starts run on rsnet too, if they inherit its environment
             (not those started with -I, -E or -S, or by a Python that has no rsnet)

examples:
  python -m rsnet run client.py --host 192.0.2.1
  python -m rsnet run -m http.server 8000
  python -X dev -m rsnet run --follow crawler.py
"""


def main(arguments: list[str]) -> int:
    """Runs the program; comes back only if it cannot be started.

    Parameters: arguments, those after `run`.

    Returns 0 after help, 2 if the arguments or the interpreter's options forbid it.
    """
    follow = False
    while arguments and arguments[0] in ("--follow", "-h", "--help"):
        if arguments[0] != "--follow":
            print(HELP, end="")
            return 0
        follow = True
        arguments = arguments[1:]
    if not arguments or arguments in (["-m"], ["-c"]):
        return _refuse("nothing to run: give a script, -m MODULE or -c CODE")
    if arguments[0].startswith("-") and arguments[0][:2] not in ("-m", "-c"):
        return _refuse(f"unknown option {arguments[0]}: python's own stand before -m rsnet")
    if sys.flags.ignore_environment or sys.flags.no_site:
        return _refuse("it needs the environment and the site module: python without -I, -E and -S")
    _execute(arguments, follow)
    return 2


def _refuse(text: str) -> int:
    print(f"python -m rsnet run: {text}\n\n{HELP}", end="", file=sys.stderr)
    return 2


def _execute(arguments: list[str], follow: bool) -> None:
    package = Path(__file__).parent
    before = os.environ.get("PYTHONPATH")
    startup = str(package / "_startup")
    environment = dict(os.environ)
    environment[PACKAGE] = str(package.parent)
    environment["PYTHONPATH"] = startup if not before else startup + os.pathsep + before
    if before is not None:
        environment[PYTHONPATH] = before
    if follow:
        environment[FOLLOW] = "1"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *_interpreter_options(), *arguments], environment)


def _interpreter_options() -> list[str]:
    """What stood before `-m rsnet`."""
    given = sys.orig_argv[1:]
    for index, argument in enumerate(given):
        if argument in ("-m", "-mrsnet"):
            return given[:index]
    return []
