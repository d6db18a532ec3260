"""Methods of pruning at initialization, at equal sparsity and at equal multiply-adds."""

import itertools
import json

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import style
from nfe.report.figures.data import FigureData, points, spread
from nfe.report.schema import PANEL


def draw(material: FigureData) -> Figure:
    """Draw one line a pruning method, against sparsity and against non-zero FLOPs.

    Networks of which some layers are whole in every path, or whose weights are not divided one
    by one, have panels of their own. Whole channels pruned have lines of their own.
    """
    settings = material.rows["settings"]
    rows = material.rows.assign(
        whole=settings.map(_whole),
        division=settings.map(style.division),
        pruned=settings.map(_unit),
    )
    panels = FigureData(rows, material.folder).panels((*PANEL, "whole", "division"))
    figure, axes = style.grid(len(panels), 2)
    for (left, right), (title, part) in zip(axes, panels, strict=True):
        for ax in (left, right):
            style.title(ax, title)
            ax.set_ylabel("test accuracy of the ensemble [%]")
        rows = part.rows.assign(flops=2 * part.rows["macs_nonzero"])
        _sparsity(figure, left, rows)
        _flops(right, rows)
    style.legend(figure, [ax for row in axes for ax in row], style.note(material))
    return figure


def _whole(settings: str) -> str:
    return ", ".join(json.loads(settings).get("whole", ()))


def _unit(settings: str) -> str:
    return "channels" if json.loads(settings).get("prune_channels") else ""


def _sparsity(figure: Figure, ax: Axes, rows: pd.DataFrame) -> None:
    _dense(ax, rows)
    _lines(ax, rows, "sparsity")
    _mark_lost(figure, ax, rows)
    # Evenly spaced in the logarithm of what is left, so that high sparsities lie apart.
    forward, back = lambda s: -np.log10(np.maximum(1 - s, 1e-6)), lambda t: 1 - 10.0**-t
    ax.set_xscale("function", functions=(forward, back))
    values = sorted(rows.loc[rows["pruning"] != "none", "sparsity"].unique())
    if values:
        ends = forward(np.array([values[0], values[-1]])) + np.array([-0.1, 0.1])
        ax.set_xlim(*(back(end) for end in ends))
    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.set_xlabel("sparsity of the convolutions\n(spaced by the share that is left, logarithmic)")


def _flops(ax: Axes, rows: pd.DataFrame) -> None:
    good = rows[rows["status"] == "ok"]
    _dense(ax, rows)
    _lines(ax, rows, "flops")
    if not good.empty:
        style.log_axis(ax, good["flops"].min(), good["flops"].max())
    ax.set_xlabel("inference FLOPs per image, non-zero weights")


def _dense(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the network without pruning as a line with its band."""
    dense = rows.loc[(rows["pruning"] == "none") & (rows["status"] == "ok"), "accuracy"]
    if dense.empty:
        return
    middle, half = dense.mean(), np.nan_to_num(spread(dense))
    ax.axhline(middle, color="0.4", linestyle="--", label="no pruning")
    ax.axhspan(middle - half, middle + half, color="0.4", alpha=0.15, linewidth=0)


def _lines(ax: Axes, rows: pd.DataFrame, column: str) -> None:
    good = rows[rows["status"] == "ok"]
    found = points(good, ["pruning", "pruned", "sparsity"], "accuracy", "flops")
    for pruning, unit in itertools.product(style.PRUNERS, ("", "channels")):
        chosen = (found["pruning"] == pruning) & (found["pruned"] == unit)
        line = found[chosen].sort_values("sparsity")
        if line.empty:
            continue
        ax.errorbar(
            line[column],
            line["accuracy"],
            yerr=line["accuracy_spread"],
            capsize=2,
            markersize=5,
            linewidth=1.2,
            elinewidth=0.8,
            linestyle="--" if unit else "-",
            label=f"{pruning}, {unit}" if unit else pruning,
            **style.style(style.PRUNERS, pruning),
        )


def _mark_lost(figure: Figure, ax: Axes, rows: pd.DataFrame) -> None:
    """Show collapsed and failed runs on the lower edge instead of dropping them."""
    for status, mark in (("collapsed", "x"), ("failed", "+")):
        for pruning, lost in rows[rows["status"] == status].groupby("pruning"):
            place = style.PRUNERS.index(str(pruning)) if pruning in style.PRUNERS else 0
            ax.plot(
                lost["sparsity"],
                [0.03] * len(lost),
                transform=style.shifted(figure, ax.get_xaxis_transform(), 5 * place - 12),
                linestyle="none",
                marker=mark,
                markersize=6,
                color=style.style(style.PRUNERS, str(pruning))["color"],
                label=f"{pruning}: {len(lost)} {status}",
            )
