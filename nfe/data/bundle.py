"""The images that some runs use, and no others, in one file: for machines without the data set.

A borrowed GPU may lack the prepared folder of a whole data set and the room or the time for it; a
suite on twenty of two hundred classes needs a tenth of it.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nfe.common.errors import InputError
from nfe.common.files import read_npz, write_bytes

if TYPE_CHECKING:
    from nfe.data.base import Card, Data

SPLITS = ("train", "heldout", "test")
CARDS = "cards"


def _described(card: Card) -> str:
    return json.dumps(dataclasses.asdict(card), sort_keys=True)


def write(path: Path, data: Iterable[Data]) -> None:
    """Write the splits of some data sets (or subsets) as one compressed npz.

    The same data always give the same bytes.
    """
    arrays: dict[str, Any] = {}
    cards = []
    for number, one in enumerate(data):
        cards.append(_described(one.card))
        for name in SPLITS:
            split = getattr(one, name)
            arrays[f"{number}_{name}_images"] = split.images.numpy()
            arrays[f"{number}_{name}_labels"] = split.labels.numpy()
    content = io.BytesIO()
    np.savez_compressed(content, **arrays, **{CARDS: np.array(cards)})  # type: ignore[arg-type]
    write_bytes(path, content.getvalue())


def load(path: Path, card: Card) -> Data:
    """Return the splits of one data set that a bundle holds, on the CPU.

    Raises:
        InputError: the file is missing or damaged, or holds other data sets.
    """
    import torch

    from nfe.data.base import Data, Split

    arrays = read_npz(path)
    cards = [str(text) for text in arrays.get(CARDS, ())]
    if _described(card) not in cards:
        held = "; ".join(
            f"{c['name']} at {c['resolution']} pixels, {c['classes']} classes"
            for c in map(json.loads, cards)
        )
        raise InputError(
            f"{path}: does not hold {card.name} at {card.resolution} pixels, {card.classes} "
            f"classes as the run wants it: it holds: {held or 'nothing'}"
        )
    number = cards.index(_described(card))
    splits = {
        name: Split(
            *(torch.from_numpy(arrays[f"{number}_{name}_{part}"]) for part in ("images", "labels"))
        )
        for name in SPLITS
    }
    return Data(card, **splits)
