"""Reliability diagrams: how often predictions of a confidence are right."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.evaluation.metrics import BINS, bin_index
from nfe.report.figures import style
from nfe.report.figures.data import FigureData, per_setting, spread

# Panels side by side; twice as many where there are many.
_COLUMNS, _MANY = 5, 20
_SIZE = (2.3, 2.5)
# A bin with fewer images, all seeds together, is drawn pale: its accuracy says little.
_FEW = 10


def draw(material: FigureData) -> Figure:
    """Draw one small panel a setting: accuracy in each bin of confidence, seeds as bars."""
    settings = [
        (title, seeds) for title, part in material.panels() for seeds in per_setting(part.good)
    ]
    figure, axes = style.wrapped(
        len(settings) or 1, _COLUMNS if len(settings) <= _MANY else 2 * _COLUMNS, _SIZE
    )
    if not settings:
        style.nothing(axes[0], "no run")
    several = len({title for title, _ in settings}) > 1
    for ax, (title, seeds) in zip(axes, settings, strict=False):
        first = seeds.iloc[0]
        where = title.splitlines()[0].replace(", ", "\n") + "\n" if several else ""
        told = f"M = {int(first['members'])}, ECE {seeds['ece'].mean():.3f}"
        unit = f", {unit}" if (unit := style.division(first["settings"])) else ""
        ax.set_title(f"{where}{first['method']}{unit}\n{told}", fontsize="small")
        _panel(ax, [material.per_image(run) for run in seeds["run"]])
    style.legend(figure, axes, style.note(material))
    return figure


def _panel(ax: Axes, runs: list[dict[str, Any]]) -> None:
    binned = [bins(run["confidence"], run["correct"]) for run in runs]
    accuracy = np.array([found for found, _ in binned])
    counts = np.sum([count for _, count in binned], axis=0)
    filled = counts > 0
    middles = (np.arange(BINS)[filled] + 0.5) / BINS
    columns = [column[~np.isnan(column)] for column in accuracy.T[filled]]
    means = np.array([column.mean() for column in columns])
    shades = np.where(counts[filled] < _FEW, 0.3, 1.0)
    for middle, mean, alpha in zip(middles, means, shades, strict=True):
        ax.bar(middle, mean, 1 / BINS, color=style.colour(0), alpha=alpha, linewidth=0)
    ax.bar(0, 0, color=style.colour(0), label="accuracy in the bin")
    ax.bar(0, 0, color=style.colour(0), alpha=0.3, label=f"… of fewer than {_FEW} images")
    ax.errorbar(
        middles,
        means,
        yerr=[spread(column) for column in columns],
        linestyle="none",
        color="0.2",
        elinewidth=0.8,
        capsize=1.5,
    )
    ax.plot([0, 1], [0, 1], color="0.4", linestyle="--", linewidth=1, label="calibrated")
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
    ax.set_xlabel("confidence", fontsize="small")
    ax.set_ylabel("accuracy", fontsize="small")


def bins(confidence: Any, correct: Any) -> tuple[Any, Any]:
    """Return accuracy (NaN where empty) and number of images in each of the ECE's bins."""
    index = bin_index(confidence)
    count = np.bincount(index, minlength=BINS)
    right = np.bincount(index, weights=correct, minlength=BINS)
    with np.errstate(invalid="ignore"):
        return right / count, count
