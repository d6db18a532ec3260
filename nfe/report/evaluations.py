"""Evaluations beyond clean accuracy, averaged over a setting's seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nfe.engine import robustness
from nfe.report import summaries

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
            for row in robustness.table(robustness.read(runs / run)):
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
