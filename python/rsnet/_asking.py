"""Targets and settings as users give them, checked in words that say what to write instead."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from math import isfinite
from typing import Any, TypeAlias

from rsnet import _rsnet

# An item: a text, or a host and its ports.
Item: TypeAlias = str | tuple[str, str]

_ADDRESSES = (IPv4Address, IPv6Address, IPv4Interface, IPv6Interface, IPv4Network, IPv6Network)

# More targets than this are hardly meant: a /8 on one port, 2 GiB of columns.
MOST_TARGETS = 1 << 24


def items_of(given: Any, what: str = "targets") -> Iterator[Item]:
    """The texts and pairs that somebody's targets consist of, one after the other."""
    if isinstance(given, str):
        yield from given.split()
    elif isinstance(given, IPv4Interface | IPv6Interface):
        yield str(given.ip)
    elif isinstance(given, _ADDRESSES):
        yield str(given)
    elif isinstance(given, os.PathLike):
        yield from _items_of_file(given)
    elif _is_pair(given):
        yield str(given[0]), _ports_text(given[1])
    elif isinstance(given, Iterable) and not isinstance(given, bytes | bytearray):
        for number, item in enumerate(given):
            yield from items_of(item, f"{what}[{number}]")
    else:
        raise TypeError(
            f"{what}: a target is a text like 'host:80' or '192.0.2.0/24', an ipaddress object, a "
            f"(host, port) pair, a path of a file, or several of these, not {_kind(given)}"
        )


def _is_pair(given: Any) -> bool:
    """A host with ports of its own, as socket has addresses: ('192.0.2.1', 80)."""
    return (
        isinstance(given, tuple)
        and len(given) in (2, 4)
        and isinstance(given[0], (str, *_ADDRESSES))
        and isinstance(given[1], int)
        and not isinstance(given[1], bool)
    )


def _items_of_file(path: os.PathLike[str]) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield from line.partition("#")[0].split()


def _ports_text(ports: Any) -> str:
    """Ports as one text: what a text, a number, a range or several of them mean."""
    if isinstance(ports, str):
        return ports
    if isinstance(ports, bool):
        raise TypeError("ports are numbers, not bool")
    if isinstance(ports, int):
        return str(ports)
    if isinstance(ports, range) and len(ports) > 0 and ports.step == 1:
        return f"{ports.start}-{ports.stop - 1}" if ports.start >= 0 else str(ports.start)
    if isinstance(ports, Iterable) and not isinstance(ports, bytes | bytearray):
        return ",".join(_ports_text(port) for port in ports)
    raise TypeError(
        f"ports are a number, a text like '22,80,8000-8100', a range or several of these, "
        f"not {_kind(ports)}"
    )


def _kind(given: object) -> str:
    return type(given).__name__


class Asked:
    """Whom to ask, as plain texts: what can be sent to another process and read there again."""

    def __init__(self, targets: Any, ports: Any, exclude: Any) -> None:
        self.items = list(items_of(targets))
        self.ports = None if ports is None else _ports_text(ports)
        self.excluded = list(items_of(exclude, "exclude"))

    def native(self) -> _rsnet.Targets:
        native = _rsnet.Targets()
        if self.ports is not None:
            _named("ports", native.add_ports, self.ports)
        for number, item in enumerate(self.items):
            if isinstance(item, str):
                _named(f"targets, item {number + 1}", native.add, item)
            else:
                _named(f"targets, item {number + 1}", native.add_pair, *item)
        for number, item in enumerate(self.excluded):
            text = item if isinstance(item, str) else item[0]
            _named(f"exclude, item {number + 1}", native.exclude, text)
        return native


def _named(what: str, add: Any, *texts: str) -> None:
    try:
        add(*texts)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def most_targets(count: int, max_targets: int | None) -> int:
    """How many of `count` targets are asked."""
    if max_targets is None:
        if count > MOST_TARGETS:
            raise ValueError(
                f"{_large(count)} targets are more than {MOST_TARGETS:,}; give max_targets= to ask "
                "a random sample of so many, or to allow as many"
            )
        return count
    return min(count, positive_integer("max_targets", max_targets))


def _large(count: int) -> str:
    return f"{count:,}" if count < 10**15 else f"2**{count.bit_length() - 1}"


def positive(name: str, value: float) -> float:
    """A finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number, not {_kind(value)}")
    if not isfinite(value) or value <= 0:
        raise ValueError(f"{name} is a number above 0, not {value}")
    return float(value)


def positive_integer(name: str, value: int, *, or_zero: bool = False) -> int:
    """A whole number above zero, or not below."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is a whole number, not {_kind(value)}")
    number = value.__index__()
    if number < 0 or (number == 0 and not or_zero):
        raise ValueError(f"{name} is {'0 or more' if or_zero else 'at least 1'}, not {number}")
    return number


def seed_of(seed: int | None) -> int:
    """The seed that was given, or a new one."""
    if seed is None:
        return random.SystemRandom().getrandbits(32)
    number = positive_integer("seed", seed, or_zero=True)
    if number >= 1 << 64:
        raise ValueError(f"seed is below 2**64, not {number}")
    return number
