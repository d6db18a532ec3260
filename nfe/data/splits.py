"""Which image is held out, and which images a subset has: fixed once for every data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nfe.data.base import EXTENDED, Array, Card, Data, Split

if TYPE_CHECKING:
    from torch import Tensor

# One training image in this many is held out, per class, rounded down: 5 %.
ONE_IN = 20
# The first classes, on which settings are explored and tuned: drawn classes are none of them.
EXPLORED = 20


def held_out(labels: Array) -> tuple[Array, Array]:
    """Divide an official training set.

    Drawn per class from NumPy's legacy generator, whose stream is frozen, under the seed
    (0, label).

    Args:
        labels: the label (n,) of every image.

    Returns:
        The indices of the training and of the held-out images, both ascending.
    """
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        drawn = np.random.RandomState([0, int(label)]).permutation(len(members))
        held[members[drawn[: len(members) // ONE_IN]]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def classes(card: Card, whole: int) -> Array:
    """Return the labels, in a whole data set of ``whole`` classes, of those that a card has.

    Ascending. The first ``card.classes``; with a ``class_seed`` those drawn from all classes but
    the first twenty: the first ``card.classes`` of NumPy's legacy
    ``RandomState(class_seed).permutation`` of them, whose stream is frozen.
    """
    if card.class_seed is None:
        return np.arange(card.classes)
    others = np.arange(EXPLORED, whole)
    drawn = np.random.RandomState(card.class_seed).permutation(others)
    return np.sort(drawn[: card.classes])


def of_classes(split: Split, labels: Array) -> Split:
    """Return the images of some classes in their order, their labels renumbered from 0.

    Args:
        split: images of any classes.
        labels: the labels to keep, ascending; they become 0, 1, … in this order.
    """
    import torch

    wanted = torch.from_numpy(labels).to(split.labels.device)
    part = split.where(torch.isin(split.labels, wanted))
    return Split(part.images, torch.searchsorted(wanted, part.labels))


def leaves_out(images_per_class: int, whole: int) -> bool:
    """Return whether a subset leaves out training images of a class that has ``whole``."""
    return _trained(images_per_class) < _trained(whole)


def _trained(images: int) -> int:
    return images - images // ONE_IN


def subset(data: Data, card: Card) -> Data:
    """Return the part of a whole data set that ``card`` describes.

    Its classes (see ``classes``), renumbered; of the training images the first
    ``card.images_per_class`` of each class in the order of the data set, so divided that
    5 % (rounded down) of them are held out. So a smaller subset lies within a larger one, and
    no image is held out in one and trained on in another. The test split keeps every image of
    the classes, so that subsets are judged alike. An extended one also has, behind them, the
    training images that the subset leaves out, in their order; never an image that the whole
    data set holds out.
    """
    if card == data.card:
        return data
    labels = classes(card, data.card.classes)
    train, heldout, test = (
        of_classes(split, labels) for split in (data.train, data.heldout, data.test)
    )
    if (each := card.images_per_class) is not None:
        kept = _first(train, card.classes, _trained(each))
        if card.test_images == EXTENDED:
            test = _joined(test, train.where(~kept))
        train = train.where(kept)
        heldout = heldout.where(_first(heldout, card.classes, each // ONE_IN))
    return Data(card, train, heldout, test)


def _first(split: Split, classes: int, each: int) -> Tensor:
    """Return a mask (n,) of the first ``each`` images of each class."""
    import torch

    chosen = torch.ones_like(split.labels, dtype=torch.bool)
    for label in range(classes):
        chosen[torch.nonzero(split.labels == label).flatten()[each:]] = False
    return chosen


def _joined(first: Split, second: Split) -> Split:
    import torch

    pairs = ((first.images, second.images), (first.labels, second.labels))
    return Split(*(torch.cat(pair) for pair in pairs))
