"""What choosing the best epoch on the test split would have added to a setting's accuracy.

The reference code of several methods reports the best test accuracy of any epoch. Runs marked
``audit`` measure the test split after every epoch, so that the size of that choice can be stated;
nothing is ever chosen by it here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nfe.report import summaries
from nfe.report.curves import history

_MEASURED = ("last", "best", "added", "best_epoch")
COLUMNS = ("setting", "method", "seeds", "epochs", *summaries.columns(_MEASURED))


def rows(settings: Mapping[str, Sequence[Mapping[str, str]]], runs: Path) -> list[dict[str, str]]:
    """Return one row per audited setting, in percent of the test images; none where none is.

    A setting that only combines other runs trains in no epochs, and has no row.

    Args:
        settings: the rows of runs.csv of each setting, by its label.
        runs: folder of the runs' folders.
    """
    found = []
    for label, seeds in settings.items():
        audited = [row for row in seeds if row["audit"] == "true" and row["status"] == "ok"]
        curves = [_curve(runs / row["run"]) for row in audited]
        if trained := [curve for curve in curves if curve]:
            about = {"setting": label, "method": audited[0]["method"], "seeds": str(len(trained))}
            found.append(about | {"epochs": audited[0]["epochs"]} | _statistics(trained))
    return found


def _curve(run: Path) -> list[float]:
    """Return the test accuracy after each epoch, in percent."""
    return [float(epoch["test_accuracy"]) for epoch in history(run)]


def _statistics(curves: Sequence[Sequence[float]]) -> dict[str, str]:
    values = {
        "last": [curve[-1] for curve in curves],
        "best": [max(curve) for curve in curves],
        "added": [max(curve) - curve[-1] for curve in curves],
        "best_epoch": [1.0 + curve.index(max(curve)) for curve in curves],
    }
    found: dict[str, str] = {}
    for name in _MEASURED:
        found |= summaries.cells(name, values[name], like="accuracy")
    return found
