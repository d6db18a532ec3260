"""The outcome of a tuning suite: each method's recipe, chosen on held-out images.

Every method is offered the same grid; for each one the recipe with the lowest held-out NLL,
averaged over seeds, is chosen. The test columns are not looked at.
"""

from pathlib import Path

import pandas as pd
import yaml

from nfe.engine.errors import InputError
from nfe.engine.files import write_bytes
from nfe.report.reading import read

_CHOSEN = ["lr", "weight_decay"]
CRITERION = "heldout_nll"


def _read(runs: Path) -> pd.DataFrame:
    about = ("dataset", "resolution", "architecture", "epochs")
    rows = read(runs, (*about, "method", "status", *_CHOSEN, CRITERION))
    good = rows[rows["status"] == "ok"]
    if good.empty:
        raise InputError(f"{runs}: no run finished")
    return good


def _grid(good: pd.DataFrame) -> pd.DataFrame:
    return (
        good.groupby(["method", *_CHOSEN], sort=True)[CRITERION].agg(["mean", "size"]).reset_index()
    )


def choose(finished: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the chosen recipe of each method.

    A point of the grid counts only where every seed finished, so that one lucky run of a
    diverging recipe is never chosen.

    Args:
        finished: the finished rows of the tuning suite's runs.csv.
    """
    chosen = {}
    for method, points in _grid(finished).groupby("method", sort=True):
        whole = points[points["size"] == points["size"].max()]
        best = whole.loc[whole["mean"].idxmin()]
        chosen[str(method)] = {name: float(best[name]) for name in _CHOSEN}
    return chosen


def write(runs: Path, output: Path) -> None:
    """Write the chosen recipes as the YAML file that a suite's ``tuned`` names.

    Raises:
        InputError: runs.csv is missing or holds no finished run.
    """
    finished = _read(runs)
    first = finished.iloc[0]
    about = (
        f"# Chosen by held-out NLL (mean over seeds) from {runs.as_posix()}:\n"
        f"# {first['dataset']} at {first['resolution']} pixels, {first['architecture']}, "
        f"{first['epochs']} epochs. Made by: nfe-bench tune\n"
    )
    write_bytes(output, (about + yaml.safe_dump(choose(finished))).encode())
