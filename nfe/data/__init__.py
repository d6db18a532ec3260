"""Data sets by name: a card of facts that needs no data, and a loader."""

import dataclasses
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from nfe.common.errors import InputError, unknown
from nfe.data import splits
from nfe.data.base import EXTENDED, OFFICIAL, TEST_IMAGES, Array, Card, Data, Dataset, Split
from nfe.data.digits import DIGITS
from nfe.data.own import card as own
from nfe.data.tiny_imagenet import TINY_IMAGENET
from nfe.data.torchvision_sets import CIFAR10, CIFAR100, FASHION_MNIST, SVHN

__all__ = [
    "OFFICIAL",
    "Card",
    "Data",
    "Split",
    "card",
    "dataset",
    "is_own",
    "labels",
    "load",
    "names",
    "whole",
]

_DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (DIGITS, FASHION_MNIST, CIFAR10, CIFAR100, SVHN, TINY_IMAGENET)
}


# What a package registers: an object of ``Dataset``.
GROUP = "nfe_bench.datasets"


def names() -> list[str]:
    """Return the names of the data sets: built in, of packages, and the project's own."""
    return sorted({*_DATASETS, *_registered(), *own.names()})


@cache
def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def is_own(name: str) -> bool:
    """Return whether a name is neither built in nor a package's: the project's own, or free."""
    return name not in _DATASETS and name not in _registered()


def dataset(name: str) -> Dataset:
    """Return the data set called ``name``.

    Raises:
        InputError: there is none, a package's cannot be imported, or see ``own.card.read``.
    """
    if name in _DATASETS:
        return _DATASETS[name]
    if name in _registered():
        return _imported(name)
    if name in own.names():
        return own.dataset_from_card(own.place(name))
    raise unknown("data set", name, names())


@cache
def _imported(name: str) -> Dataset:
    point = _registered()[name]
    try:
        found = point.load()
    except Exception as error:
        raise InputError(f"data set {name!r}: {point.value} cannot be imported ({error})") from None
    if not isinstance(found, Dataset) or found.name != name:
        raise InputError(f"data set {name!r}: {point.value}: allowed: a Dataset of that name")
    return found


def card(
    name: str,
    resolution: int | None = None,
    num_classes: int | None = None,
    images_per_class: int | None = None,
    class_seed: int | None = None,
    test_images: str = OFFICIAL,
) -> Card:
    """Return the facts about a data set, or about a subset of it.

    Args:
        name: the data set.
        resolution: side in pixels (default: its first variant).
        num_classes: how many classes, the first ones unless drawn (default: all).
        images_per_class: the first training images of each class, held-out ones included
            (default: all; a class with fewer gives what it has).
        class_seed: draw the classes under this seed from all but the first twenty (see
            ``splits.classes``).
        test_images: ``official``, or ``extended`` by the training images that the subset leaves
            out (see ``splits.subset``).

    Raises:
        InputError: no data set has that name, it has no variant at that resolution, the
            subset is empty or larger than the data set, there are not so many classes to draw
            from, or nothing is left out to extend the test split by.
    """
    found = dataset(name)
    for candidate in found.cards:
        if resolution in (None, candidate.resolution):
            break
    else:
        allowed = ", ".join(str(c.resolution) for c in found.cards)
        raise InputError(f"data set {name!r} has no resolution {resolution}: allowed: {allowed}")
    most = found.images_per_class
    if images_per_class is not None and most < splits.ONE_IN:
        raise InputError(
            f"images_per_class is {images_per_class}: not allowed for {name}: its largest class "
            f"has {most} training images, and a subset takes {splits.ONE_IN} or more"
        )
    # One in splits.ONE_IN images of a class is held out: with fewer, none would be.
    _check("num_classes", name, num_classes, 2, candidate.classes)
    _check("images_per_class", name, images_per_class, splits.ONE_IN, most)
    _check_drawn(name, class_seed, num_classes, candidate.classes)
    _check_test(name, test_images, images_per_class, most)
    return dataclasses.replace(
        candidate,
        classes=num_classes or candidate.classes,
        images_per_class=None if images_per_class == found.images_per_class else images_per_class,
        class_seed=class_seed,
        test_images=test_images,
    )


def _check(key: str, name: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise InputError(f"{key} is {value}: allowed for {name}: {least} to {most}")


def _check_drawn(name: str, seed: int | None, classes: int | None, whole: int) -> None:
    if seed is None:
        return
    if not 0 <= seed < 2**32:
        raise InputError(f"class_seed is {seed}: allowed: 0 to {2**32 - 1}")
    most = whole - splits.EXPLORED
    told = f"classes drawn from all but the first {splits.EXPLORED} of {name}'s {whole}"
    if most <= 1:
        raise InputError(f"class_seed is {seed}: not allowed: no {told}")
    if classes is None:
        raise InputError(f"class_seed is {seed}: allowed with num_classes from 2 to {most}: {told}")
    if classes > most:
        raise InputError(f"num_classes is {classes}: allowed: 2 to {most} {told}")


def _check_test(name: str, test_images: str, each: int | None, most: int) -> None:
    if test_images not in TEST_IMAGES:
        raise unknown("test_images", test_images, TEST_IMAGES)
    if test_images == EXTENDED and (each is None or not splits.leaves_out(each, most)):
        given = "" if each is None else f" with images_per_class {each}"
        raise InputError(
            f"test_images is {test_images!r}{given}: allowed for {name} where images_per_class "
            f"leaves out training images (it has {most})"
        )


def labels(card: Card) -> Array:
    """Return the labels that a card's classes have in the whole data set, ascending."""
    return splits.classes(card, whole(card).classes)


def whole(card: Card) -> Card:
    """Return the card of the whole data set that ``card`` describes a part of."""
    classes = next(c.classes for c in dataset(card.name).cards if c.resolution == card.resolution)
    return dataclasses.replace(
        card, classes=classes, images_per_class=None, class_seed=None, test_images=OFFICIAL
    )


def load(card: Card, root: Path | None = None) -> Data:
    """Return the three splits of a data set or of a subset of it.

    Args:
        card: which one.
        root: folder of prepared data (default: ``data``).

    Raises:
        InputError: it is not prepared, or it is not what the card's content hash says.
    """
    return splits.subset(dataset(card.name).load(whole(card), root), card)
