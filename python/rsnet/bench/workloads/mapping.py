"""How memory for large reads is come by: the same way in every run."""

from __future__ import annotations

import ctypes

# What recv(262144) asks malloc for, and a little more.
_PIECE_BYTES = 256 * 1024 + 4096
# More free pieces than this no process that has just started has.
_MOST_PIECES = 1024
_M_MMAP_THRESHOLD, _USUAL_THRESHOLD_BYTES = -3, 128 * 1024


def keep_mapping() -> None:
    """Has malloc map large pieces while the process lives, as it does when none is at hand.

    Where an import or a row before has left a free piece of 256 KiB in the heap, or has freed a
    mapped one, the standard library's reads take it again and again, and are as fast as rsnet's.
    Which of both it is must not change from run to run: what is free is taken out of the heap.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        # Other C libraries have no such habits.
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _USUAL_THRESHOLD_BYTES)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    for _ in range(_MOST_PIECES):
        piece = libc.malloc(ctypes.c_size_t(_PIECE_BYTES))
        if not piece or _is_mapped(piece):
            libc.free(piece)
            return


def _is_mapped(piece: int) -> bool:
    """What glibc notes in the size in front of each piece (malloc.c, IS_MMAPPED)."""
    size = ctypes.c_size_t.from_address(piece - ctypes.sizeof(ctypes.c_size_t))
    return bool(size.value & 2)
