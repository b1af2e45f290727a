"""`python -m rsnet`, and `rsnet` for short: the command line."""

from __future__ import annotations

import sys
from importlib import import_module

HELP = """\
usage: python -m rsnet COMMAND [ARGUMENT ...]

commands:
  probe    ask which TCP ports are open, of many hosts at once
  exchange send a request to many TCP servers, and show what they answer
  ping     measure delay, loss and order by UDP, to a far end that answers
  serve    be that far end: UDP echo and STAMP
  run      run a program with rsnet in the place of the standard socket module
  bench    measure rsnet beside the standard library on this machine

python -m rsnet COMMAND --help tells more. --version prints the version.

examples:
  python -m rsnet probe 192.0.2.0/24 -p 22,443
  python -m rsnet run client.py
  python -m rsnet bench --quick
"""

# The module of each command, imported when it is asked for, and the function in it that takes the
# arguments and returns the exit code.
COMMANDS = {
    "probe": ("rsnet._asking_command", "probe"),
    "exchange": ("rsnet._asking_command", "exchange"),
    "ping": ("rsnet._ping_command", "ping"),
    "serve": ("rsnet._ping_command", "serve"),
    "run": ("rsnet._run", "main"),
    "bench": ("rsnet.bench", "main"),
}


def main(arguments: list[str]) -> int:
    """Runs the command that the arguments name; returns its exit code, 2 if there is none."""
    if arguments and arguments[0] == "--version":
        print(f"rsnet {_version()}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        print(f"python -m rsnet: no command {arguments[0]!r}\n\n{HELP}", end="", file=sys.stderr)
        return 2
    module, function = COMMANDS[arguments[0]]
    code: int = getattr(import_module(module), function)(arguments[1:])
    return code


def console() -> int:
    """The program `rsnet`."""
    return main(sys.argv[1:])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rsnet")
    except PackageNotFoundError:
        return "(not installed, so without a version)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
