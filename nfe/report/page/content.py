"""What the page shows: the tables' own text, and what is drawn from the runs' files."""

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from nfe.common.errors import InputError
from nfe.common.files import checksum, read_json, read_npz
from nfe.evaluation.metrics import BINS, bin_index
from nfe.report import figures, tables
from nfe.report.catalogue import FORMATS, PRUNERS, TITLES, available, method_name
from nfe.report.page import marks, titles
from nfe.report.page.labels import short
from nfe.report.release import manifest

Row = dict[str, str]

# Costs that the plot offers first: column → (title, factor). FLOPs are 2 × multiply-adds.
COSTS = {
    "macs_nonzero": ("FLOPs per image, non-zero weights", 2),
    "macs_dense": ("FLOPs per image, as executed (dense)", 2),
    "latency_ms": ("latency of one image, ms", 1),
    "parameters": ("parameters", 1),
    "nonzero_parameters": ("non-zero parameters", 1),
    "train_macs": ("training cost, FLOPs", 2),
    "train_seconds_mean": ("training time, s", 1),
}
_STATISTICS = ("mean", "std", "ci95")
_HIGHER = ("accuracy", "auroc", "aupr")
# Neither more nor less of it is better by itself.
_NEUTRAL = ("disagreement", "diversity")
# Columns of the leaderboard behind the name, in this order.
_SHOWN = (
    "seeds",
    "accuracy",
    "nll",
    "ece",
    "macs_nonzero",
    "macs_dense",
    "train_macs",
    "latency_ms",
    "nonzero_parameters",
    "brier",
    "disagreement",
)
# Epochs drawn of a curve.
_EPOCHS = 60
# Tables that have a place of their own on the page.
_PLACED = ("runs.csv", "summary.csv", "curves.csv")


def collect(results: Path) -> dict[str, Any]:
    """Return what the page shows of a results folder, ready for JSON.

    Cells are the tables' text, unchanged. A run's ``bins`` are its reliability diagram: images,
    correct ones and summed confidence of each of 15 equal-width bins of confidence.

    Raises:
        InputError: a table or a run's file is missing or damaged.
    """
    plan = _plan(results)
    header, summary = _table(results / "summary.csv")
    run_header, runs = _table(results / "runs.csv")
    curve_header, curves = _table(results / "curves.csv")
    place = {row["run"]: number for number, row in enumerate(runs)}
    labels = tables.labels(summary)
    shown = tables.displayed(summary)
    seeds = [[place[row["run"]] for row in rows] for rows in tables.by_setting(runs)]
    if len(seeds) != len(summary):
        raise InputError(f"{results / 'summary.csv'}: not made from {results / 'runs.csv'}")
    extra = sorted(path for path in results.glob("*.csv") if path.name not in _PLACED)
    record = read_json(plan)
    columns = [column for column, _ in tables.SHOWN]
    metrics = _metrics(header)
    return {
        "suite": record["suite"],
        "note": record["note"],
        "ranks": record.get("ranks", True),
        "legend": tables.LEGEND,
        "links": _links(results, record["suite"], plan),
        "checksum": checksum(results / "runs.csv"),
        "header": header,
        "shown": [[column, titles.of(column)] for column in _SHOWN],
        "titles": {c: titles.of(c) for c in (*header, *metrics, *run_header, *curve_header)},
        "metrics": [[metric, _better(metric)] for metric in metrics],
        "costs": [[key, *COSTS[key]] for key in COSTS if key in header],
        "settings": [
            {
                "label": label,
                "task": task,
                "cells": [row[column] for column in header],
                "method": method_name(row["method"]),
                "mark": marks.of(row),
                "marked": marks.name(row),
                "shown": [dict(zip(columns, cells, strict=True))[key] for key in _SHOWN],
                "runs": of,
            }
            for row, label, (task, cells), of in zip(summary, labels, shown, seeds, strict=True)
        ],
        "names": _names(summary, [task for task, _ in shown]),
        "methods": {
            method_name(method): marks.of_method(method)
            for method in dict.fromkeys(row["method"] for row in summary)
        },
        "pruners": {name: marks.of_pruner(name) for name in PRUNERS},
        "marks": marks.numbered(30),
        "runHeader": run_header,
        "runs": [[row[column] for column in run_header] for row in runs],
        "bins": [_bins(results, row) for row in runs],
        "curveHeader": curve_header[1:],
        "curves": _curves(curve_header, curves),
        "figures": _figures(results, runs),
        "tables": [_further(path) for path in extra],
    }


def _names(summary: Sequence[Row], tasks: Sequence[str]) -> dict[str, list[str]]:
    """Return the settings' short names by group, "" being all; empty outside the group."""
    groups = dict.fromkeys(group for row in summary for group in row["groups"].split("/"))
    names = {}
    for group in ("", *groups):
        chosen: dict[str, list[int]] = {}
        for place, (row, task) in enumerate(zip(summary, tasks, strict=True)):
            if not group or group in row["groups"].split("/"):
                chosen.setdefault(task, []).append(place)
        names[group] = [""] * len(summary)
        for places in chosen.values():
            for place, name in zip(places, short([summary[p] for p in places]), strict=True):
                names[group][place] = name
    return names


def _plan(results: Path) -> Path:
    plans = sorted(results.glob("plan-*.json"))
    if len(plans) != 1:
        found = ", ".join(plan.name for plan in plans) or "none"
        raise InputError(f"{results}: one plan-….json is needed for a page; found: {found}")
    return plans[0]


def _table(path: Path) -> tuple[list[str], list[Row]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or []), list(reader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None


def _metrics(header: Sequence[str]) -> list[str]:
    """Return what the table has a mean and an interval of."""
    means = [column.removesuffix("_mean") for column in header if column.endswith("_mean")]
    return [m for m in means if all(f"{m}_{statistic}" in header for statistic in _STATISTICS)]


def _better(metric: str) -> str | None:
    if any(word in metric for word in _NEUTRAL):
        return None
    return "high" if any(word in metric for word in _HIGHER) else "low"


def _links(results: Path, suite: str, plan: Path) -> dict[str, str]:
    """Return addresses relative to the page, by what they lead to."""
    root = manifest.root(results)
    found = {"plan": plan.name}
    for name, path in (("configuration", f"config/{suite}.yaml"), ("citation", "CITATION.cff")):
        # A reproduction has results alone.
        if (root / path).exists():
            found[name] = f"../../{quote(path)}"
    return found


def _bins(results: Path, row: Row) -> list[list[float]] | None:
    if row["status"] != "ok":
        return None
    images = read_npz(results / "runs" / row["run"] / "per_image.npz")
    confidence, correct = images["confidence"].astype(np.float64), images["correct"]
    place = bin_index(confidence)
    count = np.bincount(place, minlength=BINS).tolist()
    right = np.bincount(place[correct], minlength=BINS).tolist()
    total = np.bincount(place, weights=confidence, minlength=BINS).tolist()
    return [[n, k, round(c, 4)] for n, k, c in zip(count, right, total, strict=True)]


def _curves(header: Sequence[str], rows: Sequence[Row]) -> dict[str, list[list[float]]]:
    """Return each setting's curve by its label, thinned evenly where it is long."""
    curves: dict[str, list[list[float]]] = {}
    for row in rows:
        curves.setdefault(row["setting"], []).append([float(row[c]) for c in header[1:]])
    return {label: _thinned(curve) for label, curve in curves.items()}


def _thinned(curve: list[list[float]]) -> list[list[float]]:
    last = len(curve) - 1
    kept = min(len(curve), _EPOCHS)
    return [curve[round(i * last / max(kept - 1, 1))] for i in range(kept)]


def _figures(results: Path, runs: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the suite's figures as they stand beside its results, drawn where they do not."""
    groups = {group for row in runs for group in row["groups"].split("/")}
    there = manifest.figure_folder(results)
    found = []
    for name in available(groups):
        at = f"../../figures/{quote(results.resolve().name)}/{name}"
        found.append(
            {
                "name": name,
                "title": TITLES[name],
                "image": _image(_drawn(name, results, there)),
                "links": {kind: f"{at}.{kind}" for kind in FORMATS},
            }
        )
    return found


def _drawn(name: str, results: Path, there: Path) -> str:
    """Return a figure's SVG: the one that is there, which ``verify`` compares with the rows."""
    if (there / f"{name}.svg").exists():
        return (there / f"{name}.svg").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        figures.draw(name, results / "runs.csv", Path(folder), ["svg"])
        return Path(folder, f"{name}.svg").read_text(encoding="utf-8")


def _image(svg: str) -> str:
    """Return an SVG as an address; all but what would end it stays readable, and small in git."""
    return "data:image/svg+xml," + quote(svg, safe=" !$&'()*+,-./:;=?@[]^_`{|}~\n")


def _further(path: Path) -> dict[str, Any]:
    header, rows = _table(path)
    return {"name": path.name, "header": header, "rows": [[r[c] for c in header] for r in rows]}
