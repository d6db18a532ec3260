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
    rows = material.rows
    # One panel for trainings of all lengths.
    lengths = f"{rows['epochs'].min()} to {rows['epochs'].max()}"
    panels = material.of(rows.assign(length=rows["epochs"], epochs=lengths)).panels()
    figure, axes = layout.grid(len(panels), len(_METRICS), height=2.3)
    seeds: dict[str, int] = {}
    for row, (_, part) in zip(axes, panels, strict=True):
        found = part.points(part.good, (*SETTING, "length"), *_METRICS, "train_macs")
        seeds |= {style.name(p.method, p.members, p.settings): p.n for p in found.itertuples()}
        for ax, (metric, label) in zip(row, _METRICS.items(), strict=True):
            _panel(ax, found, metric)
            ax.set_ylabel(label)
    layout.titles(figure, [row[0] for row in axes], [words for words, _ in panels])
    heading = f"{layout.note(material)} Numbers: epochs of the single network."
    layout.legend(figure, [ax for row in axes for ax in row], heading, seeds)
    return figure


def _panel(ax: Axes, found: pd.DataFrame, metric: str) -> None:
    if found.empty:
        style.nothing(ax, "no run")
        return
    scales.fit(ax, "y", found[metric], found[f"{metric}_spread"])
    scales.log(ax, found["train_macs"].min(), found["train_macs"].max(), apart=0.18)
    single = found[found["method"] == "single"].sort_values("train_macs")
    ax.plot(single["train_macs"], single[metric], color=style.colour(0), linewidth=0.8, zorder=1)
    for point in found.itertuples():
        style.mark(
            ax,
            point.run,
            point.train_macs,
            getattr(point, metric),
            point.n,
            yerr=getattr(point, f"{metric}_spread"),
            label=style.name(point.method, point.members, point.settings),
            **style.member_style(point.method, point.members, point.settings),
        )
    for point in single.itertuples():
        ax.annotate(
            str(point.length),
            (point.train_macs, getattr(point, metric)),
            xytext=(4, -8),
            textcoords="offset points",
            color=style.colour(0),
        )
    ax.set_xlabel("multiply-adds of a training (log)")
