"""The scoreboard: rsnet beside the standard library, its best peers and the floor, in one run.

`python -m rsnet bench` runs it; docs/performance.md says how to read it.
"""

from .command import main

__all__ = ["main"]
