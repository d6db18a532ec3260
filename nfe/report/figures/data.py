"""What a figure is drawn from: rows of runs.csv, and the folders of their runs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nfe.common.errors import InputError
from nfe.common.files import read_json, read_npz
from nfe.report import reading
from nfe.report.schema import PANEL, RUNS
from nfe.report.statistics import summarize

# What tells the settings of one panel apart; a collapsed run has no members to count.
SETTING = ("method", "members", "settings", "recipe")


@dataclass(frozen=True)
class FigureData:
    """The runs that a figure shows.

    Attributes:
        rows: theirs in runs.csv, whatever became of them.
        folder: the folder of the runs' folders.
        missing: how many more the suite plans that are neither finished nor failed.
    """

    rows: pd.DataFrame
    folder: Path
    missing: int = 0

    @property
    def good(self) -> pd.DataFrame:
        """The rows of runs that ended well."""
        return self.rows[self.rows["status"] == "ok"]

    def panels(self, by: Sequence[str] = PANEL) -> list[tuple[str, "FigureData"]]:
        """Return the title and the runs of each panel."""
        return [
            (_title(dict(zip(by, key, strict=True))), FigureData(part, self.folder))
            for key, part in self.rows.groupby(list(by), sort=False)
        ]

    def metrics(self, run: str) -> dict[str, Any]:
        """Return a run's metrics.json."""
        found: dict[str, Any] = read_json(self.folder / run / "metrics.json")
        return found

    def latency_quartiles(self, runs: Iterable[str]) -> dict[str, Any]:
        """Return, by run, how far the quartiles of its network's latency lie from the median.

        In milliseconds, as (2, 1): below and above; runs whose network was not timed are left
        out.
        """
        from nfe.suite.outputs import network_name
        from nfe.suite.run import from_identity

        found = {}
        for run in runs:
            network = network_name(from_identity(read_json(self.folder / run / "config.json")))
            path = self.folder.parent / "latency" / f"{network}.json"
            if path.exists() and "passes" in (measured := read_json(path)):
                one = measured["passes"]["1"]
                low, middle, high = (one[k] for k in ("quartile1", "median", "quartile3"))
                found[run] = [[middle - low], [high - middle]]
        return found

    def per_image(self, run: str) -> dict[str, np.ndarray[Any, Any]]:
        """Return a run's per-image file."""
        return read_npz(self.folder / run / "per_image.npz")


def _title(panel: dict[str, Any]) -> str:
    lines = [
        f"{panel['dataset']} {panel['resolution']}×{panel['resolution']}, {panel['architecture']}",
        "" if panel["subset"] == "all" else panel["subset"],
        f"{panel['epochs']} epochs, protocol {panel['protocol']}",
        f"whole in every path: {panel['whole']}" if panel.get("whole") else "",
        f"division: {panel['division']}" if panel.get("division") else "",
    ]
    return "\n".join(line for line in lines if line)


def read(runs: Path, groups: Sequence[str]) -> FigureData:
    """Return the runs of some groups of a suite.

    Args:
        runs: the suite's runs.csv.
        groups: names; the first one must have runs.

    Raises:
        InputError: the file is missing or has no run of the first group.
    """
    kinds = {"grouping_ratio": str, "exit_stages": str, "groups": str, "member_accuracy": str}
    rows = reading.read(runs, RUNS, dtype=kinds)
    belongs = rows["groups"].str.split("/")
    if not belongs.map(lambda found: groups[0] in found).any():
        raise InputError(f"{runs}: no run belongs to group {groups[0]!r}")
    chosen = rows[belongs.map(lambda found: not set(groups).isdisjoint(found))]
    return FigureData(chosen, runs.parent / "runs", _missing(runs.parent, groups, set(rows["run"])))


def _missing(results: Path, groups: Sequence[str], there: set[str]) -> int:
    plans = [read_json(path) for path in results.glob("plan-*.json")]
    return sum(
        not set(groups).isdisjoint(planned["groups"]) and planned["name"] not in there
        for plan in plans
        for planned in plan["runs"]
    )


def points(rows: pd.DataFrame, by: Sequence[str], *metrics: str) -> pd.DataFrame:
    """Return mean and spread of metrics over the seeds of each combination of ``by``.

    The spread of metric m is column m_spread: the half-width of the 95 % interval, under three
    seeds the standard deviation, and NaN, which draws no bar, for one. Column n counts seeds.
    """
    found = []
    for key, seeds in rows.groupby(list(by), dropna=False, sort=False):
        point = dict(zip(by, key, strict=True)) | {"n": len(seeds)}
        for metric in metrics:
            point |= {metric: seeds[metric].mean(), f"{metric}_spread": spread(seeds[metric])}
        found.append(point)
    columns = [*by, "n", *(name for m in metrics for name in (m, f"{m}_spread"))]
    return pd.DataFrame(found, columns=columns)


def spread(values: Sequence[float] | pd.Series) -> float:
    """Return the half-width of a bar: see ``points``."""
    numbers = summarize([float(value) for value in values])
    half = numbers["ci95"] if numbers["ci95"] is not None else numbers["std"]
    return np.nan if half is None else float(half)


def per_setting(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the seeds of each setting."""
    for _, seeds in rows.groupby(list(SETTING), dropna=False, sort=False):
        yield seeds


def members(rows: pd.DataFrame) -> pd.DataFrame:
    """Return each member's accuracy in percent: one column a member, early exits first."""
    return rows["member_accuracy"].str.split("/", expand=True).astype(float)
