"""What a figure is drawn from: rows of runs.csv, and the folders of their runs."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from nfe.common.errors import InputError
from nfe.common.files import read_json, read_npz
from nfe.report import reading
from nfe.report.catalogue import DATASETS
from nfe.report.comparison import Resampler
from nfe.report.schema import PANEL, RUNS
from nfe.report.statistics import Contrast, compare, summarize

# What tells the settings of one panel apart; a collapsed run has no members to count.
SETTING = ("method", "members", "settings", "recipe")
# Of which metrics the per-image files hold the parts.
_BY_IMAGE = ("accuracy", "nll", "ece")
_Z = float(norm.isf(0.025))


@dataclass(frozen=True)
class FigureData:
    """The runs that a figure shows.

    Attributes:
        rows: theirs in runs.csv, whatever became of them.
        folder: the folder of the runs' folders.
        missing: how many more the suite plans that are neither finished nor failed.
        ranks: whether the suite's numbers may rank methods.
    """

    rows: pd.DataFrame
    folder: Path
    missing: int = 0
    ranks: bool = True

    @property
    def good(self) -> pd.DataFrame:
        """The rows of runs that ended well."""
        return self.rows[self.rows["status"] == "ok"]

    @cached_property
    def resampler(self) -> Resampler:
        """Metrics of the runs on resampled test images."""
        return Resampler(self.folder)

    def of(self, rows: pd.DataFrame) -> "FigureData":
        """Return the same material with other rows."""
        made = replace(self, rows=rows)
        # One for all panels: each run's file is read once.
        made.__dict__["resampler"] = self.resampler
        return made

    def panels(self, by: Sequence[str] = PANEL) -> list[tuple[list[str], "FigureData"]]:
        """Return what a panel shows, in a few words each, and its runs."""
        return [
            (_words(dict(zip(by, key, strict=True))), self.of(part))
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

    def images(self, run: str) -> int:
        """Return how many test images a run was tested on."""
        return len(self.per_image(run)["correct"])

    def points(self, rows: pd.DataFrame, by: Sequence[str], *metrics: str) -> pd.DataFrame:
        """Return mean and spread of metrics over the seeds of each combination of ``by``.

        The spread of metric m is column m_spread, see ``spread``. Column n counts seeds, column
        run names the first one's.
        """
        found = []
        for key, seeds in rows.groupby(list(by), dropna=False, sort=False):
            point = dict(zip(by, key, strict=True))
            point |= {"n": len(seeds), "run": seeds["run"].iloc[0]}
            for metric in metrics:
                point |= {metric: seeds[metric].mean()}
                point |= {f"{metric}_spread": self.spread(seeds, metric)}
            found.append(point)
        columns = [*by, "n", "run", *(name for m in metrics for name in (m, f"{m}_spread"))]
        return pd.DataFrame(found, columns=columns)

    def spread(self, seeds: pd.DataFrame, metric: str) -> float:
        """Return the half-width of a bar.

        Of three seeds or more, of Student's 95 % interval over them; of two, their standard
        deviation; of one, of the 95 % interval over resampled test images. NaN, which draws no
        bar, where the per-image file does not hold the metric's parts.
        """
        if len(seeds) > 1:
            return spread(seeds[metric])
        if metric not in _BY_IMAGE:
            return np.nan
        row = {k: str(v) for k, v in seeds.iloc[0].items()}
        return float(Contrast.of(self.resampler.sample([row], metric)).half_width())

    def difference_spread(self, run: pd.Series, other: pd.Series, metric: str) -> float:
        """Return the half-width of the 95 % interval of two runs' difference, over test images."""
        rows = [{k: str(v) for k, v in one.items()} for one in (run, other)]
        samples = [self.resampler.sample([row], metric) for row in rows]
        return float(compare(samples[0], samples[1], paired=True).half_width())

    def share_spread(self, seeds: pd.DataFrame, percent: pd.Series) -> float:
        """Return the half-width of a bar of shares of images right, in percent.

        Like ``spread``, with the bootstrap's variance in closed form: p (1 - p) / images.
        """
        if len(seeds) > 1:
            return spread(percent)
        p = float(percent.iloc[0]) / 100
        return 100 * _Z * float(np.sqrt(p * (1 - p) / self.images(seeds["run"].iloc[0])))


def _words(panel: dict[str, Any]) -> list[str]:
    name = DATASETS.get(panel["dataset"], panel["dataset"])
    whole = panel.get("whole")
    words = [
        f"{name} {panel['resolution']}×{panel['resolution']}",
        *_subset(panel["subset"]),
        re.sub(r"^wrn", "WRN", panel["architecture"]),
        f"{panel['epochs']} epochs",
        f"protocol {panel['protocol']}",
        f"whole in every path: {whole}" if whole else "",
        f"division: {panel['division']}" if panel.get("division") else "",
    ]
    return [word for word in words if word]


def _subset(name: str) -> Iterator[str]:
    """Yield in words what a subset's name says."""
    if name == "all":
        return
    for pattern, words in (
        (r"(\d+)-classes(?!-drawn)", "first {} classes"),
        (r"(\d+)-classes-drawn-\d+", "{} drawn classes"),
        (r"(\d+)-per-class", "{} training images a class"),
        (r"(extended)-test", "{} test set"),
    ):
        if match := re.search(pattern, name):
            yield words.format(match[1])


def read(runs: Path, groups: Sequence[str]) -> FigureData:
    """Return the runs of some groups of a suite.

    Args:
        runs: the suite's runs.csv.
        groups: names; the first one must have runs.

    Raises:
        InputError: the file is missing or has no run of the first group.
    """
    rows = read_table(runs)
    belongs = rows["groups"].str.split("/")
    if not belongs.map(lambda found: groups[0] in found).any():
        raise InputError(f"{runs}: no run belongs to group {groups[0]!r}")
    chosen = rows[belongs.map(lambda found: not set(groups).isdisjoint(found))]
    plans = [read_json(path) for path in sorted(runs.parent.glob("plan-*.json"))]
    return FigureData(
        chosen,
        runs.parent / "runs",
        _missing(plans, groups, set(rows["run"])),
        all(plan.get("ranks", True) for plan in plans),
    )


def read_table(runs: Path) -> pd.DataFrame:
    """Return a suite's runs.csv, lists as text.

    Raises:
        InputError: the file is missing or no table of runs.
    """
    kinds = {"grouping_ratio": str, "exit_stages": str, "groups": str, "member_accuracy": str}
    return reading.read(runs, RUNS, dtype=kinds)


def _missing(plans: Sequence[dict[str, Any]], groups: Sequence[str], there: set[str]) -> int:
    return sum(
        not set(groups).isdisjoint(planned["groups"]) and planned["name"] not in there
        for plan in plans
        for planned in plan["runs"]
    )


def spread(values: Sequence[float] | pd.Series) -> float:
    """Return half the 95 % interval over seeds; under 3 the standard deviation, under 2 NaN."""
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


def pruned_unit(settings: str) -> str:
    """Return what is pruned as a whole, by a row's settings; "" where it is each weight."""
    return "channels" if json.loads(settings).get("prune_channels") else ""


def whole_layers(settings: str) -> str:
    """Return which layers are whole in every path, by a row's settings."""
    return ", ".join(json.loads(settings).get("whole", ()))
