"""How all figures look: colours, marks, axes and legends."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FormatStrFormatter, LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, Transform

from nfe.report.figures.data import FigureData
from nfe.report.schema import PANEL

# Fixed order, so that a method keeps its colour and mark from one suite to the next.
METHODS = (
    "single",
    "deep_ensemble",
    "nfe",
    "mimo",
    "batch_ensemble",
    "exit_ensemble_distillation",
    "beed",
    "sembg",
    "treenet",
    "packed_ensemble",
    "mc_dropout",
    "edst",
    "dst",
    "snapshot",
    "prune_and_tune",
    "mixmo",
    "local_critic",
    "narrow_ensemble",
)
PRUNERS = ("random", "erk", "magnitude", "snip", "grasp", "synflow")
_MARKS = ("o", "s", "D", "^", "v", "<", ">", "P", "X", "*", "p", "h", "8", "d", "H", "o", "s", "D")
# Of few members the mark is open or half full; of many full.
_FILLS = {2: "none", 4: "left"}
# Of weights that are not divided one by one; beside the mark of those that are.
_DIVIDED = "^"
PANEL_SIZE = (4.4, 3.7)
COLOURS = 10


def colour(index: int) -> Any:
    """Return one of ten colours that colour-blind readers tell apart, as far as ten can be."""
    return sns.color_palette("colorblind", COLOURS)[index % COLOURS]


def style(names: Sequence[str], name: str) -> dict[str, Any]:
    """Return the colour and mark that a name of a fixed list always has."""
    return numbered(names.index(name) if name in names else len(names))


def division(settings: str) -> str:
    """Return what goes to an exit as a whole by a row's settings; "" where it is each weight."""
    unit = str(json.loads(settings).get("granularity", "weight"))
    return "" if unit == "weight" else unit


def member_style(method: str, members: float, settings: str = "{}") -> dict[str, Any]:
    """Return the colour and mark of a method.

    The mark's fill tells the number of members, its shape whether weights go one by one.
    """
    look = style(METHODS, method) | {"fillstyle": _FILLS.get(int(members), "full")}
    return look | {"marker": _DIVIDED} if division(settings) else look


def numbered(index: int) -> dict[str, Any]:
    """Return the colour and mark of the curve of that number, from 0.

    When the colours come round again, marks have a dark edge.
    """
    edge = {} if index < COLOURS else {"markeredgecolor": "black", "markeredgewidth": 0.8}
    return {"color": colour(index), "marker": _MARKS[index % len(_MARKS)], **edge}


def band(ax: Axes, x: Any, middle: Any, half: Any, **look: Any) -> None:
    """Draw a line with its spread as a band around it; none where the spread is NaN."""
    (line,) = ax.plot(x, middle, **({"markersize": 5, "linewidth": 1.3} | look))
    ax.fill_between(
        np.asarray(x, dtype=float),
        np.asarray(middle) - np.asarray(half),
        np.asarray(middle) + np.asarray(half),
        color=line.get_color(),
        alpha=0.15,
        linewidth=0,
    )


def name(method: str, members: float, settings: str = "{}") -> str:
    """Return what a legend calls a method with so many members and these settings."""
    words = [f"M = {int(members)}"] if members > 1 else []
    words += [unit] if (unit := division(settings)) else []
    return f"{method} ({', '.join(words)})" if words else method


def grid(
    rows: int, columns: int, size: tuple[float, float] = PANEL_SIZE
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure of rows × columns panels, with room for a legend on the right."""
    sns.set_theme(context="paper", style="whitegrid", font_scale=1.1)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(3.0 + size[0] * columns, 0.6 + size[1] * rows),
        squeeze=False,
        layout="constrained",
    )
    return figure, axes.tolist()


def wrapped(
    count: int, columns: int = 3, size: tuple[float, float] = PANEL_SIZE
) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels, at most ``columns`` side by side."""
    columns = min(count, columns)
    figure, axes = grid(-(-count // columns), columns, size)
    flat = list(itertools.chain.from_iterable(axes))
    for ax in flat[count:]:
        ax.set_visible(False)
    return figure, flat[:count]


def title(ax: Axes, text: str) -> None:
    """Put a panel's title above it."""
    ax.set_title(text, fontsize="medium")


def nothing(ax: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", wrap=True)


def log_axis(ax: Axes, low: float, high: float, *, prefixes: bool = True, room: float = 0) -> None:
    """Make x logarithmic from below ``low`` to above ``high``, with round numbers on it.

    Args:
        ax: the panel.
        low: least value.
        high: largest value.
        prefixes: write 2 M and not 2000000.
        room: points to leave besides on either side, for marks that are shifted.
    """
    ax.set_xscale("log")
    # The share of the panel's width, some two thirds of its space, on either side.
    share = min(0.4, (room + 12) / (72 * 0.67 * PANEL_SIZE[0]))
    margin = max(1.35, (high / low) ** (share / (1 - 2 * share)))
    if room:
        margin = max(margin, 1.35 ** (1 + room / 20))
    ax.set_xlim(low / margin, high * margin)
    span = high / low * margin
    subs = (1, 1.5, 2, 3, 4, 5, 7) if span < 4 else (1, 2, 5) if span < 100 else (1,)
    ax.xaxis.set_major_locator(LogLocator(subs=subs))
    ax.xaxis.set_major_formatter(EngFormatter() if prefixes else FormatStrFormatter("%g"))
    ax.xaxis.set_minor_locator(NullLocator())


def fit_y(ax: Axes, middle: pd.Series, half: pd.Series) -> None:
    """Set limits around points and bars: shifted marks do not count towards automatic ones."""
    bottom, top = (middle - half.fillna(0)).min(), (middle + half.fillna(0)).max()
    room = 0.08 * (top - bottom) + 0.01
    ax.set_ylim(bottom - room, top + room)


def shifted(figure: Figure, base: Transform, size: float) -> Transform:
    """Return a transform moved right by ``size`` points."""
    return base + ScaledTranslation(size / 72, 0, figure.dpi_scale_trans)


def side_by_side(costs: pd.Series) -> list[float]:
    """Return a horizontal shift in points for each mark, so that equal costs do not overlap."""
    cluster = (costs.rank(method="dense") * 0).astype(int)
    order = costs.sort_values().index
    for before, here in itertools.pairwise(order):
        apart = costs[here] > 1.05 * costs[before]
        cluster[here] = cluster[before] + apart
    place = cluster.groupby(cluster).cumcount()
    size = cluster.map(cluster.value_counts())
    return [9 * (p - (n - 1) / 2) for p, n in zip(place, size, strict=True)]


def note(material: FigureData, shown: str = "bars") -> str:
    """Return what bars or bands are, and how many runs were lost."""
    rows = material.rows
    counts = material.good.groupby([*PANEL, "settings", "method"]).size()
    n = int(counts.max()) if len(counts) else 0
    if n < 2:
        text = "one seed a point"
    elif n < 3:
        text = f"{shown}: standard deviation\nover 2 seeds"
    else:
        text = f"{shown}: 95 % interval\nover seeds (n up to {n})"
        text += "\nstandard deviation where n = 2" * bool((counts == 2).any())
    lost = {status: int((rows["status"] == status).sum()) for status in ("failed", "collapsed")}
    lost["missing"] = material.missing
    told = ", ".join(f"{count} {status}" for status, count in lost.items() if count)
    return f"{text}\nruns not shown: {told}" if told else text


def legend(figure: Figure, axes: Sequence[Axes], heading: str) -> None:
    """Put one legend for all panels to the right of them, each name once."""
    entries: dict[str, Any] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        for label, handle in zip(labels, handles, strict=True):
            entries.setdefault(label, handle)
    # Smaller where so many lines, of some 0.21 inches, would leave the figure.
    room = (figure.get_size_inches()[1] - 0.5) / (0.21 * max(1, len(entries)))
    smaller = {"fontsize": room * plt.rcParams["legend.fontsize"]} if room < 1 else {}
    drawn = figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside right upper",
        title=heading,
        frameon=False,
        alignment="left",
        **smaller,
    )
    drawn.get_title().set_fontsize("small")
