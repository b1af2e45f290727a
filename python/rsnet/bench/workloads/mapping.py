"""How memory for large reads is come by: the same way in every run."""

from __future__ import annotations

import ctypes


def keep_mapping() -> None:
    """Has malloc map large pieces for as long as the process lives, as it does in one that starts.

    Once a piece over 256 KiB has been freed, glibc keeps such pieces at hand, and the standard
    library's reads are as fast as rsnet's. Whether an import or a row before has freed one must not
    decide what is measured.
    """
    m_mmap_threshold, usual_bytes = -3, 128 * 1024
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Other C libraries have no such habit, nor such a function.
    if mallopt is not None:
        mallopt(m_mmap_threshold, usual_bytes)
