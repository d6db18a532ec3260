"""Published numbers beside ours: marked as published, with source and differences."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nfe.common import strict_yaml

FILE = Path(__file__).with_name("literature.yaml")
METRICS = ("accuracy", "nll", "ece")
HEADER = (
    "method",
    "M",
    *(
        f"{name}, {whose}"
        for name in ("accuracy %", "NLL", "ECE")
        for whose in ("published", "ours")
    ),
    "source of the published",
    "its pipeline",
)
TITLE = "Published, beside ours"
NOTE = (
    "The numbers under “published” are their authors', from other pipelines: they show what is "
    "expected, and no difference to ours is a difference between methods."
)

Row = dict[str, str]


@functools.cache
def _studies() -> list[dict[str, Any]]:
    studies: list[dict[str, Any]] = strict_yaml.load(FILE)
    return studies


def cells(section: Sequence[Row], shown: Callable[[Row, str], str]) -> list[list[str]]:
    """Return the published results for a section of the summary; none for most.

    Args:
        section: summary rows of one data set, architecture and schedule.
        shown: a row's metric as a reader wants to see it.
    """
    first = section[0]
    if first["subset"] != "all":
        return []
    return [
        _cells(result, study, section, shown)
        for study in _studies()
        if all(first[k] == str(study[k]) for k in ("dataset", "resolution", "architecture"))
        for result in study["results"]
    ]


def _cells(
    result: Mapping[str, Any],
    study: Mapping[str, Any],
    section: Sequence[Row],
    shown: Callable[[Row, str], str],
) -> list[str]:
    ours = _counterpart(result, section)
    pairs = [
        (str(result.get(metric, "–")), shown(ours, metric) if ours else "–") for metric in METRICS
    ]
    members = str(result.get("members", "–"))
    numbers = [cell for pair in pairs for cell in pair]
    return [result["method"], members, *numbers, study["source"], study["pipeline"]]


def _counterpart(result: Mapping[str, Any], section: Sequence[Row]) -> Row | None:
    """Return our headline row of the same method and number of members, if that is stated."""
    wanted = (result["method"], str(result.get("members")))
    rows = (row for row in section if "headline" in row["groups"].split("/"))
    return next((row for row in rows if (row["method"], row["members"]) == wanted), None)
