"""What an interpreter that `python -m rsnet run` starts imports before anything of the program.

It patches, leaves no trace of itself, and makes way for the program's own sitecustomize.
"""

import importlib
import os
import sys


def _patch() -> None:
    package = os.environ.get("RSNET_RUN_PACKAGE", "")
    try:
        import rsnet
    except ImportError:
        # Not among this interpreter's packages: where `run` was started from.
        sys.path.append(package)
        try:
            import rsnet
        except ImportError:
            # Another Python, among the children that are followed.
            return
        finally:
            sys.path.remove(package)
    rsnet.patch()


def _make_way() -> None:
    here = os.path.dirname(__file__)
    sys.path[:] = [entry for entry in sys.path if entry != here]
    if "RSNET_RUN_FOLLOW" not in os.environ:
        before = os.environ.pop("RSNET_RUN_PYTHONPATH", None)
        os.environ.pop("RSNET_RUN_PACKAGE", None)
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before
    ours = sys.modules.pop("sitecustomize")
    try:
        importlib.import_module("sitecustomize")
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        # The import of this module ends by looking for it.
        sys.modules.setdefault("sitecustomize", ours)


if __name__ == "sitecustomize":
    _patch()
    _make_way()
