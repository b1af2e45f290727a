"""How far a long call is: told to any callable, or shown by tqdm."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

# Is given how many are done, and of how many.
Progress: TypeAlias = Callable[[int, int], object]


def shown(progress: bool | Progress | None, unit: str) -> Progress | None:
    """The callable to tell: the one that was given, or a bar of tqdm's for True."""
    if progress is None or progress is False:
        return None
    if progress is True:
        return _Bar(unit)
    if not callable(progress):
        raise TypeError(
            f"progress is True, or a callable that is given (done, total), not {progress!r}"
        )
    return progress


class _Bar:
    """A bar in a terminal, a widget in a notebook."""

    def __init__(self, unit: str) -> None:
        try:
            self._tqdm: Any = import_module("tqdm.auto").tqdm
        except ImportError:
            raise ImportError(
                "progress=True needs tqdm: pip install 'rsnet[notebook]', or give a callable"
            ) from None
        self._unit = unit
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = self._tqdm(total=total, unit=self._unit)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def close(progress: Progress | None) -> None:
    """Nothing more will be told."""
    if isinstance(progress, _Bar):
        progress.close()
