"""Evaluations beyond clean accuracy: a run's files as rows, averaged over a setting's seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nfe.common.files import read_json
from nfe.report import summaries
from nfe.suite.outputs import CLEAN, ood_set

METRICS = (
    "accuracy",
    "nll",
    "ece",
    "aurc",
    "temperature",
    "nll_scaled",
    "ece_scaled",
    "auroc",
    "fpr95",
)
_WHERE = ("shift", "severity", "score")
COLUMNS = (
    "setting",
    "method",
    *_WHERE,
    "seeds",
    "missing",
    *summaries.columns(METRICS),
)


def rows(settings: Mapping[str, Sequence[Mapping[str, str]]], runs: Path) -> list[dict[str, str]]:
    """Return one row per setting, shift, severity and score; none where nothing is evaluated.

    Args:
        settings: the rows of runs.csv of each setting, by its label.
        runs: folder of the runs' folders.
    """
    found = []
    for label, seeds in settings.items():
        good = [row["run"] for row in seeds if row["status"] == "ok"]
        places: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for run in good:
            for row in table(read(runs / run)):
                places.setdefault(tuple(row[key] for key in _WHERE), []).append(row)
        for where, values in places.items():
            about = {"setting": label, "method": seeds[0]["method"]}
            about |= dict(zip(_WHERE, where, strict=True))
            about |= {"seeds": str(len(values)), "missing": str(len(good) - len(values))}
            found.append(about | _statistics(values))
    return found


def _statistics(values: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for metric in (m for m in METRICS if m in values[0]):
        found |= summaries.cells(metric, [row[metric] for row in values])
    return found


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the evaluation files of a run's folder by name, ``evaluation.json`` first."""
    found = sorted(
        folder.glob("evaluation*.json"), key=lambda path: (path.name != CLEAN, path.name)
    )
    return {path.name: read_json(path) for path in found}


def table(files: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a run's evaluation as rows: what was shown, and the metrics there.

    Keys: ``shift`` (``clean``, an out-of-distribution set, or a corruption), ``severity`` (1 to
    5, ``mean``, or empty), ``score`` (of detection), and the metrics.
    """
    rows: list[dict[str, Any]] = []
    for name, content in files.items():
        if content["status"] != "ok":
            continue
        values = {key: value for key, value in content.items() if key != "status"}
        if "scores" in values:
            shift = ood_set(name)
            rows += [
                {"shift": shift, "severity": "", "score": score, **numbers}
                for score, numbers in values["scores"].items()
            ]
        elif "corruptions" in values:
            rows += _corruption_rows(values["corruptions"])
        else:
            rows.append({"shift": "clean", "severity": "", "score": "", **values})
    return rows


def _corruption_rows(found: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    rows = [
        {"shift": kind, "severity": str(severity), "score": "", **numbers}
        for kind, severities in found.items()
        for severity, numbers in enumerate(severities, start=1)
    ]
    metrics = next(iter(found.values()))[0]
    mean = {metric: float(np.mean([row[metric] for row in rows])) for metric in metrics}
    return [{"shift": "corruptions", "severity": "mean", "score": "", **mean}, *rows]


def lines(name: str, files: dict[str, dict[str, Any]]) -> list[str]:
    """Return a run's evaluation as text."""
    said = [name]
    for row in table(files):
        where = " ".join(row[key] for key in ("shift", "severity", "score") if row[key])
        numbers = {k: v for k, v in row.items() if k not in ("shift", "severity", "score")}
        said.append(f"  {where}: " + ", ".join(f"{k} {v:.4f}" for k, v in numbers.items()))
    lost = {content["status"] for content in files.values()} - {"ok"}
    return [*said, *(f"  {status}: nothing to evaluate" for status in sorted(lost))]
