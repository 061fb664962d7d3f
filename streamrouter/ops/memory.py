"""Memory that is free goes back to the system: glibc keeps what lies below a block in use, however much it is."""

from __future__ import annotations

import ctypes


def trim() -> bool:
    """Give free memory back; whether there was any. False where the C library is not glibc."""
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return release is not None and bool(release(0))
