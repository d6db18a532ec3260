"""Accuracy against the share of the weights that exit 1 gets."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import layout, style
from nfe.report.figures.data import FigureData, members


def draw(material: FigureData) -> Figure:
    """Draw the ensemble and each exit, with the bars that the seeds or the images give."""
    panels = material.panels()
    figure, axes = layout.wrapped(len(panels), 2, 2.2)
    for ax, (_, part) in zip(axes, panels, strict=True):
        _panel(ax, part)
        ax.set_xlabel("share of the weights in exit 1's group")
        ax.set_ylabel("test accuracy [%]")
    layout.titles(figure, axes, [words for words, _ in panels])
    layout.legend(figure, axes, layout.note(material))
    return figure


def _panel(ax: Axes, material: FigureData) -> None:
    good = material.good
    if good.empty:
        style.nothing(ax, "no run")
        return
    share = good["grouping_ratio"].str.split("/").str[0].astype(float)
    exits = members(good).dropna(axis="columns", how="all")
    curves = {"ensemble": good["accuracy"]}
    curves |= {f"exit {i + 1}": values for i, values in exits.items()}
    first = good.iloc[0]
    looks = [style.member_style(first["method"], first["members"], first["settings"])]
    count = len(exits.columns)
    looks += [style.member_number(i, count) | {"markersize": 3} for i in range(count)]
    for label, look, values in zip(curves, looks, curves.values(), strict=True):
        found = {place: seeds for place, seeds in good.groupby(share)}
        means = [values[seeds.index].mean() for seeds in found.values()]
        stroke = "-" if label == "ensemble" else "--"
        ax.plot(list(found), means, stroke, color=look["color"], linewidth=0.8)
        for (place, seeds), mean in zip(found.items(), means, strict=True):
            style.mark(
                ax,
                f"{seeds['run'].iloc[0]}:{label}",
                place,
                mean,
                len(seeds),
                yerr=_spread(material, seeds, label, values[seeds.index]),
                label=label,
                **look,
            )
    counts = share.groupby(share).size()
    style.count_row(ax, list(counts.index), [str(n) for n in counts])
    ax.set_xticks(list(counts.index), [f"{place:g}" for place in counts.index])


def _spread(material: FigureData, seeds: pd.DataFrame, label: str, values: pd.Series) -> float:
    if label == "ensemble":
        return material.spread(seeds, "accuracy")
    return material.share_spread(seeds, values)
