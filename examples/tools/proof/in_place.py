"""Puts rsnet in the place of the standard library's `socket`."""

from __future__ import annotations


def put_in_place(subject: str) -> None:
    """Make `socket` mean the subject, "socket" or "rsnet", for whatever is imported from now on."""
    # Before the change and with both: ssl.SSLSocket has to inherit from the standard class.
    import ssl  # noqa: F401

    if subject == "rsnet":
        _patch()


def _patch() -> None:
    import socket

    import rsnet

    names = {name: value for name, value in vars(rsnet).items() if not name.startswith("_")}
    vars(socket).update(names)
