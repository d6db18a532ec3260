"""How a figure is laid out: panels of a paper's width, one title above, one legend below."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from nfe.report.figures.data import FigureData
from nfe.report.figures.style import COLUMN, LARGE, RC, SMALL, TEXT
from nfe.report.schema import PANEL

# Mean width of a character, as a share of the size of type.
_CHARACTER = 0.56
# Points of a legend's column besides its text.
_HANDLE = SMALL * (RC["legend.handlelength"] + RC["legend.handletextpad"] + 1.0)
# Inches a line of type takes, and between panels and legend.
_LINE, _APART = 0.155, 0.12


def grid(
    rows: int, columns: int, height: float = 1.9, width: float | None = None, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure of rows × columns panels: one panel takes a column, more take the text.

    Args:
        rows: of panels.
        columns: of panels.
        height: of a row, in inches.
        width: of the figure, in inches, if it is another one.
        options: of ``plt.subplots``.
    """
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width or (COLUMN if columns == 1 else TEXT), height * rows),
        squeeze=False,
        layout="constrained",
        **options,
    )
    return figure, axes.tolist()


def wrapped(
    count: int, columns: int = 3, height: float = 1.9, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels, at most ``columns`` side by side."""
    columns = min(count, columns)
    figure, axes = grid(-(-count // columns), columns, height, **options)
    flat = list(itertools.chain.from_iterable(axes))
    for ax in flat[count:]:
        ax.set_visible(False)
    return figure, flat[:count]


def titles(figure: Figure, firsts: Sequence[Axes], words: Sequence[Sequence[str]]) -> None:
    """Write above the figure what all panels share, and above each what it does not.

    Args:
        figure: it.
        firsts: the first panel of each kind.
        words: what each kind shows.
    """
    shared = [word for word in words[0] if all(word in other for other in words)]
    inches = figure.get_size_inches()[0]
    size = LARGE if inches > COLUMN else SMALL
    figure.suptitle(_wrap(_joined(shared), inches, size), fontsize=size)
    places = len({round(ax.get_position().x0, 3) for ax in firsts})
    for ax, own in zip(firsts, words, strict=True):
        if rest := [word for word in own if word not in shared]:
            ax.set_title(_wrap(_joined(rest), inches / places - 0.5), loc="left", color="0.2")


def _wrap(text: str, inches: float, size: float = SMALL) -> str:
    lines = textwrap.wrap(text, int(inches * 72 / (_CHARACTER * size)), break_long_words=False)
    return "\n".join(lines)


def _joined(words: Sequence[str]) -> str:
    """Return a list in one line, to be broken at commas alone."""
    return ", ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words)


def note(material: FigureData, shown: str = "Bars") -> str:
    """Return what bars or bands are, of how many seeds, and how many runs were lost."""
    rows = material.rows
    counts = material.good.groupby([*PANEL, "settings", "method", "recipe"]).size()
    told = [f"{shown}: {'; '.join(_kinds(counts))}."] if len(counts) else []
    lost = {status: int((rows["status"] == status).sum()) for status in ("failed", "collapsed")}
    lost["missing"] = material.missing
    words = ", ".join(f"{count} {status}" for status, count in lost.items() if count)
    return " ".join([*told, *([f"Runs without a result: {words}."] if words else [])])


def _kinds(counts: pd.Series) -> list[str]:
    kinds = []
    if many := sorted(set(counts[counts > 2])):
        kinds.append(f"95 % interval over seeds, n = {_listed(many)}")
    if (counts == 2).any():
        kinds.append("standard deviation of n = 2 seeds")
    if (counts == 1).any():
        kinds.append("dotted, n = 1 seed: 95 % interval over test images")
    return kinds


def _listed(numbers: Sequence[int]) -> str:
    """Return one number, several, or from the least to the most of many."""
    if len(numbers) > 3:
        return f"{numbers[0]} to {numbers[-1]}"
    return " or ".join(str(number) for number in numbers)


def counted(labels: Mapping[str, int]) -> dict[str, str]:
    """Return what a legend says of each label: how many seeds, where these differ."""
    if len(set(labels.values())) < 2:
        return {label: label for label in labels}
    return {label: f"{label}, n = {n}" for label, n in labels.items()}


def key(label: str, **look: Any) -> Line2D:
    """Return a legend's entry of a mark."""
    defaults: dict[str, Any] = {"linestyle": "none", "markersize": 4.5}
    return Line2D([], [], label=label, **(defaults | look))


def legend(
    figure: Figure,
    axes: Sequence[Axes],
    heading: str,
    seeds: Mapping[str, int] | None = None,
    more: Sequence[Line2D] = (),
) -> None:
    """Put one legend for all panels below them, each name once, and make room for it.

    Args:
        figure: it.
        axes: whose entries are shown.
        heading: stands first.
        seeds: number of seeds by name, which is told where they differ.
        more: entries besides.
    """
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            # The mark alone, without its bars.
            shown = handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle
            entries.setdefault(label, shown)
    entries |= {str(handle.get_label()): handle for handle in more}
    names = {label: label for label in entries} | counted(seeds or {})
    labels = [names[label] for label in entries]
    width, height = figure.get_size_inches()
    columns = _columns(labels, width)
    heading = _wrap(heading, width - 0.2)
    lines = -(-len(labels) // columns) + heading.count("\n") + bool(heading)
    suptitle = figure.get_suptitle()
    above = (suptitle.count("\n") + 1) * 0.17 if suptitle else 0
    figure.set_size_inches(width, height + lines * _LINE + _APART + above)
    figure.legend(
        list(entries.values()),
        labels,
        loc="outside lower center",
        ncols=columns,
        title=heading,
        frameon=False,
        alignment="left",
        borderpad=0.2,
    )


@cache
def _width(text: str) -> float:
    """Return the width of small type in points."""
    font = FontProperties(family=RC["font.family"])
    return float(TextPath((0, 0), text, size=SMALL, prop=font).get_extents().x1)


def _columns(labels: Sequence[str], width: float) -> int:
    """Return into how many columns a legend's entries fit, of at most five."""
    widths = [_width(label) for label in labels]
    for columns in range(min(5, max(1, len(labels))), 1, -1):
        # As Matplotlib fills its columns.
        longest = [max(column) for column in np.array_split(widths, columns)]
        if sum(longest) + columns * _HANDLE < 72 * width - 6:
            return columns
    return 1
