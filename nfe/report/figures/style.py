"""How all figures look: sizes, type, colours, marks and their bars."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from nfe.report.catalogue import DIVIDED_MARKS, METHODS, PRUNERS, Entry, method_name

# Inches: a column and the text of a conference paper.
COLUMN, TEXT = 3.25, 5.5
# Points.
SMALL, LARGE = 8, 9
GREY, PALE = "0.35", "0.85"

# Whatever machine draws: the font comes with Matplotlib, ids have a fixed salt, and text in a PDF
# is in a TrueType font (42): venues refuse Type 3.
RC: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "0.3",
    "axes.grid": True,
    "axes.labelpad": 2,
    "axes.labelsize": SMALL,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlepad": 3,
    "axes.titlesize": SMALL,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.titlesize": LARGE,
    "font.family": "DejaVu Sans",
    "font.size": SMALL,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.columnspacing": 1.0,
    "legend.fontsize": SMALL,
    "legend.handlelength": 1.6,
    "legend.handletextpad": 0.5,
    "legend.labelspacing": 0.25,
    "legend.title_fontsize": SMALL,
    "lines.linewidth": 1.0,
    "pdf.fonttype": 42,
    "svg.hashsalt": "nfe-bench",
    "xtick.labelsize": SMALL,
    "xtick.major.pad": 2,
    "xtick.major.size": 2,
    "ytick.labelsize": SMALL,
    "ytick.major.pad": 2,
    "ytick.major.size": 2,
}

# Of few members the mark is open or half full; of many full.
_FILLS = {2: "none", 4: "left"}
_SIZE = 4.5
_OTHER_MARKS = "osD^v<>PX*"


def colour(index: int) -> str:
    """Return one of ten colours that colour-blind readers tell apart, as far as ten can be."""
    return Entry("", index, "").colour


def numbered(index: int) -> dict[str, Any]:
    """Return the colour and mark of the curve of that number, from 0."""
    mark = _OTHER_MARKS[index % len(_OTHER_MARKS)]
    return _look(Entry("", index, mark))


def member_number(index: int, count: int) -> dict[str, Any]:
    """Return the shade of a member's mark, the first one palest: shades are members' alone."""
    return {"color": str(0.75 - 0.6 * index / max(1, count - 1)), "marker": "o"}


def _look(entry: Entry) -> dict[str, Any]:
    edge = {"markeredgecolor": "black", "markeredgewidth": 0.7} if entry.edged else {}
    return {"color": entry.colour, "marker": entry.mark, **edge}


def pruner(name: str) -> dict[str, Any]:
    """Return the colour and mark of a kind of pruning."""
    return _look(PRUNERS[name]) if name in PRUNERS else numbered(len(PRUNERS))


def division(settings: str) -> str:
    """Return what goes to an exit as a whole by a row's settings; "" where it is each weight."""
    unit = str(json.loads(settings).get("granularity", "weight"))
    return "" if unit == "weight" else unit.replace("_", " ")


def _pruning(settings: str) -> tuple[str, float]:
    read = json.loads(settings)
    name, sparsity = str(read.get("pruning", "none")), float(read.get("sparsity") or 0)
    return (name, sparsity) if name != "none" and sparsity else ("", 0.0)


def member_style(method: str, members: float, settings: str = "{}") -> dict[str, Any]:
    """Return the colour and mark of a setting of a method.

    The fill tells the number of members, the shape what pruned the weights and whether they go
    one by one, the size how many of them are left.
    """
    entry = METHODS.get(method)
    look = _look(entry) if entry else numbered(len(METHODS))
    look |= {"fillstyle": _FILLS.get(int(members), "full")}
    if look["fillstyle"] == "left":
        look["markerfacecoloralt"] = "white"
    kind, sparsity = _pruning(settings)
    if division(settings):
        look["marker"] = DIVIDED_MARKS.get(kind, DIVIDED_MARKS[""])
    elif kind:
        look["marker"] = pruner(kind)["marker"]
    return look | {"markersize": _SIZE * (1 - sparsity) ** 0.2}


def name(method: str, members: float, settings: str = "{}") -> str:
    """Return what a legend calls a method with so many members and these settings."""
    words = [f"M = {int(members)}"] if members > 1 else []
    words += [unit] if (unit := division(settings)) else []
    kind, sparsity = _pruning(settings)
    words += [f"{PRUNERS[kind].name if kind in PRUNERS else kind} {sparsity:g}"] if kind else []
    known = method_name(method)
    return f"{known} ({', '.join(words)})" if words else known


def exits_name(row: pd.Series) -> str:
    """Return what a legend calls network fission by the number and place of its exits."""
    places = str(row["exit_stages"]).replace("+", "/").split("/")
    words = f"after stage{'s' * (len(places) > 1)} {', '.join(places)}"
    unit = f", {unit}" if (unit := division(row["settings"])) else ""
    return f"M = {int(row['members'])}, {words}{unit}"


def mark(ax: Axes, run: str, x: float, y: float, n: int = 2, **look: Any) -> None:
    """Draw a mark at its very place, with its bars.

    Args:
        ax: the panel.
        run: the first run of the setting; names the mark in an SVG.
        x: as on the axis.
        y: as on the axis.
        n: number of seeds; of one, the bars are dotted.
        look: of ``Axes.errorbar``.
    """
    defaults = {"capsize": 1.5, "elinewidth": 0.8, "markersize": _SIZE, "linestyle": "none"}
    drawn = ax.errorbar(x, y, **{**defaults, "alpha": 0.9, **look})
    drawn.lines[0].set_gid(tag(ax, f"mark:{run}"))
    if n == 1:
        dot_bars(drawn)


def tag(ax: Axes, name: str) -> str:
    """Return a name for a part of a panel in an SVG, another one in each panel."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return f"{name}@{figure.axes.index(ax) + 1}"


def dot_bars(drawn: Any) -> None:
    """Make the bars of an ``errorbar`` those of one seed."""
    for bars in drawn.lines[2]:
        bars.set_linestyle((0, (1, 1.2)))
    for cap in drawn.lines[1]:
        cap.set_visible(False)


def band(ax: Axes, x: Any, middle: Any, half: Any, gid: str = "", **look: Any) -> None:
    """Draw a line with its spread as a band around it; none where the spread is NaN."""
    (line,) = ax.plot(x, middle, **({"markersize": 4} | look))
    line.set_gid(gid)
    ax.fill_between(
        np.asarray(x, dtype=float),
        np.asarray(middle) - np.asarray(half),
        np.asarray(middle) + np.asarray(half),
        color=line.get_color(),
        alpha=0.15,
        linewidth=0,
    )


def nothing(ax: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", wrap=True)


def count_row(ax: Axes, x: Sequence[float], counts: Sequence[str]) -> None:
    """Write over each place of x how many seeds stand there."""
    look: dict[str, Any] = {
        "transform": ax.get_xaxis_transform(),
        "ha": "center",
        "va": "bottom",
        "color": GREY,
    }
    for place, count in zip(x, counts, strict=True):
        ax.text(place, 1.01, count, **look)
    ax.text(-0.02, 1.01, "n", transform=ax.transAxes, ha="right", va="bottom", color=GREY)


def lost_strip(ax: Axes, lost: pd.DataFrame) -> None:
    """Show runs that have no accuracy in a strip over the panel, off its scale.

    Args:
        ax: the panel; its x axis is ready.
        lost: columns x, label, colour, mark.
    """
    labels = list(dict.fromkeys(lost["label"]))
    height = 0.12
    strip = ax.inset_axes((0, 1.02, 1, height * len(labels)), sharex=ax)
    strip.set_gid(tag(ax, "lost"))
    strip.set(ylim=(len(labels) - 0.5, -0.5), yticks=())
    strip.tick_params(axis="x", bottom=False, labelbottom=False)
    for place, label in enumerate(labels):
        look: dict[str, Any] = {
            "transform": strip.get_yaxis_transform(),
            "va": "center",
            "color": GREY,
        }
        # Beside the strip, over the next panel, which has none.
        strip.text(1.02, place, label, **look).set_in_layout(False)
    strip.spines[:].set_visible(False)
    strip.add_patch(Rectangle((0, 0), 1, 1, transform=strip.transAxes, color="0.95", zorder=0))
    for row in lost.itertuples():
        (drawn,) = strip.plot(row.x, labels.index(row.label), linestyle="none", color=row.colour)
        drawn.set(marker=row.mark, markersize=5)
