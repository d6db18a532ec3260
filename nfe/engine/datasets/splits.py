"""Which image is held out, and which images a subset has: fixed once for every data set."""

from __future__ import annotations

import numpy as np

from nfe.engine.datasets.base import Array, Card, Data, Split

# One training image in this many is held out, per class, rounded down: 5 %.
ONE_IN = 20


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


def subset(data: Data, card: Card) -> Data:
    """Return the part of a whole data set that ``card`` describes.

    The first ``card.classes`` classes; of the training images the first
    ``card.images_per_class`` of each class in the order of the data set, so divided that
    5 % (rounded down) of them are held out. So a smaller subset lies within a larger one, and
    no image is held out in one and trained on in another. The test split keeps every image of
    the classes, so that subsets are judged alike.
    """
    if card == data.card:
        return data
    each = card.images_per_class
    held = None if each is None else each // ONE_IN
    kept = None if each is None or held is None else each - held
    return Data(
        card,
        train=_first(data.train, card.classes, kept),
        heldout=_first(data.heldout, card.classes, held),
        test=_first(data.test, card.classes, None),
    )


def _first(split: Split, classes: int, each: int | None) -> Split:
    import torch

    chosen = split.labels < classes
    for label in range(classes) if each is not None else ():
        chosen[torch.nonzero(split.labels == label).flatten()[each:]] = False
    return split.where(chosen)
