"""Accuracy against mean FLOPs, when images stop at the first exit that is confident."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from nfe.report.figures import layout, style
from nfe.report.figures.data import FigureData, per_setting


def draw(material: FigureData) -> Figure:
    """Draw one curve a setting over all thresholds, with bands."""
    panels = material.panels()
    figure, axes = layout.wrapped(len(panels), 2, 2.1)
    names = list(
        dict.fromkeys(style.exits_name(seeds.iloc[0]) for seeds in per_setting(material.good))
    )
    looks = {name: style.numbered(index) for index, name in enumerate(names)}
    seeds: dict[str, int] = {}
    for ax, (_, part) in zip(axes, panels, strict=True):
        seeds |= _panel(ax, part, looks)
    layout.titles(figure, axes, [words for words, _ in panels])
    heading = f"{layout.note(material, 'Bands')} Large mark: no image stops early."
    layout.legend(figure, axes, heading, seeds)
    return figure


def _panel(ax: Axes, material: FigureData, looks: Mapping[str, Any]) -> dict[str, int]:
    """Draw a panel; return the number of seeds of each curve."""
    drawn = {}
    for seeds in per_setting(material.good):
        found = [material.metrics(run).get("early_exit") for run in seeds["run"]]
        curves = np.array([curve for curve in found if curve is not None], dtype=float)
        if not len(curves):
            continue
        name = style.exits_name(seeds.iloc[0])
        drawn[name] = len(curves)
        # Seeds × thresholds × (threshold, accuracy, MACs).
        flops, accuracy = 2 * curves[:, :, 2].mean(axis=0), curves[:, :, 1].mean(axis=0)
        half = [material.share_spread(seeds, pd.Series(column)) for column in curves[:, :, 1].T]
        gid = style.tag(ax, f"curve:{seeds['run'].iloc[0]}")
        look: dict[str, Any] = {**looks[name], "markersize": 2, "markevery": 4}
        style.band(ax, flops, accuracy, half, gid, label=name, **look)
        # Where no image stops early: the ensemble of all exits.
        ax.plot(flops[-1], accuracy[-1], markersize=6, linestyle="none", **looks[name])
    if not drawn:
        style.nothing(ax, "no run has an early-exit curve")
        return {}
    ax.xaxis.set_major_formatter(EngFormatter())
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("mean FLOPs per image, non-zero weights")
    ax.set_ylabel("test accuracy [%]")
    return drawn
