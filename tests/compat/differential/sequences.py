"""Programs out of the grammar: random ones for hypothesis, and each wrong argument once."""

import re
from collections.abc import Callable, Iterator
from functools import cache

from hypothesis import strategies as st

from .grammar import FUNCTIONS, KINDS, METHODS, MODES, POOLS, SCENES, STATES, Call, Parameter

Draw = Callable[[st.SearchStrategy], object]
Program = tuple[str, ...]

_NAME = re.compile(r"\$(\w+)")
_LONGEST = 10

# What is done to the arguments of a call; most calls are as they should be.
_FAULTS = [
    *18 * ["none"],
    "keywords",
    "keywords",
    "wrong",
    "wrong",
    "missing",
    "surplus",
    "unknown",
]


def programs() -> st.SearchStrategy[Program]:
    """A scene, what happened before, and some statements. Plain Python source, line by line."""
    return st.sampled_from(KINDS).flatmap(_programs_of)


@cache
def _programs_of(kind: str) -> st.SearchStrategy[Program]:
    return st.builds(
        _program,
        st.just(kind),
        st.sampled_from(STATES[kind]),
        st.sampled_from(MODES),
        st.lists(_statement(kind=kind), min_size=1, max_size=_LONGEST),
    )


def _program(kind: str, state: str, mode: str, statements: list[str]) -> Program:
    default = mode if mode.startswith("socket.") else ""
    later = "" if default else mode
    return lines_of([default, *SCENES[kind], state, later, *statements])


def lines_of(parts: list[str]) -> Program:
    return tuple(line for part in parts for line in part.split("\n") if line)


@st.composite
def _statement(draw: Draw, kind: str) -> str:
    call = draw(draw(_STATEMENTS))
    if isinstance(call, Call):
        return _drawn_call(draw, call, kind)
    return _drawn(draw, call, kind)


# Methods more often than the rest: it is they that change the state. In two steps, for out of a
# long list hypothesis draws the first and the last more often than the others.
_METHOD, _FREE, _FUNCTION = map(st.sampled_from, (METHODS, POOLS["free"], FUNCTIONS))
_STATEMENTS = st.sampled_from([_METHOD, _METHOD, _FREE, _FUNCTION])


def _drawn(draw: Draw, template: str, kind: str) -> str:
    """`template` with something drawn for each of its names; $target is the same throughout."""
    if "$target" in template:
        template = template.replace("$target", draw(_alternatives("target", kind)))
    parts = _NAME.split(template)
    for place in range(1, len(parts), 2):
        parts[place] = _drawn(draw, draw(_alternatives(parts[place], kind)), kind)
    return "".join(parts)


@cache
def _alternatives(pool: str, kind: str) -> st.SearchStrategy[str]:
    return st.sampled_from(_pool(pool, kind))


def _pool(pool: str, kind: str) -> list[str]:
    return POOLS.get(f"{pool} {kind}") or POOLS[pool]


def _drawn_call(draw: Draw, call: Call, kind: str) -> str:
    required = [parameter for parameter in call.parameters if not parameter.is_optional]
    count = draw(st.sampled_from(range(len(required), len(call.parameters) + 1)))
    given = call.parameters[:count]
    fault = draw(st.sampled_from(_FAULTS))
    pools = [parameter.pool for parameter in given]
    if fault == "wrong" and given:
        place = draw(st.sampled_from(range(count)))
        pools[place] = given[place].wrong
    values = [_drawn(draw, f"${pool}", kind) for pool in pools]
    if fault == "keywords" and given:
        first = draw(st.sampled_from(range(count)))
        first = max(first, given[0].name == "option")
        values[first:] = _named(given, values)[first:]
    elif fault == "missing":
        values = values[: len(required) - 1]
    elif fault == "surplus":
        values.append(_drawn(draw, "$foreign", kind))
    elif fault == "unknown":
        values.append("nonsense=1")
    return f"{_drawn(draw, call.function, kind)}({', '.join(values)})"


def _named(parameters: tuple[Parameter, ...], values: list[str]) -> list[str]:
    names = [f"{parameter.name}=" for parameter in parameters]
    if names[:1] == ["option="]:
        names[0] = ""  # two arguments in one
    return [name + value for name, value in zip(names, values, strict=True)]


def every_argument(call: Call, kind: str) -> Iterator[str]:
    """`call` with each value of each parameter's pool and each wrong value, the others plain."""
    plain = [_plain(parameter.pool, kind) for parameter in call.parameters]
    required = sum(not parameter.is_optional for parameter in call.parameters)
    function = _plain_text(call.function, kind)
    argument_lists = [plain[:count] for count in range(len(plain) + 1)]
    argument_lists += [[*plain, "None"], [*plain[:required], "nonsense=1"]]
    argument_lists.append(_named(call.parameters, plain))
    for place, parameter in enumerate(call.parameters):
        before = plain[:place]
        after = plain[place + 1 : required]
        values = dict.fromkeys([*_every(parameter.pool, kind), *_every(parameter.wrong, kind)])
        argument_lists += [[*before, value, *after] for value in values]
    for arguments in argument_lists:
        yield f"{function}({', '.join(arguments)})"


def _plain(pool: str, kind: str) -> str:
    return _plain_text(_pool(pool, kind)[0], kind)


def _plain_text(template: str, kind: str) -> str:
    return _NAME.sub(lambda name: _plain(name[1], kind), template)


@cache
def _every(pool: str, kind: str) -> tuple[str, ...]:
    """All that `$pool` can become; of what has several names in it, one is varied at a time."""
    found: dict[str, None] = {}
    for alternative in _pool(pool, kind):
        parts = _NAME.split(alternative)
        names = parts[1::2]
        for place, name in enumerate(names):
            for value in _every(name, kind):
                values = [_plain(other, kind) for other in names]
                values[place] = value
                found["".join(_woven(parts[::2], values))] = None
        if not names:
            found[alternative] = None
    return tuple(found)


def _woven(texts: list[str], values: list[str]) -> Iterator[str]:
    for text, value in zip(texts, [*values, ""], strict=True):
        yield text
        yield value
