"""What an ensemble gains over the single network, against the network's capacity."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from nfe.report.figures import style
from nfe.report.figures.data import FigureData, spread

# Column, sign that makes more the better, label.
_GAINS = (
    ("accuracy", 1, "gain in test accuracy [points]"),
    ("nll", -1, "fall of test NLL [nats]"),
)


def draw(material: FigureData) -> Figure:
    """Draw the difference from the single network, seed by seed, as a band over capacity."""
    # One panel for a family of networks, wrn-16-k say: all its widths.
    family = material.rows["architecture"].str.replace(r"-\d+$", "", regex=True)
    rows = material.rows.assign(network=material.rows["architecture"], architecture=family)
    panels = FigureData(rows, material.folder).panels()
    figure, axes = style.grid(len(panels), len(_GAINS), (5.2, 3.7))
    for row, (title, part) in zip(axes, panels, strict=True):
        for ax, (metric, sign, label) in zip(row, _GAINS, strict=True):
            style.title(ax, title)
            _panel(ax, part.good, metric, sign)
            ax.set_ylabel(label)
    style.legend(figure, [ax for row in axes for ax in row], style.note(material, "bands"))
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, metric: str, sign: int) -> None:
    single = rows[rows["method"] == "single"]
    others = rows[rows["method"] != "single"]
    if single.empty or others.empty:
        style.nothing(ax, "no single network to compare with" if single.empty else "no run")
        return
    sizes = single.groupby("network", sort=False)["parameters"].first().sort_values()
    ax.axhline(0, color="0.4", linestyle="--", label="single")
    for (method, members), part in others.groupby(["method", "members"], sort=False):
        gains = _gains(part, single, metric, sign)
        line = gains.reindex([name for name in sizes.index if name in gains.index])
        style.band(
            ax,
            line.index.map(sizes),
            line["mean"],
            line["spread"],
            label=style.name(method, members),
            **style.member_style(method, members),
        )
    ax.set_xscale("log")
    widths = [f"{name.rpartition('-')[2]}: {_short(size)}" for name, size in sizes.items()]
    ax.set_xticks(sizes, widths)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.tick_params(axis="x", labelrotation=90, labelsize="small")
    family = rows["architecture"].iloc[0]
    ax.set_xlabel(f"k of {family}-k: parameters of the single network (logarithmic)")


def _gains(part: pd.DataFrame, single: pd.DataFrame, metric: str, sign: int) -> pd.DataFrame:
    """Return mean and spread of the difference over the seeds of each network.

    Run r of a method is compared with the single network's run r: with the same seed they see
    the same batches (a Deep Ensemble's replicate r has other seeds; the interval still holds).
    """
    keys = ["network", "seed"]
    both = part.merge(single, on=keys, suffixes=("", "_single"))
    difference = sign * (both[metric] - both[f"{metric}_single"])
    grouped = difference.groupby(both["network"])
    return pd.DataFrame({"mean": grouped.mean(), "spread": grouped.agg(spread)})


def _short(size: float) -> str:
    return f"{size / 1e6:.3g} M" if size >= 1e6 else f"{size / 1e3:.0f} k"
