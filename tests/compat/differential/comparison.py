"""Two worlds, one program: where they first differ, and how a person is told."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from .explained import is_explained
from .outcome import readable
from .world import Program, Seen, World


@dataclass
class Difference:
    """The lines up to the one after which something differs, and what was seen there."""

    lines: Program
    standard: Seen
    subject: Seen

    def __str__(self) -> str:
        shown = [f"    {line}" for line in self.lines]
        return "\n".join(["After the last of these lines", *shown, *self._parts()])

    def _parts(self) -> Iterator[str]:
        for part in fields(Seen):
            one, other = getattr(self.standard, part.name), getattr(self.subject, part.name)
            if isinstance(one, dict):
                names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
                for name in names:
                    yield from _sides(f"the variable {name}", one.get(name), other.get(name))
            elif one != other:
                yield from _sides(part.name, one, other)


def _sides(what: str, standard: Any, subject: Any) -> Iterator[str]:
    yield f"{what} with the standard library:\n    {readable(standard)}"
    yield f"{what} with the subject:\n    {readable(subject)}"


def lasting_difference(program: Program, standard: World, subject: World) -> Difference | None:
    """A difference that is there time and again.

    What the kernel chooses at random can make one: the port of a socket that was closed is given
    out again, to the one world and not to the other. It does not do so three times on end.
    """
    for _ in range(3):
        difference = first_difference(program, standard, subject)
        if difference is None:
            return None
    return difference


def first_difference(program: Program, standard: World, subject: World) -> Difference | None:
    """Runs the program in both worlds, one after the other, from the same start."""
    expected = list(standard.run(program))
    run = subject.run(program)
    lines = [*program, "# at the end", "# with all of them closed"]
    for number, (one, other) in enumerate(zip(expected, run, strict=True), 1):
        if one != other:
            run.close()
            if is_explained(program[:number], standard, one, other):
                return None
            return Difference(tuple(lines[:number]), one, other)
    return None
