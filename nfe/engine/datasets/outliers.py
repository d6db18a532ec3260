"""Images of no class that a network was trained on, for out-of-distribution detection."""

from pathlib import Path

from nfe.engine import datasets
from nfe.engine.datasets.base import Card, Split
from nfe.engine.errors import InputError


def unseen_classes(card: Card, root: Path | None = None) -> Split:
    """Return the test images of the classes that a subset leaves out; labels are the whole set's.

    Raises:
        InputError: the card has every class, or the data set is not prepared.
    """
    whole = datasets.whole(card)
    if card.classes == whole.classes:
        raise InputError(f"{card.name} with all {whole.classes} classes leaves none unseen")
    test = datasets.load(whole, root).test
    return test.where(test.labels >= card.classes)


def other_dataset(card: Card, name: str = "svhn", root: Path | None = None) -> Split:
    """Return another data set's test images in the size of ``card``'s, to normalize as its own.

    Every pixel becomes a square block of pixels, so no resampling adds a look of its own.

    Raises:
        InputError: the other set is the same one, has other channels, has a side that does not
            divide the wanted one, or is not prepared.
    """
    other = datasets.card(name)
    if other.name == card.name or other.channels != card.channels:
        raise InputError(f"{name} cannot be out of distribution for {card.name}")
    times, rest = divmod(card.resolution, other.resolution)
    if rest or not times:
        raise InputError(
            f"{name} has {other.resolution} pixels a side, which does not divide {card.resolution}"
        )
    test = datasets.load(other, root).test
    if times == 1:
        return test
    images = test.images.repeat_interleave(times, 2).repeat_interleave(times, 3)
    return Split(images, test.labels)
