"""Accuracy against the share of the weights that exit 1 gets."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nfe.report.figures import style
from nfe.report.figures.data import FigureData, members, points


def draw(material: FigureData) -> Figure:
    """Draw the ensemble and each exit, seeds as bands."""
    panels = material.panels()
    figure, axes = style.wrapped(len(panels))
    for ax, (title, part) in zip(axes, panels, strict=True):
        style.title(ax, title)
        _panel(ax, part)
        ax.set_xlabel("share of the weights in exit 1's group")
        ax.set_ylabel("test accuracy [%]")
    style.legend(figure, axes, style.note(material, "bands"))
    return figure


def _panel(ax: Axes, material: FigureData) -> None:
    good = material.good
    if good.empty:
        style.nothing(ax, "no run")
        return
    share = good["grouping_ratio"].str.split("/").str[0].astype(float)
    curves = {"ensemble": good["accuracy"]}
    curves |= {f"exit {i + 1}": values for i, values in members(good).items()}
    for index, (label, values) in enumerate(curves.items()):
        found = points(good.assign(share=share, value=values), ["share"], "value")
        found = found.sort_values("share")
        style.band(
            ax,
            found["share"],
            found["value"],
            found["value_spread"],
            label=label,
            linestyle="-" if index == 0 else "--",
            **style.numbered(index),
        )
