"""Accuracy against what an ensemble prediction costs: FLOPs in two counts, and time."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import axes as scales
from nfe.report.figures import front, layout, style
from nfe.report.figures.data import SETTING, FigureData

# Column, factor, label.
_COSTS = (
    ("macs_nonzero", 2, "FLOPs per image,\nnon-zero weights (log)"),
    ("macs_dense", 2, "FLOPs per image,\ndense kernels (log)"),
    ("latency_ms", 1, "latency of an image [ms],\nthin: quartiles (log)"),
)


def draw(material: FigureData) -> Figure:
    """Draw one mark a setting at its true place, and the front of the headline's means."""
    panels = material.panels()
    figure, axes = layout.grid(len(panels), len(_COSTS), height=2.1, sharey="row")
    remarks: set[str] = set()
    seeds: dict[str, int] = {}
    for row, (_, part) in zip(axes, panels, strict=True):
        row[0].set_ylabel("test accuracy [%]")
        shown = part.points(part.good, SETTING, "accuracy")
        seeds |= {_name(point): point.n for point in shown.itertuples()}
        if len(shown):
            scales.fit(row[0], "y", shown["accuracy"], shown["accuracy_spread"])
        for ax, (column, factor, label) in zip(row, _COSTS, strict=True):
            rows, where = _one_device(part.good) if column == "latency_ms" else (part.good, "")
            quartiles = part.latency_quartiles(rows["run"]) if column == "latency_ms" else {}
            ax.set_xlabel(label + where)
            remarks.add(_panel(ax, part, rows, quartiles, column, factor))
    layout.titles(figure, [row[0] for row in axes], [words for words, _ in panels])
    heading = " ".join([layout.note(material), *sorted(remarks - {""})])
    layout.legend(figure, [ax for row in axes for ax in row], heading, seeds)
    return figure


def _name(point: Any) -> str:
    return style.name(point.method, point.members, point.settings)


def _one_device(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the rows measured on the most frequent device: times of two do not compare."""
    devices = rows["latency_device"].dropna()
    if devices.empty:
        return rows.iloc[:0], ""
    device = devices.mode().iloc[0]
    others = len(set(devices)) - 1
    told = f"\n({others} more not shown)" if others else ""
    return rows[rows["latency_device"] == device], f"\n{device}{told}"


def _panel(
    ax: Axes,
    material: FigureData,
    rows: pd.DataFrame,
    quartiles: Mapping[str, Any],
    column: str,
    factor: float,
) -> str:
    """Draw a panel; return why it has no front, "" where it has."""
    # Pruned by data or at random, each seed of a setting has other non-zero MACs.
    found = material.points(rows, SETTING, "accuracy", column)
    if found.empty:
        style.nothing(ax, "latency was not\nmeasured" if column == "latency_ms" else "no run")
        return ""
    found["cost"] = factor * found[column]
    bars = [quartiles.get(run, [[0], [0]]) for run in found["run"]]
    low = min(cost - bar[0][0] for cost, bar in zip(found["cost"], bars, strict=True))
    high = max(cost + bar[1][0] for cost, bar in zip(found["cost"], bars, strict=True))
    scales.log(ax, low, high, prefixes=column != "latency_ms")
    groups = rows.set_index("run")["groups"].str.split("/")
    headline = found[[("headline" in groups[run]) for run in found["run"]]]
    why = front.refusal(headline, material.ranks)
    if not why:
        front.draw(ax, headline)
    for point, bar in zip(found.itertuples(), bars, strict=True):
        look = style.member_style(point.method, point.members, point.settings)
        thin: dict[str, Any] = {
            "ecolor": look["color"],
            "elinewidth": 0.5,
            "alpha": 0.7,
            "fmt": "none",
        }
        ax.errorbar(point.cost, point.accuracy, xerr=bar, zorder=1.5, **thin)
        style.mark(
            ax,
            point.run,
            point.cost,
            point.accuracy,
            point.n,
            yerr=point.accuracy_spread,
            label=_name(point),
            **look,
        )
    return why
