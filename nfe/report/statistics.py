"""Statistics over seeds."""

import math
import statistics
from collections.abc import Sequence

from scipy.stats import t


def summarize(values: Sequence[float]) -> dict[str, float | None]:
    """Return mean, sample standard deviation and half-width of the 95 % interval.

    The interval is Student's t over the seeds: t_{0.975, n−1} · s / √n.

    Args:
        values: one number per seed.

    Returns:
        ``mean``, ``std`` (None under 2 values) and ``ci95`` (None under 3 values).
    """
    n = len(values)
    std = statistics.stdev(values) if n >= 2 else None
    half = float(t.ppf(0.975, n - 1)) * std / math.sqrt(n) if n >= 3 and std is not None else None
    return {"mean": statistics.fmean(values) if n else None, "std": std, "ci95": half}
