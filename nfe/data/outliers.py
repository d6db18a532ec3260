"""Images of no class that a network was trained on, for out-of-distribution detection."""

from contextlib import suppress
from pathlib import Path

import numpy as np

from nfe import data as datasets
from nfe.common.errors import InputError, unknown
from nfe.data.base import Card, Split

UNSEEN = "unseen"
PHOTOGRAPHS = "photographs"
# Width and height of scikit-learn's two photographs, in pixels.
_PHOTOGRAPH = (640, 427)


def names() -> list[str]:
    """Return what ``load`` takes: ``unseen``, ``photographs`` or another data set's name."""
    return [UNSEEN, PHOTOGRAPHS, *datasets.names()]


def check(card: Card, name: str) -> None:
    """Check that a set can be out of distribution for a data set; this needs no data.

    Raises:
        InputError: there is no such set, or it cannot.
    """
    if name not in names():
        raise unknown("out-of-distribution set", name, names())
    if name == UNSEEN:
        _whole(card)
    elif name != PHOTOGRAPHS:
        _times(card, datasets.card(name))


def fits(card: Card, name: str) -> bool:
    """Return whether a known set can be out of distribution for a data set.

    Raises:
        InputError: there is no such set.
    """
    if name not in names():
        check(card, name)
    with suppress(InputError):
        check(card, name)
        return True
    return False


def load(card: Card, name: str, root: Path | None = None) -> Split:
    """Return the images called ``name``, in the size and with the channels of ``card``'s.

    Raises:
        InputError: see ``check``; or the set is not prepared.
    """
    check(card, name)
    if name == UNSEEN:
        return unseen_classes(card, root)
    if name == PHOTOGRAPHS:
        return photographs(card)
    return other_dataset(card, name, root)


def count(card: Card, name: str) -> int:
    """Return how many images ``load`` gives, known without the data; 0 where it is not known.

    Raises:
        InputError: see ``check``.
    """
    check(card, name)
    if name == PHOTOGRAPHS:
        width, height = _PHOTOGRAPH
        return 2 * (width // card.resolution) * (height // card.resolution)
    if name == UNSEEN:
        whole = datasets.whole(card)
        share = 1 - card.classes / whole.classes
        return round(share * datasets.dataset(card.name).test_images)
    return datasets.dataset(name).test_images


def photographs(card: Card) -> Split:
    """Return squares cut from the two photographs that scikit-learn ships (no download).

    Side by side at the photographs' own resolution, grey where the card has one channel. JPEG
    decoders differ by a grey level here and there. Labels are the photograph's number.
    """
    import torch
    from PIL import Image
    from sklearn.datasets import load_sample_images

    side, squares, labels = card.resolution, [], []
    for number, photograph in enumerate(load_sample_images().images):
        mode = "L" if card.channels == 1 else "RGB"
        pixels = np.atleast_3d(np.asarray(Image.fromarray(photograph).convert(mode)))
        rows, columns = (length // side for length in pixels.shape[:2])
        grid = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side, -1)
        squares.append(grid.transpose(0, 2, 4, 1, 3).reshape(rows * columns, -1, side, side))
        labels += [number] * (rows * columns)
    return Split(torch.from_numpy(np.concatenate(squares)), torch.tensor(labels))


def unseen_classes(card: Card, root: Path | None = None) -> Split:
    """Return the test images of the classes that a subset leaves out; labels are the whole set's.

    Raises:
        InputError: the card has every class, or the data set is not prepared.
    """
    import torch

    test = datasets.load(_whole(card), root).test
    return test.where(~torch.isin(test.labels, torch.from_numpy(datasets.labels(card))))


def _whole(card: Card) -> Card:
    whole = datasets.whole(card)
    if card.classes == whole.classes:
        raise InputError(f"{card.name} with all {whole.classes} classes leaves none unseen")
    return whole


def other_dataset(card: Card, name: str = "svhn", root: Path | None = None) -> Split:
    """Return another data set's test images in the size of ``card``'s, to normalize as its own.

    Every pixel becomes a square block of pixels, so no resampling adds a look of its own.

    Raises:
        InputError: the other set is the same one, has other channels, has a side that does not
            divide the wanted one, or is not prepared.
    """
    other = datasets.card(name)
    times = _times(card, other)
    test = datasets.load(other, root).test
    if times == 1:
        return test
    images = test.images.repeat_interleave(times, 2).repeat_interleave(times, 3)
    return Split(images, test.labels)


def _times(card: Card, other: Card) -> int:
    """Return how many times larger the other set's images must become."""
    if other.name == card.name or other.channels != card.channels:
        raise InputError(f"{other.name} cannot be out of distribution for {card.name}")
    times, rest = divmod(card.resolution, other.resolution)
    if rest or not times:
        raise InputError(
            f"{other.name} has {other.resolution} pixels a side, which does not divide "
            f"{card.resolution}"
        )
    return times
