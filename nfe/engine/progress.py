"""Progress on a terminal; silence elsewhere."""

import sys
import threading
from typing import Any

from tqdm import tqdm

# tqdm's own lock is one between processes, which a killed process does not give back.
tqdm.set_lock(threading.RLock())


def epoch_bar(description: str, total: int, initial: int) -> "tqdm[Any]":
    """Return a bar that counts batches and shows rate and time left; off without a terminal."""
    return tqdm(
        desc=description,
        total=total,
        initial=initial,
        unit="img",
        unit_scale=True,
        leave=False,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    )
