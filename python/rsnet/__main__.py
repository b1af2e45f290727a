"""`python -m rsnet`: the command line."""

from __future__ import annotations

import sys
from importlib import import_module

HELP = """\
usage: python -m rsnet COMMAND [ARGUMENT ...]

commands:
  run      run a program with rsnet in the place of the standard socket module
  bench    measure rsnet beside the standard library on this machine

python -m rsnet COMMAND --help tells more. --version prints the version.

examples:
  python -m rsnet run client.py
  python -m rsnet bench --quick
"""

# The module of each command, imported when it is asked for; each has a main(arguments) -> int.
COMMANDS = {"run": "rsnet._run", "bench": "rsnet.bench"}


def main(arguments: list[str]) -> int:
    """Runs the command that the arguments name; returns its exit code, 2 if there is none."""
    if arguments and arguments[0] == "--version":
        print(f"rsnet {_version()}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0 if arguments else 2
    module = COMMANDS.get(arguments[0])
    if module is None:
        print(f"python -m rsnet: no command {arguments[0]!r}\n\n{HELP}", end="", file=sys.stderr)
        return 2
    code: int = import_module(module).main(arguments[1:])
    return code


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rsnet")
    except PackageNotFoundError:
        return "(not installed, so without a version)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
