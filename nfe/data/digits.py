"""Handwritten digits: 1,797 real 8×8 grey images that scikit-learn ships (no download).

Source: UCI "Optical Recognition of Handwritten Digits", test part (Alpaydin & Kaynak 1998),
CC BY 4.0. Fixed stratified split: 500 for training, 97 held out, 1,200 for test; with more
training images the task saturates.
"""

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


def load(card: Card, root: Path | None) -> Data:
    """Return the splits; ``root`` is not needed, the images come with scikit-learn.

    Raises:
        InputError: the installed scikit-learn yields other images or another split.
    """
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    indices = np.arange(len(labels))
    rest, test = train_test_split(indices, test_size=1200, random_state=0, stratify=labels)
    train, heldout = train_test_split(rest, test_size=97, random_state=0, stratify=labels[rest])
    splits = [
        Split(torch.from_numpy(images[part]), torch.from_numpy(labels[part].astype(np.int64)))
        for part in map(np.sort, (train, heldout, test))
    ]
    if (found := content_hash(*splits)) != card.content_hash:
        raise InputError(f"digits: content hash {found} is not the expected {card.content_hash}")
    return Data(card, *splits)


DIGITS = Dataset("digits", (CARD,), images_per_class=61, test_images=1200, load=load)
