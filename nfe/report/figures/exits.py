"""Each exit or member by itself, their ensemble, and what their diversity brings."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import style
from nfe.report.figures.data import FigureData, members, per_setting, spread

# Members shown one by one, of ensembles that have more.
_MOST = 8
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

    def naming(row: pd.Series) -> str:
        return f"N = {int(row['members'])}, after {row['exit_stages']}"

    names = list(dict.fromkeys(naming(seeds.iloc[0]) for seeds in per_setting(material.good)))
    return _draw(material, naming, lambda row: style.style(names, naming(row)))


def _draw(material: FigureData, naming: Naming, look: Look) -> Figure:
    panels = material.panels()
    figure, axes = style.grid(len(panels), 2, (6.0, 4.2))
    for (left, right), (title, part) in zip(axes, panels, strict=True):
        settings = [seeds for seeds in per_setting(part.good) if seeds["members"].iloc[0] > 1]
        for ax in (left, right):
            style.title(ax, title)
        if settings:
            _accuracies(left, settings, naming)
            _gain(right, settings, naming, look)
        else:
            style.nothing(left, "no ensemble")
            style.nothing(right, "no ensemble")
    style.legend(figure, [ax for row in axes for ax in row], style.note(material))
    return figure


def _accuracies(ax: Axes, settings: Sequence[pd.DataFrame], naming: Naming) -> None:
    """Draw the accuracy of each member and of the ensemble, settings side by side."""
    for place, seeds in enumerate(settings):
        alone = members(seeds).dropna(axis="columns", how="all")
        count = len(alone.columns)
        # The ensemble stands first in the legend and last in its place.
        curves = [(count, "ensemble", seeds["accuracy"])]
        curves += [(k, f"member or exit {k + 1}", alone[k]) for k in range(min(count, _MOST))]
        for index, label, values in curves:
            ax.errorbar(
                place + 0.7 * ((index + 0.5) / (count + 1) - 0.5),
                values.mean(),
                yerr=spread(values),
                linestyle="none",
                markersize=7 if label == "ensemble" else 4.5,
                elinewidth=0.8,
                capsize=1.5,
                label=label,
                **style.numbered(0 if label == "ensemble" else index + 1),
            )
    names = [naming(seeds.iloc[0]) for seeds in settings]
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize="small")
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("test accuracy [%]")


def _gain(ax: Axes, settings: Sequence[pd.DataFrame], naming: Naming, look: Look) -> None:
    """Draw what the ensemble gains over its mean member against how often members differ."""
    for seeds in settings:
        gain = seeds["accuracy"] - members(seeds).mean(axis=1)
        ax.errorbar(
            seeds["disagreement"].mean(),
            gain.mean(),
            xerr=spread(seeds["disagreement"]),
            yerr=spread(gain),
            linestyle="none",
            markersize=6,
            elinewidth=0.8,
            label=naming(seeds.iloc[0]),
            **look(seeds.iloc[0]),
        )
    ax.axhline(0, color="0.4", linestyle="--", linewidth=1)
    ax.set_xlabel("disagreement of two members (share of images)")
    ax.set_ylabel("ensemble less mean member [points]")
