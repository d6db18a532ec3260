"""The digits are scikit-learn's, and so is their split, which is kept as it was drawn."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nfe import data as datasets


def test_images_labels_and_split_are_scikit_learn_s() -> None:
    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    indices = np.arange(len(labels))
    rest, test = train_test_split(indices, test_size=1200, random_state=0, stratify=labels)
    train, heldout = train_test_split(rest, test_size=97, random_state=0, stratify=labels[rest])
    data = datasets.load(datasets.card("digits"))
    for split, part in zip(
        (data.train, data.heldout, data.test), map(np.sort, (train, heldout, test)), strict=True
    ):
        assert torch.equal(split.images, torch.from_numpy(images[part]))
        assert split.labels.tolist() == labels[part].tolist()
