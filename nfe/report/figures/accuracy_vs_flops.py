"""Accuracy against what an ensemble prediction costs: FLOPs in two counts, and time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import style
from nfe.report.figures.data import SETTING, FigureData, per_setting, points

# Column, factor, label.
_COSTS = (
    ("macs_nonzero", 2, "inference FLOPs per image, non-zero weights\n(equal costs side by side)"),
    ("macs_dense", 2, "inference FLOPs per image, dense kernels\n(equal costs side by side)"),
    ("latency_ms", 1, "latency of one image [ms], bars: quartiles"),
)


def draw(material: FigureData) -> Figure:
    """Draw one mark a setting, and the Pareto front of the means, for each kind of cost."""
    panels = material.panels()
    figure, axes = style.grid(len(panels), len(_COSTS))
    for row, (title, part) in zip(axes, panels, strict=True):
        for ax, (column, factor, label) in zip(row, _COSTS, strict=True):
            style.title(ax, title)
            rows, where = _one_device(part.good) if column == "latency_ms" else (part.good, "")
            quartiles = part.latency_quartiles(rows["run"]) if column == "latency_ms" else {}
            _panel(figure, ax, rows, quartiles, column, factor)
            ax.set_xlabel(label + where)
            ax.set_ylabel("test accuracy [%]")
    style.legend(figure, [ax for row in axes for ax in row], style.note(material))
    return figure


def _one_device(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the rows measured on the most frequent device: times of two do not compare."""
    devices = rows["latency_device"].dropna()
    if devices.empty:
        return rows.iloc[:0], ""
    device = devices.mode().iloc[0]
    others = len(set(devices)) - 1
    told = f" ({others} more not shown)" if others else ""
    return rows[rows["latency_device"] == device], f"\non {device}{told}"


def _panel(
    figure: Figure,
    ax: Axes,
    rows: pd.DataFrame,
    quartiles: Mapping[str, Any],
    column: str,
    factor: float,
) -> None:
    # Pruned by data or at random, each seed of a setting has other non-zero MACs.
    found = points(rows, SETTING, "accuracy", column)
    found["run"] = [seeds["run"].iloc[0] for seeds in per_setting(rows)]
    if found.empty:
        style.nothing(ax, "latency was not measured" if column == "latency_ms" else "no run")
        return
    found["cost"] = factor * found[column]
    bars = [quartiles.get(run, [[0], [0]]) for run in found["run"]]
    low = min(cost - bar[0][0] for cost, bar in zip(found["cost"], bars, strict=True))
    high = max(cost + bar[1][0] for cost, bar in zip(found["cost"], bars, strict=True))
    shifts = style.side_by_side(found["cost"])
    style.log_axis(ax, low, high, prefixes=column != "latency_ms", room=max(map(abs, shifts)))
    _front(ax, found)
    for point, shift in zip(found.itertuples(), shifts, strict=True):
        ax.errorbar(
            point.cost,
            point.accuracy,
            xerr=quartiles.get(point.run),
            yerr=point.accuracy_spread,
            capsize=2,
            markersize=6,
            linestyle="none",
            label=style.name(point.method, point.members, point.settings),
            transform=style.shifted(figure, ax.transData, shift),
            **style.member_style(point.method, point.members, point.settings),
        )
    style.fit_y(ax, found["accuracy"], found["accuracy_spread"])


def _front(ax: Axes, found: pd.DataFrame) -> None:
    """Draw the Pareto front: nothing that costs as little is more accurate."""
    ordered = found.sort_values(["cost", "accuracy"], ascending=[True, False])
    best = ordered[ordered["accuracy"] > ordered["accuracy"].cummax().shift(fill_value=-np.inf)]
    cost = [*best["cost"], ax.get_xlim()[1]]
    accuracy = [*best["accuracy"], best["accuracy"].iloc[-1]]
    ax.step(
        cost,
        accuracy,
        where="post",
        color="0.55",
        linewidth=1,
        zorder=0,
        label="Pareto front",
    )
