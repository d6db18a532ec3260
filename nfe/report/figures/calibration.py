"""Accuracy, NLL and ECE of every method against one another."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import axes as scales
from nfe.report.figures import layout, style
from nfe.report.figures.data import SETTING, FigureData

_LABELS = {"accuracy": "test accuracy [%]", "nll": "test NLL [nats]", "ece": "test ECE"}
_PAIRS = (("nll", "accuracy"), ("ece", "accuracy"), ("ece", "nll"))


def draw(material: FigureData) -> Figure:
    """Draw one mark a setting for each pair of metrics, bars in both directions."""
    panels = material.panels()
    figure, axes = layout.grid(len(panels), len(_PAIRS))
    seeds: dict[str, int] = {}
    for row, (_, part) in zip(axes, panels, strict=True):
        found = part.points(part.good, SETTING, *_LABELS)
        seeds |= {style.name(p.method, p.members, p.settings): p.n for p in found.itertuples()}
        for ax, (x, y) in zip(row, _PAIRS, strict=True):
            _panel(ax, found, x, y)
    layout.titles(figure, [row[0] for row in axes], [words for words, _ in panels])
    layout.legend(figure, [ax for row in axes for ax in row], layout.note(material), seeds)
    return figure


def _panel(ax: Axes, found: pd.DataFrame, x: str, y: str) -> None:
    if found.empty:
        style.nothing(ax, "no run")
        return
    for axis, metric, most in (("x", x, 3), ("y", y, 5)):
        scales.fit_positive(
            ax, axis, found[metric], found[f"{metric}_spread"], _LABELS[metric], most
        )
    for _, point in found.iterrows():
        style.mark(
            ax,
            point["run"],
            point[x],
            point[y],
            point["n"],
            xerr=point[f"{x}_spread"],
            yerr=point[f"{y}_spread"],
            label=style.name(point["method"], point["members"], point["settings"]),
            **style.member_style(point["method"], point["members"], point["settings"]),
        )
