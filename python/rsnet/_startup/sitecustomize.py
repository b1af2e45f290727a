"""What an interpreter that `python -m rsnet run` starts imports before anything of the program.

It patches, leaves no trace of itself, and makes way for the program's own sitecustomize. Any Python
that a followed program starts may come by here, so it keeps to what all of them understand.
"""

import os
import sys

_HERE = os.path.dirname(__file__)


def _patch() -> None:
    # The package that `run` was started from, wherever the program's own path leads; that folder
    # may hold anything, so what rsnet needs of the standard library comes before it is searched.
    import copyreg  # noqa: F401
    import socket  # noqa: F401

    site = os.path.dirname(os.path.dirname(_HERE))
    sys.path.insert(0, site)
    try:
        import rsnet
    except ImportError:
        # Another kind of Python, among the children that are followed.
        return
    finally:
        sys.path.remove(site)
    rsnet.patch()


def _make_way() -> None:
    sys.path[:] = [entry for entry in sys.path if entry != _HERE]
    sys.path_importer_cache.pop(_HERE, None)
    if "RSNET_RUN_FOLLOW" not in os.environ:
        before = os.environ.pop("RSNET_RUN_PYTHONPATH", None)
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before
    del sys.modules["sitecustomize"]


if __name__ == "sitecustomize":
    try:
        _patch()
    finally:
        _make_way()
    # The program's own. Where there is none this raises ImportError, as the interpreter expects of
    # a Python without one: it passes over it, and no module of this name is left.
    __import__("sitecustomize")
