"""Accuracy and NLL against what a training costs: methods beside one network trained for longer."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import axes as scales
from nfe.report.figures import layout, style
from nfe.report.figures.data import SETTING, FigureData

_METRICS = {"accuracy": "test accuracy [%]", "nll": "test NLL [nats]"}


def draw(material: FigureData) -> Figure:
    """Draw one mark a setting and length of training, those of the single network joined."""
    return against(material, "train_macs", "multiply-adds of a training (log)")


def against(material: FigureData, cost: str, label: str) -> Figure:
    """Draw the same against a column of the rows.

    Args:
        material: the runs.
        cost: the column.
        label: what the axis is called.
    """
    rows = material.rows
    # One panel for trainings of all lengths.
    lengths = f"{rows['epochs'].min()} to {rows['epochs'].max()}"
    panels = material.of(rows.assign(length=rows["epochs"], epochs=lengths)).panels()
    figure, axes = layout.grid(len(panels), len(_METRICS), height=2.3)
    seeds: dict[str, int] = {}
    for row, (_, part) in zip(axes, panels, strict=True):
        found = part.points(part.good, (*SETTING, "length"), *_METRICS, cost)
        seeds |= {style.name(p.method, p.members, p.settings): p.n for p in found.itertuples()}
        for ax, (metric, name) in zip(row, _METRICS.items(), strict=True):
            _panel(ax, found, metric, cost)
            ax.set_xlabel(label)
            ax.set_ylabel(name)
    layout.titles(figure, [row[0] for row in axes], [words for words, _ in panels])
    heading = f"{layout.note(material)} Numbers: epochs of the single network."
    layout.legend(figure, [ax for row in axes for ax in row], heading, seeds)
    return figure


def _panel(ax: Axes, found: pd.DataFrame, metric: str, cost: str) -> None:
    if found.empty:
        style.nothing(ax, "no run")
        return
    scales.fit(ax, "y", found[metric], found[f"{metric}_spread"])
    scales.log(ax, found[cost].min(), found[cost].max(), apart=0.18)
    single = found[found["method"] == "single"].sort_values(cost)
    ax.plot(single[cost], single[metric], color=style.colour(0), linewidth=0.8, zorder=1)
    for point in found.itertuples():
        style.mark(
            ax,
            point.run,
            getattr(point, cost),
            getattr(point, metric),
            point.n,
            yerr=getattr(point, f"{metric}_spread"),
            label=style.name(point.method, point.members, point.settings),
            **style.member_style(point.method, point.members, point.settings),
        )
    for point in single.itertuples():
        ax.annotate(
            str(point.length),
            (getattr(point, cost), getattr(point, metric)),
            xytext=(4, -8),
            textcoords="offset points",
            color=style.colour(0),
        )
