"""Each exit or member by itself, their ensemble, and what their diversity brings."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nfe.report.figures import axes as scales
from nfe.report.figures import layout, style
from nfe.report.figures.data import FigureData, members, per_setting, spread

# Members shown one by one, of ensembles that have more.
_MOST = 8
# Inches a setting takes.
_ROW = 0.2
# A setting's first row → its name.
Naming = Callable[[pd.Series], str]
# The name of a setting → its colour and mark.
Look = Callable[[pd.Series], dict[str, Any]]


def draw(material: FigureData) -> Figure:
    """Draw every ensemble of the headline comparison."""

    def naming(row: pd.Series) -> str:
        return style.name(row["method"], row["members"], row["settings"])

    def look(row: pd.Series) -> dict[str, Any]:
        return style.member_style(row["method"], row["members"], row["settings"])

    return _draw(material, naming, look)


def draw_places(material: FigureData) -> Figure:
    """Draw every number and place of exits."""

    naming = style.exits_name
    names = list(dict.fromkeys(naming(seeds.iloc[0]) for seeds in per_setting(material.good)))
    looks = {name: style.numbered(index) for index, name in enumerate(names)}
    return _draw(material, naming, lambda row: looks[naming(row)])


def _draw(material: FigureData, naming: Naming, look: Look) -> Figure:
    panels = material.panels()
    parts = [part for _, part in panels]
    settings = [[s for s in per_setting(p.good) if s["members"].iloc[0] > 1] for p in parts]
    rows = max(map(len, settings))
    height = max(2.0, 0.5 + _ROW * rows)
    figure, axes = layout.grid(len(panels), 2, height)
    most = 0
    for (left, right), part, ensembles in zip(axes, parts, settings, strict=True):
        if ensembles:
            most = max(most, _accuracies(left, part, ensembles, naming, look))
            _gain(right, ensembles, look)
        else:
            style.nothing(left, "no ensemble")
            style.nothing(right, "no ensemble")
    layout.titles(figure, [row[0] for row in axes], [words for words, _ in panels])
    shades = [
        layout.key(f"member or exit {k + 1}", **style.member_number(k, most), markersize=3.5)
        for k in range(most)
    ]
    heading = f"{layout.note(material)} Coloured marks: ensembles, the same on both sides."
    if any(s["members"].iloc[0] > _MOST for ensembles in settings for s in ensembles):
        heading += f" Of more than {_MOST} members the first {_MOST} are shown."
    layout.legend(figure, [], heading, more=shades)
    return figure


def _accuracies(
    ax: Axes, material: FigureData, settings: Sequence[pd.DataFrame], naming: Naming, look: Look
) -> int:
    """Draw a line a setting, with its members and its ensemble; return the most members."""
    names = [naming(seeds.iloc[0]) for seeds in settings]
    counts = {name: len(seeds) for name, seeds in zip(names, settings, strict=True)}
    most = 0
    for place, seeds in enumerate(settings):
        alone = members(seeds).dropna(axis="columns", how="all")
        shown = min(len(alone.columns), _MOST)
        most = max(most, shown)
        run = seeds["run"].iloc[0]
        for k in range(shown):
            # What lies within a line, up or down, has no meaning: members stand one below another.
            low = 0.35 * (2 * k / max(1, shown - 1) - 1)
            shade = style.member_number(k, shown) | {"markersize": 2.5, "elinewidth": 0.5}
            half = material.share_spread(seeds, alone[k])
            gid = f"{run}:{k + 1}"
            style.mark(ax, gid, alone[k].mean(), place + low, len(seeds), xerr=half, **shade)
        half = material.spread(seeds, "accuracy")
        mean = seeds["accuracy"].mean()
        style.mark(ax, run, mean, place, len(seeds), xerr=half, zorder=3, **look(seeds.iloc[0]))
    labels = layout.counted(counts)
    ax.set_yticks(range(len(names)), [labels[name] for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlabel("test accuracy [%]")
    return most


def _gains(seeds: pd.DataFrame) -> tuple[float, float]:
    """Return mean and spread of what the ensemble gains over its mean member."""
    gain = seeds["accuracy"] - members(seeds).mean(axis=1)
    return float(gain.mean()), spread(gain)


def _gain(ax: Axes, settings: Sequence[pd.DataFrame], look: Look) -> None:
    """Draw what the ensemble gains over its mean member against how often members differ."""
    for seeds in settings:
        gain, half = _gains(seeds)
        style.mark(
            ax,
            f"{seeds['run'].iloc[0]}:gain",
            seeds["disagreement"].mean(),
            gain,
            len(seeds),
            xerr=spread(seeds["disagreement"]),
            yerr=half,
            **look(seeds.iloc[0]),
        )
    ax.axhline(0, color=style.GREY, linestyle="--", linewidth=0.8)
    found = {
        "x": [(s["disagreement"].mean(), spread(s["disagreement"])) for s in settings],
        "y": [_gains(s) for s in settings] + [(0.0, 0.0)],
    }
    for axis, values in found.items():
        table = pd.DataFrame(values, columns=["middle", "half"])
        scales.fit(ax, axis, table["middle"], table["half"], 4 if axis == "x" else 6)
    ax.set_xlabel("disagreement of two\nmembers [share of images]")
    ax.set_ylabel("ensemble less\nmean member [points]")
    if np.isnan([spread(seeds["disagreement"]) for seeds in settings]).any():
        ax.set_title("no bars where n = 1", loc="right", color=style.GREY)
