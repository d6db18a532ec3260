"""Handwritten digits: 1,797 real 8×8 grey images that scikit-learn ships (no download).

Source: UCI "Optical Recognition of Handwritten Digits", test part (Alpaydin & Kaynak 1998),
CC BY 4.0. Fixed stratified split: 500 for training, 97 held out, 1,200 for test; with more
training images the task saturates.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nfe.common.errors import InputError
from nfe.data.base import Card, Data, Dataset, Split, content_hash

CARD = Card(
    name="digits",
    resolution=8,
    channels=1,
    classes=10,
    mean=(0.3050,),
    std=(0.3756,),
    padding=1,
    flip=False,
    batch_size=32,
    content_hash="3190b7aa6885f7593e74c2d12dffb56b4c27bb02d205cc50bbea004fab7d649e",
)


# One letter an image, in scikit-learn's order: t for training, h for held out, a point for test.
# Drawn once, stratified, by scikit-learn's train_test_split (tests/data/test_digits.py).
_SPLIT = Path(__file__).with_name("digits_split.txt")
_PARTS = ("t", "h", ".")


def load(card: Card, root: Path | None) -> Data:
    """Return the splits; ``root`` is not needed, the images come with scikit-learn.

    Raises:
        InputError: the installed scikit-learn yields other images.
    """
    import torch

    table = np.loadtxt(_table(), delimiter=",")
    images = np.rint(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(np.int64)
    letters = np.array(list(_SPLIT.read_text(encoding="ascii").replace("\n", "")))
    splits = [
        Split(torch.from_numpy(images[letters == part]), torch.from_numpy(labels[letters == part]))
        for part in _PARTS
    ]
    if (found := content_hash(*splits)) != card.content_hash:
        raise InputError(f"digits: content hash {found} is not the expected {card.content_hash}")
    return Data(card, *splits)


def _table() -> Path:
    """Return scikit-learn's file of 64 grey values and the label a line, without importing it.

    Its import takes as long as training a small network.
    """
    package = find_spec("sklearn")
    (folder,) = (package and package.submodule_search_locations) or [""]
    path = Path(folder, "datasets", "data", "digits.csv.gz")
    if not path.exists():
        raise InputError(f"digits: {path}: no such file; it comes with scikit-learn")
    return path


DIGITS = Dataset("digits", (CARD,), images_per_class=61, test_images=1200, load=load)
