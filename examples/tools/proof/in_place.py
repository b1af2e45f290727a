"""Puts rsnet in the place of the standard library's `socket`."""

from __future__ import annotations


def put_in_place(subject: str) -> None:
    """Make `socket` mean the subject, "socket" or "rsnet", for whatever is imported from now on."""
    # With both, so that both import the same.
    import ssl  # noqa: F401

    if subject == "rsnet":
        import rsnet

        rsnet.patch()
