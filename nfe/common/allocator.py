"""Let the C library keep freed memory: a training step asks for the same blocks again."""

import ctypes

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Larger than any one activation; larger ones come from the system each time, as by default.
_KEPT = 2**30


def keep_memory() -> None:
    """Serve blocks under 1 GiB from the heap, and keep up to 1 GiB of it that is free.

    glibc gives blocks over 32 MiB back to the system as they are freed, so that every step of a
    method that repeats its batch pays for its activations in page faults. Other C libraries have
    no such setting: nothing is done.
    """
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    if setting is not None:
        setting(_MMAP_THRESHOLD, _KEPT)
        setting(_TRIM_THRESHOLD, _KEPT)
