"""Accuracy and NLL against what a training costs: methods beside one network trained for longer."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import style
from nfe.report.figures.data import SETTING, FigureData, points

_METRICS = {"accuracy": "test accuracy [%]", "nll": "test NLL [nats]"}


def draw(material: FigureData) -> Figure:
    """Draw one mark a setting and length of training, those of the single network joined."""
    rows = material.rows
    # One panel for trainings of all lengths.
    lengths = f"{rows['epochs'].min()} to {rows['epochs'].max()}"
    joined = rows.assign(length=rows["epochs"], epochs=lengths)
    panels = FigureData(joined, material.folder).panels()
    figure, axes = style.grid(len(panels), len(_METRICS), (5.2, 3.9))
    for row, (title, part) in zip(axes, panels, strict=True):
        for ax, (metric, label) in zip(row, _METRICS.items(), strict=True):
            style.title(ax, title)
            _panel(figure, ax, part.good, metric)
            ax.set_ylabel(label)
    style.legend(figure, [ax for row in axes for ax in row], style.note(material))
    return figure


def _panel(figure: Figure, ax: Axes, rows: pd.DataFrame, metric: str) -> None:
    found = points(rows, (*SETTING, "length"), metric, "train_macs")
    if found.empty:
        style.nothing(ax, "no run")
        return
    shifts = _shifts(found)
    low, high = found["train_macs"].min(), found["train_macs"].max()
    style.log_axis(ax, low, high, room=max(map(abs, shifts)))
    for point, shift in zip(found.itertuples(), shifts, strict=True):
        ax.errorbar(
            point.train_macs,
            getattr(point, metric),
            yerr=getattr(point, f"{metric}_spread"),
            capsize=2,
            markersize=6,
            linestyle="none",
            label=style.name(point.method, point.members, point.settings),
            transform=style.shifted(figure, ax.transData, shift),
            **style.member_style(point.method, point.members, point.settings),
        )
    _join(ax, found[found["method"] == "single"].sort_values("train_macs"), metric)
    style.fit_y(ax, found[metric], found[f"{metric}_spread"])
    ax.set_xlabel(
        "multiply-adds of a training, as executed\n"
        "(numbers: epochs of the single network;\nequal costs side by side)"
    )


def _shifts(found: pd.DataFrame) -> list[float]:
    """Return a shift in points for each mark: equal costs stand on both sides of the single's."""
    single = found["method"] == "single"
    others = found.loc[~single, "train_macs"]
    shifts = pd.Series(0.0, index=found.index)
    shifts[others.index] = [shift / 2 for shift in style.side_by_side(others)]
    for cost in found.loc[single, "train_macs"]:
        beside = ~single & (found["train_macs"] / cost).between(1 / 1.05, 1.05)
        shifts[beside] += np.copysign(4, shifts[beside])
    return [float(shift) for shift in shifts]


def _join(ax: Axes, single: pd.DataFrame, metric: str) -> None:
    """Draw a line through the single network's lengths and write their epochs beside them."""
    ax.plot(single["train_macs"], single[metric], color=style.colour(0), linewidth=1, zorder=0)
    for point in single.itertuples():
        ax.annotate(
            str(point.length),
            (point.train_macs, getattr(point, metric)),
            xytext=(5, -9),
            textcoords="offset points",
            fontsize="small",
            color=style.colour(0),
        )
