"""What an ensemble gains over the single network, against the network's capacity."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from nfe.report.figures import layout, style
from nfe.report.figures.data import FigureData, spread

# Column, sign that makes more the better, label.
_GAINS = (
    ("accuracy", 1, "gain in accuracy [points]"),
    ("nll", -1, "fall of NLL [nats]"),
)


def draw(material: FigureData) -> Figure:
    """Draw the mean difference from the single network, seed by seed, over capacity."""
    # One panel for a family of networks, wrn-16-k say: all its widths.
    family = material.rows["architecture"].str.replace(r"-\d+$", "", regex=True)
    rows = material.rows.assign(network=material.rows["architecture"], architecture=family)
    panels = material.of(rows).panels()
    figure, axes = layout.grid(len(panels), len(_GAINS), height=2.1)
    for row, (_, part) in zip(axes, panels, strict=True):
        for ax, (metric, sign, label) in zip(row, _GAINS, strict=True):
            _panel(ax, part, metric, sign)
            ax.set_ylabel(label)
    layout.titles(figure, [row[0] for row in axes], [words for words, _ in panels])
    heading = f"{layout.note(material)} Differences from the single network of the same seed."
    layout.legend(figure, [ax for row in axes for ax in row], heading)
    return figure


def _panel(ax: Axes, material: FigureData, metric: str, sign: int) -> None:
    rows = material.good
    single = rows[rows["method"] == "single"]
    others = rows[rows["method"] != "single"]
    if single.empty or others.empty:
        style.nothing(ax, "no single network\nto compare with" if single.empty else "no run")
        return
    sizes = single.groupby("network", sort=False)["parameters"].first().sort_values()
    ax.axhline(0, color=style.GREY, linestyle="--", linewidth=0.8)
    counts: dict[str, list[str]] = {name: [] for name in sizes.index}
    keys = ["method", "members", "settings"]
    for index, (key, part) in enumerate(others.groupby(keys, sort=False)):
        found = gains(material, part, single, metric, sign)
        look = style.member_style(*key)
        places = [name for name in sizes.index if name in found.index]
        means = found.loc[places, "mean"]
        ax.plot(sizes[places], means, color=look["color"], linewidth=0.8, alpha=0.6)
        for name in places:
            counts[name].append(str(int(found.loc[name, "n"])))
            style.mark(
                ax,
                f"{found.loc[name, 'run']}:{metric}",
                sizes[name],
                means[name],
                int(found.loc[name, "n"]),
                yerr=found.loc[name, "spread"],
                label=style.name(*key),
                # At one place bars are told apart by their caps.
                **look | {"capsize": 2 + 1.5 * index},
            )
    ax.set_xscale("log")
    ax.set_xlim(sizes.min() / 1.5, sizes.max() * 1.5)
    ax.set_xticks(sizes, [f"{name.rpartition('-')[2]}\n{_short(s)}" for name, s in sizes.items()])
    ax.xaxis.set_minor_locator(NullLocator())
    style.count_row(ax, sizes, ["/".join(dict.fromkeys(counts[name])) for name in sizes.index])
    family = rows["architecture"].iloc[0].replace("wrn", "WRN")
    ax.set_xlabel(f"k of {family}-k, parameters of the\nsingle network (log)")


def gains(
    material: FigureData, part: pd.DataFrame, single: pd.DataFrame, metric: str, sign: int
) -> pd.DataFrame:
    """Return mean, spread and number n of the differences of each network's seeds.

    Run r of a method is compared with the single network's run r: with the same seed they see
    the same batches (a Deep Ensemble's replicate r has other seeds; the interval still holds).
    Column run names the first run of each.
    """
    keys = ["network", "seed"]
    both = part.merge(single, on=keys, suffixes=("", "_single"))
    found = {}
    for network, seeds in both.groupby("network"):
        differences = sign * (seeds[metric] - seeds[f"{metric}_single"])
        half = spread(differences)
        if len(seeds) == 1:
            one = seeds.iloc[0]
            other = pd.Series({metric: one[f"{metric}_single"], "run": one["run_single"]})
            half = material.difference_spread(one[[metric, "run"]], other, metric)
        found[network] = (differences.mean(), half, len(seeds), seeds["run"].iloc[0])
    return pd.DataFrame.from_dict(found, orient="index", columns=["mean", "spread", "n", "run"])


def _short(size: float) -> str:
    return f"{size / 1e6:.3g} M" if size >= 1e6 else f"{size / 1e3:.0f} k"
