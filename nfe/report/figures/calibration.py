"""Accuracy, NLL and ECE of every method against one another."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import style
from nfe.report.figures.data import SETTING, FigureData, points

_LABELS = {"accuracy": "test accuracy [%]", "nll": "test NLL [nats]", "ece": "test ECE"}
_PAIRS = (("nll", "accuracy"), ("ece", "accuracy"), ("ece", "nll"))


def draw(material: FigureData) -> Figure:
    """Draw one mark a setting for each pair of metrics, seeds as bars in both directions."""
    panels = material.panels()
    figure, axes = style.grid(len(panels), len(_PAIRS))
    for row, (title, part) in zip(axes, panels, strict=True):
        found = points(part.good, SETTING, *_LABELS)
        for ax, (x, y) in zip(row, _PAIRS, strict=True):
            style.title(ax, title)
            _panel(ax, found, x, y)
    style.legend(figure, [ax for row in axes for ax in row], style.note(material))
    return figure


def _panel(ax: Axes, found: pd.DataFrame, x: str, y: str) -> None:
    if found.empty:
        style.nothing(ax, "no run")
        return
    for _, point in found.iterrows():
        ax.errorbar(
            point[x],
            point[y],
            xerr=point[f"{x}_spread"],
            yerr=point[f"{y}_spread"],
            elinewidth=0.8,
            markersize=6,
            linestyle="none",
            label=style.name(point["method"], point["members"], point["settings"]),
            **style.member_style(point["method"], point["members"], point["settings"]),
        )
    ax.set_xlabel(_LABELS[x])
    ax.set_ylabel(_LABELS[y])
