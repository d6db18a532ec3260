"""What a source turned out to hold: images to be read one by one, with their labels."""

import dataclasses
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from nfe.common.errors import InputError
from nfe.data.base import Array
from nfe.data.image_files import Tell

TRAIN, HELDOUT, TEST = SPLITS = ("train", "heldout", "test")
# What else a held-out split is called.
ALSO = {"train": TRAIN, "test": TEST} | dict.fromkeys(
    ("heldout", "val", "valid", "validation"), HELDOUT
)
# The split of an image whose source does not say one.
UNDIVIDED = ""

_MANY = 5


@dataclass(frozen=True)
class Item:
    """One image of a source.

    Attributes:
        name: what an error calls it.
        split: one of ``SPLITS``, or ``UNDIVIDED``.
        label: the name of its class.
        read: returns it in mode ``RGB``, upright; tells of what was done to it; raises InputError.
    """

    name: str
    split: str
    label: str
    read: Callable[[Tell], Image.Image]


@dataclass(frozen=True)
class Found:
    """The images of a source, in the order in which they are to stand.

    Attributes:
        where: the source, for errors.
        kind: what it is, for the card.
        class_names: in the order of the labels.
        items: every image.
    """

    where: str
    kind: str
    class_names: tuple[str, ...]
    items: tuple[Item, ...]

    def labels(self) -> Array:
        """Return the number of each image's class, (n,) int64."""
        number = {name: n for n, name in enumerate(self.class_names)}
        return np.array([number[item.label] for item in self.items], dtype=np.int64)

    def splits(self) -> Array:
        """Return the split of each image, (n,) text."""
        return np.array([item.split for item in self.items])

    def without(self, gone: Sequence[int]) -> "Found":
        """Return what is left without some images."""
        left = set(range(len(self.items))) - set(gone)
        return dataclasses.replace(self, items=tuple(self.items[i] for i in sorted(left)))


def some(names: Sequence[str]) -> str:
    """Return the first few names in words."""
    more = f" and {len(names) - _MANY:,} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more


def text(name: object) -> str:
    """Return a name with each letter in one form: file systems store ``é`` in two."""
    return unicodedata.normalize("NFC", str(name))


def split_called(name: str, where: str) -> str:
    """Return the split that a source calls ``name``.

    Raises:
        InputError: no split is called so.
    """
    if name.lower() not in ALSO:
        raise InputError(f"{where}: split {name!r}: allowed: {', '.join(ALSO)}")
    return ALSO[name.lower()]


def numbered(labels: Sequence[str], where: str) -> tuple[str, ...]:
    """Return class names in the order of their labels: numbers by size, other names by letters.

    Raises:
        InputError: they are numbers, and not 0, 1, 2, … without a gap.
    """
    different = set(labels)
    if not all(label.isascii() and label.isdigit() for label in different):
        return tuple(sorted(different))
    numbers = sorted(map(int, different))
    missing = sorted(set(range(numbers[-1] + 1)) - set(numbers))
    if missing or len(numbers) != len(different):
        gap = f"{missing[0]} is missing" if missing else "one is written in two ways"
        raise InputError(
            f"{where}: labels are numbers from {numbers[0]} to {numbers[-1]} and {gap}: allowed: "
            "0, 1, 2, … without a gap, or names"
        )
    return tuple(map(str, numbers))
