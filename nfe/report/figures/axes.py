"""Scales of a panel: round numbers on a logarithmic axis, and an axis with a piece cut out."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.ticker import (
    EngFormatter,
    FixedLocator,
    FormatStrFormatter,
    MaxNLocator,
    NullLocator,
)

from nfe.report.figures.style import tag

# A gap that takes more of an axis than this is cut out, to this share of what is left.
_WIDE, _LEFT = 0.25, 0.06
# Times the least value that make an axis logarithmic.
_MANY = 3
# First digits, roundest first.
_ROUND = (1, 2, 5, 3, 1.5, 7, 4, 1.2, 2.5, 6, 1.7, 1.1, 1.3, 8, 9)


def log(
    ax: Axes,
    low: float,
    high: float,
    *,
    axis: str = "x",
    prefixes: bool = True,
    apart: float = 0.29,
) -> None:
    """Make an axis logarithmic from below ``low`` to above ``high``, with few round numbers on it.

    Args:
        ax: the panel.
        low: least value.
        high: largest value.
        axis: ``x`` or ``y``.
        prefixes: write 2 M and not 2000000.
        apart: least distance of two numbers, as a share of the axis.
    """
    margin = max(1.15, (high / low) ** 0.08)
    limits = (low / margin, high * margin)
    getattr(ax, f"set_{axis}scale")("log")
    getattr(ax, f"set_{axis}lim")(*limits)
    one = getattr(ax, f"{axis}axis")
    one.set_major_locator(FixedLocator(_round_numbers(*limits, apart)))
    one.set_major_formatter(EngFormatter() if prefixes else FormatStrFormatter("%g"))
    one.set_minor_locator(NullLocator())


def _round_numbers(low: float, high: float, apart: float) -> list[float]:
    """Return numbers of few digits, the roundest first to be chosen, none near an other or an end.

    Args:
        low: the axis' left end.
        high: its right end.
        apart: least distance of two numbers, as a share of the axis.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: dict[float, float] = {}
    for digits in _ROUND:
        for value in (float(f"{digits}e{k}") for k in decades):
            place = math.log(value / low) / math.log(high / low)
            free = all(abs(place - other) >= apart for other in found.values())
            if 0.02 <= place <= 0.93 and free:
                found[value] = place
    return sorted(found)


def fit(ax: Axes, axis: str, middle: pd.Series, half: pd.Series, most: int = 5) -> None:
    """Set an axis' limits around marks and bars; cut out of y a gap that squeezes the rest.

    Args:
        ax: the panel.
        axis: ``x`` or ``y``.
        middle: the marks' values.
        half: half-widths of their bars; NaN is no bar.
        most: how many numbers may stand on the axis.
    """
    low, high = middle - half.fillna(0), middle + half.fillna(0)
    gap = _gap(low, high) if axis == "y" else None
    span = high.max() - low.min() - (gap[1] - gap[0] if gap else 0)
    room = 0.07 * span + 1e-3
    limits = (low.min() - room, high.max() + room)
    one = getattr(ax, f"{axis}axis")
    if gap:
        ends = (gap[0] + room, gap[1] - room)
        _cut(ax, *ends, _LEFT * span)
        one.set_major_locator(FixedLocator(list(_ticks(*limits, *ends))))
    else:
        one.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    getattr(ax, f"set_{axis}lim")(*limits)
    one.set_major_formatter(FormatStrFormatter("%g"))


def fit_positive(
    ax: Axes, axis: str, middle: pd.Series, half: pd.Series, label: str, most: int = 5
) -> None:
    """Set an axis' limits and label; logarithmic where its largest value is many times the least.

    Args:
        ax: the panel.
        axis: ``x`` or ``y``.
        middle: the marks' values, above zero.
        half: half-widths of their bars; NaN is no bar.
        label: of the axis.
        most: how many numbers may stand on the axis.
    """
    if middle.max() > _MANY * middle.min():
        # A bar down to zero or below has no lower end here: the mark's half stands for it.
        low = np.maximum(middle - half.fillna(0), middle / 2).min()
        high = (middle + half.fillna(0)).max()
        log(ax, low, high, axis=axis, prefixes=False, apart=0.25)
        label += " (log)"
    else:
        fit(ax, axis, middle, half, most)
    getattr(ax, f"set_{axis}label")(label)


def _gap(low: pd.Series, high: pd.Series) -> tuple[float, float] | None:
    """Return the widest stretch without mark or bar, where it takes much of the whole."""
    order = np.argsort(low.to_numpy())
    reached = np.maximum.accumulate(high.to_numpy()[order])
    gaps = [(b - a, a, b) for a, b in zip(reached, low.to_numpy()[order][1:], strict=False)]
    if not gaps:
        return None
    width, start, end = max(gaps)
    whole = high.max() - low.min()
    return (float(start), float(end)) if whole > 0 and width > _WIDE * whole else None


def _cut(ax: Axes, start: float, end: float, left: float) -> None:
    """Draw what lies between ``start`` and ``end`` of y as ``left`` units, and mark the place."""
    ax.set_yscale("function", functions=_shortened(start, end, left))
    place = (start + end) / 2
    for panel in ax.get_shared_y_axes().get_siblings(ax):
        look: dict[str, Any] = {"transform": panel.get_yaxis_transform(), "clip_on": False}
        # The axis' own line is interrupted by white, between two strokes.
        panel.plot([0, 1], [place, place], color="white", linewidth=3.5, zorder=3, **look)
        for side in (-1, 1):
            stroke = Path([(-1, 0.5 * side - 0.35), (1, 0.5 * side + 0.35)])
            (drawn,) = panel.plot(0, place, marker=stroke, color="0.3", zorder=4, **look)
            drawn.set(
                markersize=7, markeredgewidth=0.7, linestyle="none", gid=tag(panel, f"cut{side:+d}")
            )


def _shortened(
    start: float, end: float, left: float
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    rate, lost = left / (end - start), (end - start) - left

    def forward(values: Any) -> Any:
        v = np.asarray(values, dtype=float)
        inside = start + (v - start) * rate
        return np.where(v <= start, v, np.where(v < end, inside, v - lost))

    def back(values: Any) -> Any:
        v = np.asarray(values, dtype=float)
        inside = start + (v - start) / rate
        return np.where(v <= start, v, np.where(v < start + left, inside, v + lost))

    return forward, back


def _ticks(low: float, high: float, start: float, end: float) -> Iterator[float]:
    """Yield round numbers on both sides of what is cut out, at one distance."""
    wide = max((low, start), (end, high), key=lambda side: side[1] - side[0])
    marks = MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(*wide)
    step = next(b - a for a, b in pairwise(marks))
    for first, last in ((low, start), (end, high)):
        inner = step
        # Two ticks a side at least, or a reader cannot tell its scale.
        while math.floor(last / inner) - math.ceil(first / inner) < 1:
            inner /= 2
        yield from (
            inner * k for k in range(math.ceil(first / inner), math.floor(last / inner) + 1)
        )
