"""Data that cannot be trained on is refused before the first step, not behind the last one."""

from nfe.common.errors import InputError
from nfe.data.base import Card, Data, Split

SPLITS = {"train": "training", "heldout": "held-out", "test": "test"}


def check(data: Data) -> None:
    """Check that every split has images, of the card's shape and with labels of its classes.

    Raises:
        InputError: one has not; the message names data set, split and value.
    """
    for name, words in SPLITS.items():
        _check_split(data.card, getattr(data, name), words)


def _check_split(card: Card, split: Split, words: str) -> None:
    if len(split) == 0:
        raise InputError(
            f"data set {card.name!r} has no {words} images: allowed: at least one of each split"
        )
    shape, wanted = tuple(split.images.shape), (card.channels, card.resolution, card.resolution)
    if shape != (len(split), *wanted):
        raise InputError(
            f"data set {card.name!r}: the {words} images are {shape}: allowed: "
            f"{(len(split), *wanted)}, one for each label"
        )
    if split.labels.is_floating_point():
        raise InputError(
            f"data set {card.name!r}: the {words} labels are {split.labels.dtype}: allowed: "
            "whole numbers"
        )
    for label in (int(split.labels.min()), int(split.labels.max())):
        if not 0 <= label < card.classes:
            raise InputError(
                f"data set {card.name!r}: label {label} of a {words} image: allowed: 0 to "
                f"{card.classes - 1}, the classes of the data set"
            )
