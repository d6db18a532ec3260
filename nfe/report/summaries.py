"""A number over seeds as cells of a table: mean, standard deviation, 95 % interval."""

from collections.abc import Iterable, Sequence

from nfe.report.schema import text
from nfe.report.statistics import summarize

_STATISTICS = ("mean", "std", "ci95")


def columns(names: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of some numbers over seeds."""
    return tuple(f"{name}_{statistic}" for name in names for statistic in _STATISTICS)


def cells(name: str, values: Sequence[float], like: str = "") -> dict[str, str]:
    """Return one number's cells by column.

    Args:
        name: what the columns begin with.
        values: one number per seed.
        like: the column whose format they have (default: ``name``).
    """
    return {f"{name}_{s}": text(like or name, value) for s, value in summarize(values).items()}
