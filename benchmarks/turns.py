"""Contenders that take turns in one process: what times them, and ratios to the single one."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

COLUMNS = ("clock", "turns", "milliseconds", "ratio", "ratio_quartile1", "ratio_quartile3")


class Clock:
    """Times steps: processor time on a CPU, wall time on a GPU.

    Attributes:
        name: which of them, in a word.
    """

    def __init__(self, on_gpu: bool) -> None:
        self.name = "wall" if on_gpu else "processor"
        self._read = time.perf_counter if on_gpu else time.process_time
        self._wait = torch.cuda.synchronize if on_gpu else lambda: None

    def seconds(self, step: Callable[[], object], steps: int) -> float:
        """Return the seconds of one step, the mean of ``steps``."""
        self._wait()
        start = self._read()
        for _ in range(steps):
            step()
        self._wait()
        return (self._read() - start) / steps


def columns(
    clock: Clock, times: Sequence[float], single: Sequence[float], digits: int
) -> dict[str, Any]:
    """Return a contender's columns: medians over the turns, and the ratios' quartiles.

    Args:
        clock: what timed it.
        times: seconds of a step in each turn.
        single: the single network's in the same turns.
        digits: decimals of the milliseconds.
    """
    ratios = [own / other for own, other in zip(times, single, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    values = (
        f"{1000 * statistics.median(times):.{digits}f}",
        *(f"{r:.3f}" for r in (middle, low, high)),
    )
    return dict(zip(COLUMNS, (clock.name, len(times), *values), strict=True))
