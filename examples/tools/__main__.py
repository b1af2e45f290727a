"""Runs well-known client programs against their servers, with the standard library and with rsnet.

    python examples/tools [--tool NAME] [--quick] [--apart] [--results] [--json FILE] [--list]

Each tool is a file of this folder: client code as anybody writes it, and the server that it talks
to, which is started on loopback with a folder of its own and stopped again. The client runs in two
processes, one with each module, that take turns; their results have to be equal, and rsnet must
not be slower.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from proof import measure, operations, packages, report
from proof.failure import Failed
from proof.operations import Tool


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python examples/tools", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tool", action="append", metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--quick", action="store_true", help="few rounds: wide intervals")
    parser.add_argument("--apart", action="store_true", help="the server on another core")
    parser.add_argument("--results", action="store_true", help="compare results, time nothing")
    parser.add_argument(
        "--json",
        metavar="FILE",
        nargs="?",
        const="-",
        help="write the figures there as well; without a file to stdout, and the rest to stderr",
    )
    parser.add_argument("--install", action="store_true", help="install missing servers, if root")
    parser.add_argument("--list", action="store_true", help="list the tools and what they need")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parsed(arguments)
    # The servers stop when this program is told to.
    signal.signal(signal.SIGTERM, stop)
    try:
        files = chosen(options.tool)
        if options.list:
            print_list(files)
            return 0
        return run(files, options)
    except Failed as failed:
        print(failed, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def chosen(names: Sequence[str] | None) -> dict[str, Path]:
    files = operations.files()
    for name in names or ():
        if name not in files:
            raise Failed(f"There is no tool {name}: there are {', '.join(files)}.")
    return {name: files[name] for name in names or files}


def print_list(files: dict[str, Path]) -> None:
    tools, absent = loaded(files)
    for name, path in files.items():
        lacks = (
            [one.name for one in packages.missing(tools[name].PROGRAMS)] if name in tools else []
        )
        lacks += [absent[name]] if name in absent else []
        print(f"{name:<12} {path.name:<24} {'missing: ' + ', '.join(lacks) if lacks else 'ready'}")


def loaded(files: dict[str, Path]) -> tuple[dict[str, Tool], dict[str, str]]:
    """The tools by name, and for each that cannot be loaded the Python package that is missing."""
    tools, absent = {}, {}
    for name, path in files.items():
        try:
            tools[name] = operations.load(path)
        except ModuleNotFoundError as error:
            absent[name] = error.name or str(error)
    return tools, absent


def run(files: dict[str, Path], options: argparse.Namespace) -> int:
    plan = None
    if not options.results:
        plan = measure.QUICK if options.quick else measure.THOROUGH
        plan = dataclasses.replace(plan, apart=options.apart)
    ready = able_to_run(files, options)
    for_people = sys.stderr if options.json == "-" else sys.stdout
    proofs = []
    for name, tool in ready.items():
        proofs.append(measure.prove(tool, files[name], plan))
        print(report.summary(proofs[-1]), file=for_people, flush=True)
    if any(proof.rows for proof in proofs):
        print(f"\n{report.table(proofs)}", file=for_people)
    if options.json:
        text = json.dumps(report.as_json(proofs, plan), indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text)
    return 0 if len(ready) == len(files) and all(proof.holds for proof in proofs) else 1


def able_to_run(files: dict[str, Path], options: argparse.Namespace) -> dict[str, Tool]:
    """The tools that have all that they need; a sentence on stderr about what is missing."""
    tools, absent = loaded(files)
    if absent:
        print(packages.python_sentence(absent.values()), file=sys.stderr)
    shared = () if options.results else (packages.STRACE,)
    needed = [*shared, *(one for tool in tools.values() for one in tool.PROGRAMS)]
    lacks = set(packages.missing(needed))
    if lacks and options.install and packages.can_install():
        packages.install(lacks)
        lacks = set(packages.missing(needed))
    if lacks:
        print(packages.sentence(lacks), file=sys.stderr)
    return {name: tool for name, tool in tools.items() if not lacks & {*shared, *tool.PROGRAMS}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
