"""Data sets by name: a card of facts that needs no data, and a loader."""

from pathlib import Path

from nfe.engine.datasets.base import Card, Data, Dataset, Split
from nfe.engine.datasets.digits import DIGITS
from nfe.engine.errors import InputError, unknown

__all__ = ["Card", "Data", "Split", "card", "load", "names"]

_DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (DIGITS,)}


def names() -> list[str]:
    """Return the names of the data sets."""
    return sorted(_DATASETS)


def card(name: str, resolution: int | None = None) -> Card:
    """Return the facts about a data set at ``resolution`` pixels (default: its first variant).

    Raises:
        InputError: no data set has that name, or it has no variant at that resolution.
    """
    if name not in _DATASETS:
        raise unknown("data set", name, _DATASETS)
    cards = _DATASETS[name].cards
    for candidate in cards:
        if resolution in (None, candidate.resolution):
            return candidate
    allowed = ", ".join(str(c.resolution) for c in cards)
    raise InputError(f"data set {name!r} has no resolution {resolution}: allowed: {allowed}")


def load(card: Card, root: Path | None = None) -> Data:
    """Return the three splits of a data set, checked against the card's content hash."""
    return _DATASETS[card.name].load(card, root)
