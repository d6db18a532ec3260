"""Training curves of a suite's settings, averaged over seeds."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from nfe.report.schema import text

# Curves are there to be looked at: on training and held-out images, never on the test split.
_SHOWN = ("train_loss", "train_accuracy", "heldout_accuracy", "heldout_nll")
COLUMNS = ("setting", "epoch", *_SHOWN)


def rows(settings: Mapping[str, Sequence[Mapping[str, str]]], runs: Path) -> list[dict[str, str]]:
    """Return one row per setting and epoch; a setting that trains nothing itself has none.

    Args:
        settings: the rows of runs.csv of each setting, by its name.
        runs: folder of the runs' folders.
    """
    found = []
    for setting, seeds in settings.items():
        finished = [row["run"] for row in seeds if row["status"] == "ok"]
        histories = [history(runs / run) for run in finished]
        for epochs in zip(*histories, strict=True):
            means = {name: fmean(float(epoch[name]) for epoch in epochs) for name in _SHOWN}
            cells = {name: text(name, value) for name, value in means.items()}
            found.append({"setting": setting, "epoch": epochs[0]["epoch"], **cells})
    return found


def history(run: Path) -> list[dict[str, str]]:
    """Return one row per epoch of a run's folder; none where the run trained nothing itself."""
    with open(run / "history.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
