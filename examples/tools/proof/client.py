"""The client's process: one tool, with one module in the place of `socket`.

    python client.py SUBJECT TOOL_FILE

What it is to do comes as JSON lines on stdin, the answers go as JSON lines to stdout. The first
line says where the server is.
"""

import hashlib
import json
import os
import random
import re
import sys
from pathlib import Path
from time import perf_counter_ns
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

sys.path[0] = str(Path(__file__).absolute().parent.parent)

from proof.in_place import put_in_place  # noqa: E402

if TYPE_CHECKING:
    from proof.operations import Operation, Operations

# As much of a result as is sent whole.
READABLE_CHARS = 300
PR_SET_PTRACER, ANY_PROCESS = 0x59616D61, -1


class Answers:
    """JSON lines to the parent, on a descriptor of their own: a library may print."""

    def __init__(self) -> None:
        self._fd = os.dup(1)
        os.dup2(2, 1)

    def send(self, **fields: Any) -> None:
        line = json.dumps(fields).encode() + b"\n"
        while line:
            line = line[os.write(self._fd, line) :]


def text_of(result: object) -> str:
    text = repr(result)
    if len(text) <= READABLE_CHARS:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:60]}... {len(text)} characters, SHA-256 {digest}"


def timed_ns(operation: "Operation", repeats: int) -> int:
    """The time of so many operations."""
    started_ns = perf_counter_ns()
    for _ in range(repeats):
        operation()
    return perf_counter_ns() - started_ns


def outcome(operation: "Operation") -> str:
    """The result as text, or the exception with those that it came from."""
    try:
        return text_of(operation())
    except Exception as error:
        return f"raised {' from '.join(described(error))}"


def described(error: BaseException | None) -> list[str]:
    chain = []
    while error is not None:
        kind = type(error)
        # Some texts have an object's address in memory.
        text = re.sub(r" at 0x[0-9a-f]+", "", str(error))
        chain.append(f"{kind.__module__}.{kind.__qualname__}({text})")
        error = error.__cause__ or error.__context__
    return chain


def watch_classes() -> set[str]:
    """The classes of all sockets made from now on. It cannot be undone and costs time."""
    classes: set[str] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.__new__":
            kind = type(arguments[0])
            classes.add(f"{kind.__module__}.{kind.__qualname__}")

    sys.addaudithook(note)
    return classes


def allow_tracing() -> None:
    """Where Yama lets a process be traced by its ancestors only, strace is not one of them."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(ANY_PROCESS), 0, 0, 0)


def shifted_memory(seed: int) -> bytes:
    """Moves what is allocated from now on by up to a page.

    The kernel copies into memory at some offsets from a page's start several times slower than at
    others. Which a program gets is luck, but the same luck each time it is started.
    """
    return bytes(random.Random(seed).randrange(1024, 1024 + 4096, 16))


def obey(operations: "Operations", answers: Answers) -> None:
    answers.send(timed=list(operations.timed), compared=list(operations.compared))
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "time":
            operation = operations.timed[order["operation"]]
            answers.send(took_ns=timed_ns(operation, order["repeats"]))
        elif order["do"] == "compare":
            every = operations.timed | operations.compared
            answers.send(result=outcome(every[order["operation"]]))


def main() -> None:
    subject, path = sys.argv[1:]
    answers = Answers()
    first = json.loads(sys.stdin.readline())
    shift = shifted_memory(first["seed"])
    put_in_place(subject)
    from proof import operations

    classes: set[str] = set()
    if first["watched"]:
        classes = watch_classes()
        allow_tracing()
    tool = operations.load(Path(path))
    with tool.client(SimpleNamespace(**first["at"]), first["timeout_s"]) as able:
        obey(able, answers)
    answers.send(classes=sorted(classes), shifted_bytes=len(shift))


if __name__ == "__main__":
    main()
