"""Each exit or member by itself, their ensemble, and what their diversity brings."""

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import style
from nfe.report.figures.material import Material, members, per_setting, spread

# A setting's seeds → its name on the axis.
Naming = Callable[[pd.Series], str]


def draw(material: Material) -> Figure:
    """Draw every ensemble of the headline comparison."""
    return _draw(material, lambda row: style.name(row["method"], row["members"]))


def draw_places(material: Material) -> Figure:
    """Draw every number and place of exits."""
    return _draw(material, lambda row: f"N = {int(row['members'])}, after {row['exit_stages']}")


def _draw(material: Material, naming: Naming) -> Figure:
    panels = material.panels()
    figure, axes = style.grid(len(panels), 2, (6.0, 4.2))
    for (left, right), (title, part) in zip(axes, panels, strict=True):
        good = part.good
        ensembles = Material(good[good["members"] > 1], part.folder)
        for ax, panel in ((left, _accuracies), (right, _gain)):
            style.title(ax, title)
            if ensembles.rows.empty:
                style.nothing(ax, "no ensemble")
            else:
                panel(ax, ensembles, naming)
    style.legend(figure, [ax for row in axes for ax in row], style.note(material))
    return figure


def _accuracies(ax: Axes, material: Material, naming: Naming) -> None:
    """Draw the accuracy of each member and of the ensemble, settings side by side."""
    names = []
    for place, seeds in enumerate(per_setting(material.rows)):
        names.append(naming(seeds.iloc[0]))
        alone = members(seeds).dropna(axis="columns", how="all")
        count = len(alone.columns)
        curves = [(f"member or exit {k + 1}", alone[k]) for k in alone.columns]
        for index, (label, values) in enumerate([*curves, ("ensemble", seeds["accuracy"])]):
            whole = index == count
            ax.errorbar(
                place + 0.7 * ((index + 0.5) / (count + 1) - 0.5),
                values.mean(),
                yerr=spread(values),
                linestyle="none",
                markersize=7 if whole else 4.5,
                elinewidth=0.8,
                capsize=1.5,
                label=label,
                **(style.numbered(0) if whole else style.numbered(min(index, 7) + 1)),
            )
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize="small")
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("test accuracy [%]")


def _gain(ax: Axes, material: Material, naming: Naming) -> None:
    """Draw what the ensemble gains over its mean member against how often members differ."""
    for number, seeds in enumerate(per_setting(material.rows)):
        gain = seeds["accuracy"] - members(seeds).mean(axis=1)
        label, first = naming(seeds.iloc[0]), seeds.iloc[0]
        known = label.startswith(str(first["method"]))
        look = style.member_style(first["method"], first["members"])
        ax.errorbar(
            seeds["disagreement"].mean(),
            gain.mean(),
            xerr=spread(seeds["disagreement"]),
            yerr=spread(gain),
            linestyle="none",
            markersize=6,
            elinewidth=0.8,
            label=label,
            **(look if known else style.numbered(number)),
        )
    ax.axhline(0, color="0.4", linestyle="--", linewidth=1)
    ax.set_xlabel("disagreement of two members (share of images)")
    ax.set_ylabel("ensemble less mean member [points]")
