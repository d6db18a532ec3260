"""The paper's figures, drawn from runs.csv alone."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from nfe.engine.errors import InputError, unknown
from nfe.report.catalogue import FIGURES, FORMATS
from nfe.report.columns import RUNS
from nfe.report.reading import read
from nfe.report.statistics import summarize

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
)
PRUNERS = ("random", "erk", "magnitude", "snip", "grasp", "synflow")
_MARKS = ("o", "s", "D", "^", "v", "<", ">", "P", "X", "*", "p", "h", "8", "d", "H", "o", "s")
_PANEL = ("dataset", "resolution", "subset", "architecture", "epochs", "protocol")


def _style(names: tuple[str, ...], name: str) -> dict[str, Any]:
    index = names.index(name) if name in names else len(names)
    colours = sns.color_palette("colorblind", 10)
    return {"color": colours[index % 10], "marker": _MARKS[index % len(_MARKS)]}


def read_runs(path: Path, group: str) -> pd.DataFrame:
    """Return the rows of runs.csv that belong to a group of the suite.

    Raises:
        InputError: the file is missing or has no such row.
    """
    rows = read(path, RUNS, dtype={"grouping_ratio": str, "exit_stages": str, "groups": str})
    chosen = rows[rows["groups"].str.split("/").map(lambda groups: group in groups)]
    if chosen.empty:
        raise InputError(f"{path}: no run belongs to group {group!r}")
    return chosen


def _points(rows: pd.DataFrame, by: list[str], metric: str) -> pd.DataFrame:
    """Return mean, spread and n of a metric for each combination of ``by``."""
    good = rows[rows["status"] == "ok"]
    points = []
    for key, seeds in good.groupby(by, dropna=False, sort=False):
        numbers = summarize(seeds[metric].tolist())
        spread = numbers["ci95"] if numbers["ci95"] is not None else numbers["std"]
        points.append([*key, numbers["mean"], spread, len(seeds)])
    # A single seed has no spread: NaN draws no bar.
    return pd.DataFrame(points, columns=[*by, "mean", "spread", "n"]).astype({"spread": float})


def _panels(rows: pd.DataFrame) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """Return a figure with one panel per data set and architecture, and each panel's rows."""
    sns.set_theme(context="paper", style="whitegrid", font_scale=1.1)
    groups = list(rows.groupby(list(_PANEL), sort=False))
    figure, axes = plt.subplots(
        1, len(groups), figsize=(2.8 + 5.2 * len(groups), 4.2), squeeze=False, layout="constrained"
    )
    panels = []
    for ax, (key, part) in zip(axes[0], groups, strict=True):
        dataset, resolution, subset, architecture, epochs, protocol = key
        ax.set_title(
            f"{dataset} {resolution}×{resolution} ({subset})\n"
            f"{architecture}, {epochs} epochs, protocol {protocol}",
            fontsize="medium",
        )
        panels.append((ax, part))
    return figure, panels


def _spread_note(rows: pd.DataFrame) -> str:
    n = sorted(rows.groupby("settings").size().unique())
    if max(n) < 2:
        return "one seed a point"
    if max(n) < 3:
        return "bars: standard deviation over 2 seeds"
    return f"bars: 95 % interval over seeds (n up to {max(n)})"


def accuracy_vs_flops(rows: pd.DataFrame) -> Figure:
    """Draw accuracy against the inference FLOPs on non-zero weights, one mark per setting."""
    figure, panels = _panels(rows)
    for ax, part in panels:
        # Pruned by data or at random, each seed of a setting has other non-zero MACs.
        setting = ["method", "members", "settings", "recipe"]
        points = _points(part, setting, "accuracy")
        points["flops"] = 2 * _points(part, setting, "macs_nonzero")["mean"]
        ax.set_xscale("log")
        for point, shift in zip(points.itertuples(), _side_by_side(points["flops"]), strict=True):
            ax.errorbar(
                point.flops,
                point.mean,
                yerr=point.spread,
                capsize=3,
                markersize=7,
                linestyle="none",
                label=f"{point.method} (M = {int(point.members)})",
                transform=ax.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans),
                **_member_style(point.method, int(point.members)),
            )
        # Shifted marks do not count towards automatic limits.
        spread = points["spread"].fillna(0)
        bottom, top = (points["mean"] - spread).min(), (points["mean"] + spread).max()
        ax.set_ylim(bottom - 0.08 * (top - bottom) - 0.01, top + 0.08 * (top - bottom) + 0.01)
        low, high = points["flops"].min(), points["flops"].max()
        ax.set_xlim(low / 1.35, high * 1.35)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
        ax.xaxis.set_major_formatter(EngFormatter())
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("inference FLOPs per image (non-zero weights),\nequal costs side by side")
        ax.set_ylabel("test accuracy [%]")
    _legend(figure, panels, _spread_note(rows))
    return figure


def _side_by_side(flops: pd.Series) -> list[float]:
    """Return a horizontal shift in points for each mark, so that equal costs do not overlap."""
    cluster = (flops.rank(method="dense") * 0).astype(int)
    order = flops.sort_values().index
    for before, here in itertools.pairwise(order):
        apart = flops[here] > 1.05 * flops[before]
        cluster[here] = cluster[before] + apart
    place = cluster.groupby(cluster).cumcount()
    size = cluster.map(cluster.value_counts())
    return [9 * (p - (n - 1) / 2) for p, n in zip(place, size, strict=True)]


def _member_style(method: str, members: int) -> dict[str, Any]:
    style = _style(METHODS, method)
    return style | {"fillstyle": "none" if members == 2 else "full"}


def pai(rows: pd.DataFrame) -> Figure:
    """Draw accuracy against sparsity, one line per method of pruning at initialization."""
    figure, panels = _panels(rows)
    for ax, part in panels:
        points = _points(part, ["pruning", "sparsity"], "accuracy")
        dense = points[points["pruning"] == "none"]
        if not dense.empty:
            ax.axhline(dense["mean"].iloc[0], color="0.4", linestyle="--", label="no pruning")
        for name in PRUNERS:
            line = points[points["pruning"] == name].sort_values("sparsity")
            if line.empty:
                continue
            ax.errorbar(
                line["sparsity"],
                line["mean"],
                yerr=line["spread"],
                capsize=3,
                label=name,
                **_style(PRUNERS, name),
            )
        _mark_lost(ax, part)
        ax.set_xlabel("sparsity of the convolutions")
        ax.set_ylabel("test accuracy of the ensemble [%]")
    _legend(figure, panels, _spread_note(rows))
    return figure


def _mark_lost(ax: Axes, part: pd.DataFrame) -> None:
    """Show collapsed and failed runs on the lower edge instead of dropping them."""
    for status in ("collapsed", "failed"):
        lost = part[part["status"] == status]
        for name, rows in lost.groupby("pruning"):
            ax.plot(
                rows["sparsity"],
                [0.02] * len(rows),
                transform=ax.get_xaxis_transform(),
                linestyle="none",
                marker="x",
                markersize=8,
                color=_style(PRUNERS, str(name))["color"],
                label=f"{name}: {status}",
            )


def grouping_ratio(rows: pd.DataFrame) -> Figure:
    """Draw accuracy of the ensemble and of each exit against exit 1's share of the weights."""
    figure, panels = _panels(rows)
    for ax, part in panels:
        good = part[part["status"] == "ok"].copy()
        good["share"] = good["grouping_ratio"].str.split("/").str[0].astype(float)
        exits = good["member_accuracy"].str.split("/", expand=True).astype(float)
        curves = {"ensemble": good["accuracy"]}
        curves |= {f"exit {i + 1}": exits[i] for i in exits.columns}
        for index, (name, values) in enumerate(curves.items()):
            points = _points(good.assign(value=values), ["share"], "value").sort_values("share")
            ax.errorbar(
                points["share"],
                points["mean"],
                yerr=points["spread"],
                capsize=3,
                label=name,
                linestyle="-" if name == "ensemble" else ":",
                color=sns.color_palette("colorblind")[index],
                marker=_MARKS[index],
            )
        ax.set_xlabel("share of the weights in exit 1's group")
        ax.set_ylabel("test accuracy [%]")
    _legend(figure, panels, _spread_note(rows))
    return figure


def _legend(figure: Figure, panels: list[tuple[Axes, pd.DataFrame]], note: str) -> None:
    entries: dict[str, Any] = {}
    for ax, _ in panels:
        handles, labels = ax.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside right upper",
        title=note,
        frameon=False,
    )


_DRAWN_BY: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "accuracy_vs_flops": accuracy_vs_flops,
    "pai": pai,
    "grouping_ratio": grouping_ratio,
}


def draw(name: str, runs: Path, folder: Path) -> None:
    """Draw one figure from runs.csv and write it in every format.

    Raises:
        InputError: there is no figure of that name, or no run for it.
    """
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    rows = read_runs(runs, FIGURES[name])
    # Same table, same bytes: no random ids and no dates in the files.
    with mpl.rc_context({"svg.hashsalt": "nfe-bench"}):
        figure = _DRAWN_BY[name](rows)
        for kind in FORMATS:
            _save(figure, folder / f"{name}.{kind}", kind)
    plt.close(figure)


def _save(figure: Figure, path: Path, kind: str) -> None:
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format=kind, dpi=160, metadata=undated[kind])
    temporary.replace(path)
