"""NumPy arrays in an ``.npz``: ``train_images``, ``train_labels``, ``test_images``, … or one set.

The layout of MedMNIST's files, among others.
"""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from nfe.common.errors import InputError
from nfe.common.files import read_npz
from nfe.data.base import Array
from nfe.data.image_files import Tell
from nfe.data.own.found import ALSO, UNDIVIDED, Found, Item, numbered, text

NAMES = "class_names"
# White of 16 bits over white of 8.
_STEP = 257


def find(source: Path) -> Found:
    """Return the images of the arrays, in their order.

    Raises:
        InputError: an array is missing or unknown, of other lengths than its labels, or of a
            shape or kind that says no image; or labels have a gap.
    """
    arrays = read_npz(source)
    named = arrays.pop(NAMES, None)
    splits = _splits(source, arrays)
    items: list[Item] = []
    for prefix, split in splits.items():
        where = f"{source}: {prefix}images"
        pixels = _pixels(where, arrays[f"{prefix}images"])
        labels = _labels(f"{source}: {prefix}labels", arrays[f"{prefix}labels"], len(pixels))
        items += [
            Item(f"{where}[{n}]", split, str(label), partial(_image, pixels, n))
            for n, label in enumerate(labels)
        ]
    if not items:
        raise InputError(f"{source}: no images: allowed: one or more of each class")
    numbers = numbered([item.label for item in items], str(source))
    names = _names(source, named, numbers)
    called = dict(zip(numbers, names, strict=True))
    renamed = (Item(i.name, i.split, called[i.label], i.read) for i in items)
    return Found(str(source), "NumPy arrays", names, tuple(renamed))


def _splits(source: Path, arrays: dict[str, Array]) -> dict[str, str]:
    """Return the split of each prefix of the arrays' names."""
    divided = {f"{name}_": split for name, split in ALSO.items()}
    for prefixes in ({"": UNDIVIDED}, divided):
        found = {p: s for p, s in prefixes.items() if {f"{p}images", f"{p}labels"} & set(arrays)}
        wanted = {f"{p}{part}" for p in found for part in ("images", "labels")}
        if found and wanted == set(arrays):
            return found
    raise InputError(
        f"{source}: arrays {', '.join(sorted(arrays)) or 'none'}: allowed: train_images, "
        "train_labels, test_images, test_labels (and val_images, val_labels), or images and "
        f"labels; and {NAMES}"
    )


def _pixels(where: str, images: Array) -> Array:
    """Return images (n, h, w) or (n, h, w, 3) uint8."""
    if images.ndim == 4 and images.shape[-1] not in (1, 3) and images.shape[1] in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
        raise InputError(
            f"{where}: shape {images.shape}: allowed: (n, height, width), with 1 or 3 channels "
            "last, or second"
        )
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if 0 in images.shape[1:3]:
        raise InputError(f"{where}: shape {images.shape}: allowed: one pixel or more a side")
    return np.ascontiguousarray(_eight_bits(where, images))


def _eight_bits(where: str, images: Array) -> Array:
    if images.dtype == np.uint8:
        return images
    if images.dtype == np.uint16:
        scaled: Array = np.rint(images / _STEP).astype(np.uint8)
        return scaled
    if images.dtype.kind == "f" and images.size:
        low, high = images.min(), images.max()
        if low >= 0 and high <= 1:  # false where there is a NaN
            scaled = np.rint(images * 255).astype(np.uint8)
            return scaled
        raise InputError(f"{where}: numbers from {low:g} to {high:g}: allowed: from 0 to 1")
    raise InputError(
        f"{where}: {images.dtype}: allowed: uint8, uint16, or floating-point numbers from 0 to 1"
    )


def _labels(where: str, labels: Array, images: int) -> list[int]:
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.shape != (images,) or flat.dtype.kind not in "iu":
        raise InputError(
            f"{where}: {labels.dtype} of shape {labels.shape}: allowed: whole numbers ({images},), "
            "one for each image"
        )
    if len(flat) and flat.min() < 0:
        raise InputError(f"{where}: label {flat.min()}: allowed: 0, 1, 2, …")
    return [int(label) for label in flat]


def _names(source: Path, named: Array | None, numbers: tuple[str, ...]) -> tuple[str, ...]:
    if named is None:
        return numbers
    names = tuple(text(name) for name in named.ravel())
    if len(names) != len(numbers) or len(set(names)) != len(names):
        raise InputError(
            f"{source}: {NAMES}: {len(names)} names: allowed: {len(numbers)}, all different, one "
            "for each label"
        )
    return names


def _image(pixels: Array, number: int, _tell: Tell) -> Image.Image:
    return Image.fromarray(pixels[number]).convert("RGB")
