"""Runs tcp_client.py and udp_client.py with rsnet and with the standard library, line by line.

    python examples/demo.py

Without more, the far end is a process on this machine that echoes what it gets. HOST=... and
PORT=... name a TCP server instead, UDP_PORT=... a UDP server on the same host. ROUNDS=... says how
often each program is run.

Each program is the file as it stands, compiled twice: once as it is and once with `import socket`
in place of `import rsnet as socket`. Its lines run one after the other, and a clock is read before
and after each. The two take turns, round by round, and so does who goes first.
"""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from types import CodeType, FrameType
from typing import Any

EXAMPLES = Path(__file__).resolve().parent
IMPORTS = {"rsnet": "import rsnet as socket", "socket": "import socket"}
ROUNDS_HERE, ROUNDS_THERE = 1000, 5
PATIENCE_S = 5.0


class Failed(Exception):
    """The demo cannot go on; the text says why in one sentence."""


@dataclass
class Server:
    host: str
    tcp_port: int | None
    udp_port: int | None
    echoes: bool
    rounds: int


@dataclass
class Step:
    """One line of a program that does something with its socket."""

    text: str
    code: CodeType
    times_ns: list[int] = field(default_factory=list)


@dataclass
class Program:
    """One of the two programs, with one of the two modules."""

    module: str
    steps: list[Step]
    names: dict[str, Any]
    peer: object = None
    totals_ns: list[int] = field(default_factory=list)

    def run(self, measured: bool) -> None:
        """Runs the lines in order; a line that waits longer than is reasonable is interrupted."""
        taken_ns = []
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        try:
            for step in self.steps:
                if step is self.steps[-1] and not measured:
                    self.peer = self.names.get("address") or peer_of(self.names)
                started_ns = perf_counter_ns()
                exec(step.code, self.names)
                taken_ns.append(perf_counter_ns() - started_ns)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if client := self.names.pop("client", None):
                client.close()
        if measured:
            self.totals_ns.append(sum(taken_ns))
            for step, time_ns in zip(self.steps, taken_ns, strict=True):
                step.times_ns.append(time_ns)


def peer_of(names: dict[str, Any]) -> object:
    try:
        return names["client"].getpeername()
    except OSError:
        # A server that has reset the connection is no longer its peer.
        return names["host"], names["port"]


def load(path: Path, module: str, host: str, port: int) -> Program:
    """The program at `path` with the named module, ready to run against host and port."""
    source = path.read_text()
    if source.count(IMPORTS["rsnet"]) != 1:
        raise Failed(f"{path.name} does not have the line `{IMPORTS['rsnet']}`.")
    source = source.replace(IMPORTS["rsnet"], IMPORTS[module])
    names: dict[str, Any] = {}
    steps = []
    for statement in ast.parse(source).body:
        code = compile(ast.Module([statement], []), path.name, "exec")
        used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if "client" in used:
            steps.append(Step(ast.get_source_segment(source, statement) or "", code))
        elif isinstance(statement, ast.Import) or "message" in used:
            exec(code, names)
    names.update(host=host, port=port)
    return Program(module, steps, names)


def show(path: Path, server: Server, port: int) -> None:
    programs = [load(path, module, server.host, port) for module in IMPORTS]
    try:
        take_turns(programs, server.rounds)
    except OSError as error:
        raise Failed(f"{path.name}: no answer from {server.host} port {port}: {error}.") from error
    ours, theirs = programs
    answers = {program.names["response"] for program in programs}
    if server.echoes and answers != {ours.names["message"]}:
        raise Failed(f"{path.name}: the far end echoes, but the answer is not what was sent.")
    print(f"{path.name} -> {server.host} port {port}")
    print(f"  sent       {ours.names['message']!r}")
    for program in programs:
        answer = program.names["response"]
        print(f"  came back  {answer!r} from {program.peer} with {program.module}")
    print()
    print_times(ours, theirs)


def take_turns(programs: list[Program], rounds: int) -> None:
    for round_number in range(rounds + 1):
        # The first round fills caches and is not counted.
        for program in programs if round_number % 2 else reversed(programs):
            program.run(measured=round_number > 0)


def print_times(ours: Program, theirs: Program) -> None:
    rows = [(step.text, step.times_ns) for step in ours.steps]
    rows.append(("the whole program", ours.totals_ns))
    others = [step.times_ns for step in theirs.steps] + [theirs.totals_ns]
    width = max(len(text) for text, _ in rows)
    heading = f"median of {len(ours.totals_ns)}, in µs"
    print(f"  {heading:{width}}  {'rsnet':>9}  {'socket':>9}  socket/rsnet")
    for (text, our_ns), their_ns in zip(rows, others, strict=True):
        ours_us, theirs_us = median(our_ns) / 1000, median(their_ns) / 1000
        ratio = theirs_us / ours_us
        print(f"  {text:{width}}  {ours_us:9.2f}  {theirs_us:9.2f}  {ratio:11.2f}x")
    print()


@contextlib.contextmanager
def far_end() -> Iterator[tuple[int, int]]:
    """The echoing process; it ends when its stdin is closed, however this process ends."""
    command = [sys.executable, str(EXAMPLES / "far_end.py")]
    # A session of its own, so that Ctrl-C comes here only.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            ports = process.stdout.readline().split()
            if len(ports) != 2:
                raise Failed("The far end did not start.")
            yield int(ports[0]), int(ports[1])
        finally:
            process.stdin.close()
            process.wait()


@contextlib.contextmanager
def server_to_talk_to() -> Iterator[Server]:
    host, tcp_port, udp_port = os.environ.get("HOST"), number("PORT"), number("UDP_PORT")
    if tcp_port is not None or udp_port is not None:
        if not host:
            raise Failed("PORT and UDP_PORT need a HOST beside them.")
        yield Server(host, tcp_port, udp_port, False, number("ROUNDS") or ROUNDS_THERE)
        return
    if host:
        # Some shells export HOST by themselves, so that it alone asks for nothing.
        print(f"HOST={host} is ignored: neither PORT nor UDP_PORT is beside it.\n")
    with far_end() as (tcp_port, udp_port):
        yield Server("127.0.0.1", tcp_port, udp_port, True, number("ROUNDS") or ROUNDS_HERE)


def number(name: str) -> int | None:
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise Failed(f"{name} must be a number from 1 to 65535, not {text!r}.")
    return int(text)


def give_up(signal_number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"given up after {PATIENCE_S:g} seconds")


def talk(server: Server) -> None:
    for name, port in (("tcp_client.py", server.tcp_port), ("udp_client.py", server.udp_port)):
        if port is None:
            print(f"{name} is left out: no port was given for it.\n")
            continue
        show(EXAMPLES / name, server, port)


def main() -> int:
    signal.signal(signal.SIGALRM, give_up)
    try:
        with server_to_talk_to() as server:
            talk(server)
    except Failed as failed:
        print(failed, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
