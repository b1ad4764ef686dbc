"""What the process has freed goes back to the system.

glibc keeps freed memory that lies between what is in use, for each thread's arena apart, and sound comes and goes in
pieces of up to some hundred kilobytes: 200 open microphones left 95 MB of it in three minutes, and the process seemed
to grow although nothing in it did.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable

GIVE_BACK_EVERY_S = 30.0


def give_back() -> bool:
    """Return what is freed to the system; whether this C library can do that. Takes some milliseconds, without the
    interpreter's lock."""
    trim = _trim()
    if trim is None:
        return False
    trim(0)
    return True


def give_back_now_and_then() -> None:
    """From now on, from a thread of its own, as long as the process lives."""
    if _trim() is not None:
        threading.Thread(target=_forever, name="memory", daemon=True).start()


def _forever() -> None:
    pause = threading.Event()
    while not pause.wait(GIVE_BACK_EVERY_S):
        give_back()


@functools.lru_cache(maxsize=1)
def _trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`; None with another C library."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # Windows has no library called None
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    found: Callable[[int], int] = trim
    return found
