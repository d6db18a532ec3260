"""Test images under eight corruptions at five severities, made by torchvision.

Kinds and, where torchvision's operation has the same parameter, strengths are those of
Tiny-ImageNet-C (Hendrycks & Dietterich, ICLR 2019); brightness and saturation scale as
torchvision does. It is not that benchmark: figures on the two do not compare. torchvision is
maintained and here already; the packages made of the reference scripts are neither.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from nfe import data as datasets
from nfe.common.errors import InputError, unknown
from nfe.common.seeds import global_stream
from nfe.data import prepared, splits
from nfe.data.base import Array, Card, Data, Split

# Part of the identity of every corrupted set: raised whenever the images change on purpose.
VERSION = 1
SEVERITIES = 5
_CHUNK = 200


def _gaussian_noise(images: Tensor, sigma: float) -> Tensor:
    # In float: on uint8 torchvision cuts the noise to whole numbers, which makes it weaker.
    noisy: Tensor = F.gaussian_noise(images / 255, 0.0, sigma)
    return (noisy * 255).round().byte()


def _shot_noise(images: Tensor, photons: float) -> Tensor:
    counts = torch.poisson(images.float() * (photons / 255))
    return (counts * (255 / photons)).clamp(0, 255).round().byte()


def _gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    kernel = 2 * math.ceil(3 * sigma) + 1
    blurred: Tensor = F.gaussian_blur(images, [kernel, kernel], [sigma, sigma])
    return blurred


def _pixelate(images: Tensor, share: float) -> Tensor:
    side = images.shape[-1]
    coarse = F.resize(images, [int(side * share)] * 2, antialias=True)
    blocks: Tensor = F.resize(coarse, [side, side], InterpolationMode.NEAREST_EXACT)
    return blocks


# Operation on images (n, channels, height, width) uint8, and its strength at severity 1 … 5.
CORRUPTIONS: dict[str, tuple[Callable[[Tensor, float], Tensor], tuple[float, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.08, 0.12, 0.15, 0.18)),
    "shot_noise": (_shot_noise, (250, 100, 50, 30, 15)),
    "gaussian_blur": (_gaussian_blur, (0.5, 0.75, 1, 1.25, 1.5)),
    "brightness": (F.adjust_brightness, (1.3, 1.6, 2, 2.5, 3)),
    "contrast": (F.adjust_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "saturation": (F.adjust_saturation, (0.3, 0.1, 2, 5, 20)),
    "pixelate": (_pixelate, (0.9, 0.8, 0.7, 0.6, 0.5)),
    "jpeg": (lambda x, quality: F.jpeg(x, int(quality)), (65, 58, 50, 40, 25)),
}


def kinds(card: Card) -> list[str]:
    """Return the corruptions that change images of that many channels."""
    return [kind for kind in CORRUPTIONS if card.channels == 3 or kind != "saturation"]


def corrupt(images: Tensor, kind: str, severity: int) -> Tensor:
    """Return corrupted copies of images (n, channels, height, width) uint8.

    Noise is drawn from PyTorch's global stream.
    """
    operation, strengths = CORRUPTIONS[kind]
    # A float: with a whole number torchvision multiplies in uint8, which wraps around.
    return operation(images, float(strengths[severity - 1]))


def folder(card: Card, root: Path | None) -> Path:
    """Return the folder of the corrupted test images of a variant."""
    return prepared.folder(card, root, prepared.CORRUPTED)


def identity(card: Card) -> dict[str, Any]:
    """Return what the manifest of the corrupted images of a whole variant says."""
    return {**prepared.identity(card), "corruptions": VERSION}


def write(writer: prepared.Writer, data: Data) -> None:
    """Write one array (severities, n, channels, height, width) for each corruption."""
    images = data.test.images
    for kind in kinds(data.card):
        writer.array(kind, (SEVERITIES, *images.shape), "|u1", _chunks(images, kind))
    writer.array("labels", tuple(data.test.labels.shape), "<i8", [data.test.labels.numpy()])


def _chunks(images: Tensor, kind: str) -> Iterator[Array]:
    for severity in range(1, SEVERITIES + 1):
        yield from (chunk.numpy() for chunk in _at(images, kind, severity))


def _at(images: Tensor, kind: str, severity: int) -> Iterator[Tensor]:
    for first in range(0, len(images), _CHUNK):
        with global_stream(0, "corruption", kind, severity, first):
            yield corrupt(images[first : first + _CHUNK], kind, severity)


def load(card: Card, kind: str, severity: int, root: Path | None = None) -> Split:
    """Return the official test images of a data set or subset under one corruption.

    Those of a set that a package ships need no preparing: they are few and small.

    Raises:
        InputError: they are not prepared, or there is no such corruption or severity.
    """
    if kind not in kinds(card):
        raise unknown(f"corruption of {card.name}", kind, kinds(card))
    if not 1 <= severity <= SEVERITIES:
        raise InputError(f"severity is {severity}: allowed: 1 to {SEVERITIES}")
    target = folder(card, root)
    if not target.exists():
        if datasets.dataset(card.name).open is None:
            test = datasets.load(datasets.whole(card), root).test
            made = Split(torch.cat(list(_at(test.images, kind, severity))), test.labels)
            return splits.of_classes(made, datasets.labels(card))
        raise InputError(
            f"{target}: not prepared: nfe-bench data prepare {card.name}{prepared.CORRUPTED} "
            f"--root {root or prepared.DEFAULT_ROOT}"
        )
    files = prepared.manifest(target, identity(card))["files"]
    images = torch.from_numpy(prepared.array(target, kind, files))[severity - 1]
    labels = torch.from_numpy(prepared.array(target, "labels", files))
    return splits.of_classes(Split(images, labels), datasets.labels(card))
