"""Accuracy against mean FLOPs, when images stop at the first exit that is confident."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from nfe.report.figures import style
from nfe.report.figures.data import FigureData, per_setting, spread


def draw(material: FigureData) -> Figure:
    """Draw one curve a setting over all thresholds, seeds as bands."""
    panels = material.panels()
    figure, axes = style.wrapped(len(panels))
    names = list(dict.fromkeys(_name(seeds) for seeds in per_setting(material.good)))
    for ax, (title, part) in zip(axes, panels, strict=True):
        style.title(ax, title)
        _panel(ax, part, names)
    style.legend(figure, axes, style.note(material, "bands"))
    return figure


def _name(seeds: pd.DataFrame) -> str:
    first = seeds.iloc[0]
    return f"N = {int(first['members'])}, exits after {first['exit_stages']}"


def _panel(ax: Axes, material: FigureData, names: Sequence[str]) -> None:
    drawn = 0
    for seeds in per_setting(material.good):
        found = [material.metrics(run).get("early_exit") for run in seeds["run"]]
        curves = np.array([curve for curve in found if curve is not None], dtype=float)
        if not len(curves):
            continue
        drawn += 1
        # Seeds × thresholds × (threshold, accuracy, MACs).
        flops, accuracy = 2 * curves[:, :, 2].mean(axis=0), curves[:, :, 1].mean(axis=0)
        half = [spread(column) for column in curves[:, :, 1].T]
        look = style.style(names, _name(seeds))
        style.band(ax, flops, accuracy, half, label=_name(seeds), **look | {"markersize": 3})
        # Where no image stops early: the ensemble of all exits.
        ax.plot(flops[-1], accuracy[-1], markersize=9, linestyle="none", **look)
    if not drawn:
        style.nothing(ax, "no run has an early-exit curve")
        return
    ax.xaxis.set_major_formatter(EngFormatter())
    ax.set_xlabel("mean inference FLOPs per image, non-zero weights\n(large mark: never early)")
    ax.set_ylabel("test accuracy [%]")
