"""How busy others keep the machine's cores while something is timed."""

import os
import time
from pathlib import Path

from nfe.common.errors import InputError

ALLOW = "NFE_ALLOW_LOAD"
# In the first line of the file: user, nice, system, idle, iowait, irq, softirq, steal; then what
# user and nice hold already.
_STAT = Path("/proc/stat")
_BUSY = (0, 1, 2, 5, 6, 7)
# Of all cores, where that is more than a quarter of one: among many, others are further away.
_SHARE = 0.1
_LEAST = 0.25


def limit() -> float:
    """Return how many cores others may keep busy on average while latency is measured."""
    return max(_LEAST, _SHARE * (os.cpu_count() or 1))


class Others:
    """Counts, from its making on, the cores that are kept busy by others than this process.

    Also what a virtual machine's host takes away counts (steal).
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before = self._spent()

    def cores(self) -> float | None:
        """Return how many cores others have kept busy on average; None where nothing tells."""
        now, elapsed = self._spent(), time.monotonic() - self._began
        if now is None or self._before is None or not elapsed:
            return None
        return max(0.0, (now - self._before) / elapsed)

    @staticmethod
    def _spent() -> float | None:
        """Return the CPU seconds of all but this process and its children since the start."""
        if not _STAT.exists():
            return None
        ticks = [int(word) for word in _STAT.read_text(encoding="utf-8").split("\n")[0].split()[1:]]
        mine = os.times()
        all_of_them = sum(ticks[place] for place in _BUSY) / os.sysconf("SC_CLK_TCK")
        return all_of_them - sum(mine[:4])


def too_high(cores: float) -> bool:
    """Return whether others have kept too many cores busy."""
    return cores > limit() and os.environ.get(ALLOW) != "1"


def refused(cores: float) -> InputError:
    """Return the error for so many busy cores."""
    return InputError(
        f"latency: others keep {cores:.2f} cores busy: allowed: up to {limit():.2f}; measure on "
        f"an idle machine, or with {ALLOW}=1 (the load is recorded)"
    )
