"""What a data set is to the engine: a card of facts and three splits of uint8 images."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Card:
    """Facts about one variant of a data set; everything here is known without the data.

    Attributes:
        name: the name used in configurations.
        resolution: side of the square images, in pixels.
        channels: 1 or 3.
        classes: number of classes.
        mean: per-channel mean of the training split, on a scale of 0 to 1.
        std: per-channel standard deviation of the training split, on the same scale.
        padding: pixels of black added to each side before the random crop.
        flip: whether horizontal flips are a valid augmentation.
        batch_size: distinct images per batch unless a configuration says otherwise.
        content_hash: SHA-256 that the data must have.
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


@dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width) uint8 and labels (n,) int64, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """Return the split on ``device``."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Data:
    """The three splits: everything that is chosen is chosen on ``heldout``, never on ``test``."""

    card: Card
    train: Split
    heldout: Split
    test: Split

    def to(self, device: torch.device) -> "Data":
        """Return the data on ``device``."""
        splits = (split.to(device) for split in (self.train, self.heldout, self.test))
        return Data(self.card, *splits)


@dataclass(frozen=True)
class Dataset:
    """A data set by name: its cards by resolution (the default one first), and its loader."""

    name: str
    cards: tuple[Card, ...]
    load: Callable[[Card, Path | None], Data]


def content_hash(*splits: Split) -> str:
    """Return the SHA-256 over the images and labels of the splits, in order."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(np.ascontiguousarray(split.images.numpy()).tobytes())
        digest.update(split.labels.numpy().astype("<i8").tobytes())
    return digest.hexdigest()
