"""Methods of pruning at initialization, at equal sparsity and at equal multiply-adds."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from nfe.report.catalogue import PRUNERS
from nfe.report.figures import axes as scales
from nfe.report.figures import layout, style
from nfe.report.figures.data import FigureData, pruned_unit, whole_layers
from nfe.report.schema import PANEL

_LOST = {"collapsed": "x", "failed": "+"}


def draw(material: FigureData) -> Figure:
    """Draw one line a pruning method, against sparsity and against non-zero FLOPs.

    Networks of which some layers are whole in every path, or whose weights are not divided one
    by one, have panels of their own. Whole channels pruned have lines of their own, dashed.
    """
    settings = material.rows["settings"]
    rows = material.rows.assign(
        whole=settings.map(whole_layers),
        division=settings.map(style.division),
        unit=settings.map(pruned_unit),
    )
    panels = material.of(rows).panels((*PANEL, "whole", "division"))
    figure, axes = layout.grid(len(panels), 2, height=2.2, sharey="row")
    seeds: dict[str, int] = {}
    for (left, right), (_, part) in zip(axes, panels, strict=True):
        left.set_ylabel("test accuracy [%]")
        costs = part.of(part.rows.assign(flops=2 * part.rows["macs_nonzero"]))
        _dense(left, costs)
        _dense(right, costs)
        seeds |= _lines(left, costs, "sparsity")
        _lines(right, costs, "flops")
        _by_sparsity(left, costs.rows)
        _by_flops(right, costs.good)
    layout.titles(figure, [row[0] for row in axes], [words for words, _ in panels])
    heading = f"{layout.note(material)} Accuracy: the ensemble's."
    if _lost(material.rows).any():
        heading += " × collapsed, + failed: no accuracy, so off the scale, above the panel."
    layout.legend(figure, [ax for row in axes for ax in row], heading, seeds)
    return figure


def _lost(rows: pd.DataFrame) -> "pd.Series[bool]":
    return rows["status"].isin(list(_LOST))


def _by_sparsity(ax: Axes, rows: pd.DataFrame) -> None:
    # Evenly spaced in the logarithm of what is left, so that high sparsities lie apart.
    forward, back = lambda s: -np.log10(np.maximum(1 - s, 1e-6)), lambda t: 1 - 10.0**-t
    ax.set_xscale("function", functions=(forward, back))
    values = sorted(rows.loc[rows["pruning"] != "none", "sparsity"].unique())
    if values:
        ends = forward(np.array([values[0], values[-1]])) + np.array([-0.1, 0.1])
        ax.set_xlim(*(back(end) for end in ends))
    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.set_xlabel("sparsity of the convolutions\n(log of the share that is left)")
    lost = rows[_lost(rows)]
    kinds = lost.groupby(["status", "pruning", "sparsity"], sort=False).size().reset_index(name="n")
    if kinds.empty:
        return
    marks = {
        "x": kinds["sparsity"],
        "label": kinds["pruning"].map(_name),
        "colour": kinds["pruning"].map(lambda name: style.pruner(name)["color"]),
        "mark": kinds["status"].map(_LOST),
        "n": kinds["n"],
    }
    style.lost_strip(ax, pd.DataFrame(marks))


def _by_flops(ax: Axes, good: pd.DataFrame) -> None:
    if not good.empty:
        scales.log(ax, good["flops"].min(), good["flops"].max(), apart=0.2)
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("FLOPs per image,\nnon-zero weights (log)")


def _name(pruning: str) -> str:
    return PRUNERS[pruning].name if pruning in PRUNERS else pruning


def _dense(ax: Axes, material: FigureData) -> None:
    """Draw the network without pruning as a line with its band."""
    dense = material.good[material.good["pruning"] == "none"]
    if dense.empty:
        return
    middle, half = dense["accuracy"].mean(), material.spread(dense, "accuracy")
    label = f"no pruning, n = {len(dense)} (band)"
    ax.axhline(
        middle,
        color=style.GREY,
        linestyle="--",
        linewidth=0.8,
        label=label,
        gid=style.tag(ax, "dense"),
    )
    ax.axhspan(middle - half, middle + half, color=style.GREY, alpha=0.12, linewidth=0)


def _lines(ax: Axes, material: FigureData, column: str) -> dict[str, int]:
    """Draw the lines; return the number of seeds of each, of its first place."""
    found = material.points(material.good, ["pruning", "unit", "sparsity"], "accuracy", "flops")
    seeds = {}
    names = dict.fromkeys([*PRUNERS, *found["pruning"]])
    for pruning, unit in itertools.product(names, ("", "channels")):
        chosen = (found["pruning"] == pruning) & (found["unit"] == unit)
        line = found[chosen].sort_values("sparsity")
        if line.empty or pruning == "none":
            continue
        look = style.pruner(pruning)
        label = f"{_name(pruning)}, {unit}" if unit else _name(pruning)
        ax.plot(
            line[column],
            line["accuracy"],
            color=look["color"],
            linestyle="--" if unit else "-",
            linewidth=0.8,
            alpha=0.7,
        )
        seeds[label] = int(line["n"].max())
        for point in line.itertuples():
            bars: dict[str, Any] = {
                "yerr": point.accuracy_spread,
                "markersize": 4,
                "label": label,
            }
            place = getattr(point, column)
            style.mark(ax, point.run, place, point.accuracy, point.n, **bars, **look)
    return seeds
