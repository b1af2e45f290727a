"""`python -m rsnet run`: a program on rsnet, otherwise as `python` runs it.

The program gets an interpreter of its own, in the place of this one (exec), with the same options:
its exit code, tracebacks, arguments and search path are Python's own doing. On the way up that
interpreter imports `sitecustomize`, as every interpreter does; the one in `_startup`, first on
PYTHONPATH, patches, puts everything back as it was, and imports the program's own.
"""

from __future__ import annotations

import os
import sys
from getopt import getopt
from pathlib import Path

__all__ = ["main"]

# What the interpreter finds in its environment: whether its children are to be patched too, and
# what PYTHONPATH was.
FOLLOW = "RSNET_RUN_FOLLOW"
PYTHONPATH = "RSNET_RUN_PYTHONPATH"

# The interpreter's own options, as getopt has them; a colon: with a value.
LETTERS = "bBc:dEhiIm:OPqRsStuvVW:xX:?"
WORDS = ["check-hash-based-pycs="]

HELP = """\
usage: python -m rsnet run [--follow] SCRIPT [ARGUMENT ...]
       python -m rsnet run [--follow] -m MODULE [ARGUMENT ...]
       python -m rsnet run [--follow] -c CODE [ARGUMENT ...]
       python -m rsnet run [--follow] - [ARGUMENT ...]

Runs a program with rsnet in the place of the standard socket module. SCRIPT is a file, or a folder
or zip file with a __main__.py, as python takes it, and - is standard input; everything else is as
python does it.

  --follow   Python programs that it starts run on rsnet too, if they inherit its environment
             (not those started with -I, -E or -S)

examples:
  python -m rsnet run client.py --host 192.0.2.1
  python -m rsnet run -m http.server 8000
  python -X dev -m rsnet run --follow crawler.py
"""


def main(arguments: list[str]) -> int:
    """Runs the program; comes back only if it cannot be started.

    Parameters: arguments, those after `run`.

    Returns 0 after help, 2 if the arguments, the interpreter's options or the system forbid it.
    """
    follow = False
    while arguments and arguments[0] in ("--follow", "-h", "--help"):
        if arguments[0] != "--follow":
            print(HELP, end="")
            return 0
        follow = True
        arguments = arguments[1:]
    objection = _objection(arguments)
    if objection is not None:
        print(f"python -m rsnet run: {objection}\n\n{HELP}", end="", file=sys.stderr)
        return 2
    try:
        _execute(arguments, _environment(follow))
    except OSError as error:
        print(f"python -m rsnet run: cannot start {_interpreter()!r}: {error}", file=sys.stderr)
    return 2


def _objection(arguments: list[str]) -> str | None:
    """Why this cannot be run, or None."""
    if not arguments or arguments in (["-m"], ["-c"], ["--"]):
        return "nothing to run: give a script, -m MODULE or -c CODE"
    first = arguments[0]
    if first.startswith("-") and first not in ("-", "--") and first[:2] not in ("-m", "-c"):
        return f"unknown option {first}: python's own stand before -m rsnet"
    if sys.flags.ignore_environment or sys.flags.no_site:
        return "it needs the environment and the site module: python without -I, -E and -S"
    if os.pathsep in _startup():
        return f"PYTHONPATH cannot name a folder with {os.pathsep!r} in it: {_startup()}"
    return None


def _startup() -> str:
    """The folder of the sitecustomize that patches."""
    return str(Path(__file__).absolute().with_name("_startup"))


def _environment(follow: bool) -> dict[str, str]:
    environment = dict(os.environ)
    before = environment.get("PYTHONPATH")
    # An empty one counts as none; after a separator it would be the current folder.
    environment["PYTHONPATH"] = os.pathsep.join([_startup(), before] if before else [_startup()])
    environment.pop(PYTHONPATH, None)
    if before is not None:
        environment[PYTHONPATH] = before
    if follow:
        environment[FOLLOW] = "1"
    _restore_locale(environment)
    return environment


def _restore_locale(environment: dict[str, str]) -> None:
    """LC_CTYPE as it was given. An interpreter in the C locale sets it (PEP 538), and the next one,
    finding it set, would not go over to UTF-8 mode (PEP 540) as that of the program has to.
    """
    given = [os.fsdecode(line) for line in Path("/proc/self/environ").read_bytes().split(b"\0")]
    values = [line.removeprefix("LC_CTYPE=") for line in given if line.startswith("LC_CTYPE=")]
    if values:
        environment["LC_CTYPE"] = values[0]
    else:
        environment.pop("LC_CTYPE", None)


def _execute(arguments: list[str], environment: dict[str, str]) -> None:
    options = _interpreter_options(sys.orig_argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # The interpreter calls itself what it was called: its messages begin with that.
    name = sys.orig_argv[0] or sys.executable
    os.execve(_interpreter(), [name, *options, *arguments], environment)


def _interpreter() -> str:
    """The file of this interpreter; `sys.executable` is wrong if it was called by a false name."""
    if os.access(sys.executable, os.X_OK):
        return sys.executable
    return str(Path("/proc/self/exe").resolve())


def _interpreter_options(given: list[str]) -> list[str]:
    """What stood before `-m rsnet`, which may hang on to others: `-OBm rsnet`."""
    options: list[str] = []
    for option, value in getopt(given, LETTERS, WORDS)[0]:
        if option in ("-m", "-c"):
            break
        takes_value = option[1:] + ":" in LETTERS or option.startswith("--")
        options += [option, value] if takes_value else [option]
    return options
