"""Data sets by name: a card of facts that needs no data, and a loader."""

import dataclasses
from pathlib import Path

from nfe.engine.datasets import splits
from nfe.engine.datasets.base import Card, Data, Dataset, Split
from nfe.engine.datasets.digits import DIGITS
from nfe.engine.datasets.published import CIFAR10, CIFAR100, FASHION_MNIST, SVHN
from nfe.engine.datasets.tiny_imagenet import TINY_IMAGENET
from nfe.engine.errors import InputError, unknown

__all__ = ["Card", "Data", "Split", "card", "dataset", "load", "names", "whole"]

_DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (DIGITS, FASHION_MNIST, CIFAR10, CIFAR100, SVHN, TINY_IMAGENET)
}


def names() -> list[str]:
    """Return the names of the data sets."""
    return sorted(_DATASETS)


def dataset(name: str) -> Dataset:
    """Return the data set called ``name``.

    Raises:
        InputError: there is none.
    """
    if name not in _DATASETS:
        raise unknown("data set", name, _DATASETS)
    return _DATASETS[name]


def card(
    name: str,
    resolution: int | None = None,
    num_classes: int | None = None,
    images_per_class: int | None = None,
) -> Card:
    """Return the facts about a data set, or about a subset of it.

    Args:
        name: the data set.
        resolution: side in pixels (default: its first variant).
        num_classes: the first classes (default: all).
        images_per_class: the first training images of each class, held-out ones included
            (default: all; a class with fewer gives what it has).

    Raises:
        InputError: no data set has that name, it has no variant at that resolution, or the
            subset is empty or larger than the data set.
    """
    found = dataset(name)
    for candidate in found.cards:
        if resolution in (None, candidate.resolution):
            break
    else:
        allowed = ", ".join(str(c.resolution) for c in found.cards)
        raise InputError(f"data set {name!r} has no resolution {resolution}: allowed: {allowed}")
    # One in splits.ONE_IN images of a class is held out: with fewer, none would be.
    _check("num_classes", name, num_classes, 2, candidate.classes)
    _check("images_per_class", name, images_per_class, splits.ONE_IN, found.images_per_class)
    return dataclasses.replace(
        candidate,
        classes=num_classes or candidate.classes,
        images_per_class=None if images_per_class == found.images_per_class else images_per_class,
    )


def _check(key: str, name: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise InputError(f"{key} is {value}: allowed for {name}: {least} to {most}")


def whole(card: Card) -> Card:
    """Return the card of the whole data set that ``card`` describes a part of."""
    classes = next(c.classes for c in dataset(card.name).cards if c.resolution == card.resolution)
    return dataclasses.replace(card, classes=classes, images_per_class=None)


def load(card: Card, root: Path | None = None) -> Data:
    """Return the three splits of a data set or of a subset of it.

    Args:
        card: which one.
        root: folder of prepared data (default: ``data``).

    Raises:
        InputError: it is not prepared, or it is not what the card's content hash says.
    """
    return splits.subset(dataset(card.name).load(whole(card), root), card)
