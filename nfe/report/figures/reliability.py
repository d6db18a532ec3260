"""Reliability diagrams: how often predictions of a confidence are right."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from nfe.evaluation.metrics import BINS, bin_index
from nfe.report.figures import layout, style
from nfe.report.figures.data import FigureData, per_setting, spread

# Panels side by side.
_COLUMNS = 5
_HEIGHT = 1.35
# A bin with fewer images, all seeds together, is drawn pale: its accuracy says little.
_FEW = 10


def draw(material: FigureData) -> Figure:
    """Draw one small panel a setting: accuracy in each bin of confidence, and images above it."""
    panels = material.panels()
    settings = [(words, seeds) for words, part in panels for seeds in per_setting(part.good)]
    figure, axes = layout.wrapped(max(1, len(settings)), _COLUMNS, _HEIGHT)
    figure.set_figwidth(style.TEXT)
    # The strips' titles stand above what the layout takes for a panel's top.
    figure.get_layout_engine().set(h_pad=0.05)  # type: ignore[union-attr, call-arg]
    if not settings:
        style.nothing(axes[0], "no run")
    shared = [word for word in panels[0][0] if all(word in words for words, _ in panels)]
    for number, (ax, (words, seeds)) in enumerate(zip(axes, settings, strict=False)):
        first = seeds.iloc[0]
        own = [word for word in words if word not in shared]
        name, count = style.name(first["method"], 1, first["settings"]), int(first["members"])
        named = name.replace(" (", ", ").rstrip(")")
        many = f"M = {count}, " if count > 1 else ""
        told = [named, *own, f"{many}ECE {seeds['ece'].mean():.3f}"]
        strip = _panel(ax, [material.per_image(run) for run in seeds["run"]], _colour(first))
        strip.set_title("\n".join(told), pad=2)
        if number % _COLUMNS == 0:
            ax.set_ylabel("accuracy")
        else:
            ax.tick_params(labelleft=False)
        if number + _COLUMNS >= len(settings):
            ax.set_xlabel("confidence")
    layout.titles(figure, axes[:1], [shared])
    keys = [
        layout.key("accuracy in the bin", color=style.GREY, marker="s"),
        layout.key(f"fewer than {_FEW} images", color=style.GREY, marker="s", alpha=0.3),
        layout.key("calibrated", color=style.GREY, marker="", linestyle="--"),
    ]
    strip_words = "Above each panel: the bins' numbers of images in a run, the largest written."
    layout.legend(figure, [], f"{layout.note(material)} {strip_words}", more=keys)
    return figure


def _colour(row: Any) -> Any:
    return style.member_style(row["method"], row["members"], row["settings"])["color"]


def _panel(ax: Axes, runs: list[dict[str, Any]], colour: Any) -> Axes:
    """Draw a diagram and its strip of numbers; return the strip."""
    binned = [bins(run["confidence"], run["correct"]) for run in runs]
    accuracy = np.array([found for found, _ in binned])
    counts = np.sum([count for _, count in binned], axis=0)
    filled = counts > 0
    middles = (np.arange(BINS)[filled] + 0.5) / BINS
    columns = [column[~np.isnan(column)] for column in accuracy.T[filled]]
    means = np.array([column.mean() for column in columns])
    shades = np.where(counts[filled] < _FEW, 0.3, 0.8)
    for middle, mean, alpha in zip(middles, means, shades, strict=True):
        look: dict[str, Any] = {"color": colour, "alpha": alpha, "linewidth": 0}
        ax.bar(middle, mean, 1 / BINS, gid=style.tag(ax, f"bin{int(middle * BINS)}"), **look)
    bars = _bars(columns, counts[filled]) if len(runs) == 1 else [spread(c) for c in columns]
    thin: dict[str, Any] = {"linestyle": "none", "color": "0.15", "elinewidth": 0.6, "capsize": 0.8}
    drawn = ax.errorbar(middles, means, yerr=bars, **thin)
    if len(runs) == 1:
        style.dot_bars(drawn)
    ax.plot([0, 1], [0, 1], color=style.GREY, linestyle="--", linewidth=0.7)
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    ax.set_xticklabels(["0", "0.5", "1"])
    ax.set_yticklabels(["0", "0.5", "1"])
    return _strip(ax, counts / len(runs), colour)


def _strip(ax: Axes, counts: Any, colour: Any) -> Axes:
    """Draw the numbers of images in a run above the diagram, and write the largest."""
    strip = ax.inset_axes((0, 1.05, 1, 0.22), sharex=ax)
    strip.bar((np.arange(BINS) + 0.5) / BINS, counts, 1 / BINS, color=colour, alpha=0.5)
    strip.set(ylim=(0, counts.max() * 1.05), yticks=())
    strip.tick_params(labelbottom=False, bottom=False)
    strip.spines["left"].set_visible(False)
    strip.grid(visible=False)
    left = counts[: BINS // 3].max() <= counts[-BINS // 3 :].max()
    look: dict[str, Any] = {"transform": strip.transAxes, "va": "top", "color": style.GREY}
    strip.text(0 if left else 1, 1, f"{counts.max():,.0f}", ha="left" if left else "right", **look)
    return strip


def _bars(columns: list[Any], counts: Any) -> Any:
    """Return the bars of one run, (2, bins): Wilson's 95 % intervals of the shares right."""
    found = []
    for column, count in zip(columns, counts, strict=True):
        share = float(column[0])
        right = round(share * int(count))
        interval = binomtest(right, int(count)).proportion_ci(method="wilson")
        found.append([share - interval.low, interval.high - share])
    return np.maximum(0, np.array(found).T)


def bins(confidence: Any, correct: Any) -> tuple[Any, Any]:
    """Return accuracy (NaN where empty) and number of images in each of the ECE's bins."""
    index = bin_index(confidence)
    count = np.bincount(index, minlength=BINS)
    right = np.bincount(index, weights=correct, minlength=BINS)
    with np.errstate(invalid="ignore"):
        return right / count, count
