"""What a data set is to the engine: a card of facts and three splits of uint8 images.

Nothing here imports PyTorch, so that preparing images needs neither its time nor its memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Array = np.ndarray[Any, Any]

# What a test split holds: the official test images, or those and the training images left out.
OFFICIAL, EXTENDED = TEST_IMAGES = ("official", "extended")


@dataclass(frozen=True)
class Card:
    """Facts about one variant of a data set; everything here is known without the data.

    Attributes:
        name: the name used in configurations.
        resolution: side of the square images, in pixels.
        channels: 1 or 3.
        classes: number of classes; a subset has the first ones, unless they are drawn.
        mean: per-channel mean of the training split, on a scale of 0 to 1.
        std: per-channel standard deviation of the training split, on the same scale.
        padding: pixels of black added to each side before the random crop.
        flip: whether horizontal flips are a valid augmentation.
        batch_size: distinct images per batch unless a configuration says otherwise.
        content_hash: what the data must have, whole: a subset keeps the hash of its data set.
        images_per_class: training images, held-out ones included, that a subset takes of each
            class; None for all.
        class_seed: the seed under which a subset's classes are drawn (see ``splits.classes``);
            None for the first ones.
        test_images: ``official``, or ``extended`` by the training images that a subset leaves
            out (see ``splits.subset``).
        version: raised whenever the rule that divides the data changes on purpose; part of the
            identity of the runs on them.
    """

    name: str
    resolution: int
    channels: int
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int
    flip: bool
    batch_size: int
    content_hash: str
    images_per_class: int | None = None
    class_seed: int | None = None
    test_images: str = OFFICIAL
    version: int = 1

    def record(self) -> dict[str, Any]:
        """Return the facts as JSON values; what came later is there only where it says something.

        So the files of data sets that nothing has changed stay what they were.
        """
        later = {"class_seed": None, "test_images": OFFICIAL, "version": 1}
        facts = dataclasses.asdict(self)
        return {k: v for k, v in facts.items() if k not in later or v != later[k]}


@dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width) uint8 and labels (n,) int64, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Split:
        """Return the split on ``device``."""
        return Split(self.images.to(device), self.labels.to(device))

    def where(self, chosen: Tensor) -> Split:
        """Return the images for which the mask (n,) holds, in their order."""
        if bool(chosen.all()):
            return self
        return Split(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Data:
    """The three splits: everything that is chosen is chosen on ``heldout``, never on ``test``."""

    card: Card
    train: Split
    heldout: Split
    test: Split

    def to(self, device: torch.device) -> Data:
        """Return the data on ``device``."""
        splits = (split.to(device) for split in (self.train, self.heldout, self.test))
        return Data(self.card, *splits)


class Source(Protocol):
    """A data set's official files, opened: two splits, ``train`` and ``test``, in a fixed order."""

    def labels(self, split: str) -> Array:
        """Return the labels (n,) of an official split."""

    def images(self, split: str, indices: Array) -> Iterator[Array]:
        """Yield the images of an official split in chunks (k, channels, height, width) uint8."""

    def verify(self) -> None:
        """Raise InputError if the images read so far, taken together, are not the official ones."""


@dataclass(frozen=True)
class Archive:
    """A file that the data set's authors publish, with its checksum."""

    url: str
    md5: str

    @property
    def filename(self) -> str:
        """The name under which it is published."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Dataset:
    """A data set by name.

    Attributes:
        name: the name used in configurations.
        cards: the variants by resolution, the default one first.
        images_per_class: the most training images that any class has, held-out ones included.
        test_images: images of the official test split; 0 where it is not known.
        load: returns the three splits of the whole data set.
        archives: the published files; none where a package ships the images.
        open: opens the official files at a path for one variant, with a scratch folder to
            unpack into; None where there is nothing to prepare.
        class_names: what the classes are called, in the order of their labels; empty where
            ``nfe.data.class_names`` knows them.
    """

    name: str
    cards: tuple[Card, ...]
    images_per_class: int
    test_images: int = dataclasses.field(default=0, kw_only=True)
    load: Callable[[Card, Path | None], Data]
    archives: tuple[Archive, ...] = ()
    open: Callable[[Card, Path, Path], AbstractContextManager[Source]] | None = None
    class_names: tuple[str, ...] = ()


def content_hash(*splits: Split) -> str:
    """Return the SHA-256 over the images and labels of the splits, in order."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(np.ascontiguousarray(split.images.numpy()).tobytes())
        digest.update(split.labels.numpy().astype("<i8").tobytes())
    return digest.hexdigest()
