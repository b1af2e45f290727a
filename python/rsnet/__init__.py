"""Python's `socket` module in Rust: `import rsnet as socket`, and nothing else changes.

Every name of the standard module is here. Sockets of the families AF_INET, AF_INET6 and AF_UNIX
are rsnet's own; for all other families `rsnet.socket(...)` hands out the standard class.
Constants, enums and exceptions are the standard module's own objects.
"""

from rsnet import _pickling, _socket
from rsnet._patch import patch as patch
from rsnet._patch import patched as patched
from rsnet._patch import unpatch as unpatch

globals().update(_socket.namespace)
_pickling.register()


def __getattr__(name: str) -> object:
    """The measurements, imported when they are first asked for: sockets do not need them."""
    from importlib import import_module

    if name in ("records", "tcp", "udp"):
        return import_module(f"rsnet.{name}")
    if name == "reflector":
        return import_module("rsnet._reflector").reflector
    if name == "TcpInfo":
        return import_module("rsnet._tcp_info").TcpInfo
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
