"""Batches made on the device: order, random crop, flip and normalization without workers."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from nfe.common.seeds import generator
from nfe.data import Card, Split


class Normalizer:
    """Turns uint8 images into standardized float32 images in channels-last layout."""

    def __init__(self, card: Card, device: torch.device) -> None:
        mean = torch.tensor(card.mean, device=device)
        std = torch.tensor(card.std, device=device)
        self._scale = (1 / (255 * std)).view(1, -1, 1, 1)
        self._shift = (-mean / std).view(1, -1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Map uint8 (batch, channels, h, w) in 0..255 to (x / 255 − mean) / std."""
        return torch.addcmul(self._shift, images.float(), self._scale).contiguous(
            memory_format=torch.channels_last
        )


class TrainingBatches:
    """The training split, one shuffled and augmented pass per epoch.

    Random crop after ``card.padding`` black pixels a side, horizontal flip where the card
    allows it. Order and augmentation are functions of (seed, epoch, step) alone. The last
    partial batch of an epoch is left out, so that every step sees the same shape; over the
    epochs every image is used.
    """

    def __init__(self, card: Card, split: Split, batch_size: int, seed: int) -> None:
        self._card = card
        self._labels = split.labels
        self._batch_size = batch_size
        self._seed = seed
        self._padded = F.pad(split.images, [card.padding] * 4)
        self._normalize = Normalizer(card, split.images.device)
        self.per_epoch = len(split) // batch_size

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield (batch number, images, labels) of one epoch, starting at batch ``first``."""
        device = self._labels.device
        order = torch.randperm(
            len(self._labels), generator=generator("cpu", self._seed, "order", epoch)
        ).to(device)
        for number in range(first, self.per_epoch):
            index = order[number * self._batch_size : (number + 1) * self._batch_size]
            draws = generator(device, self._seed, "augmentation", epoch, number)
            yield number, self._normalize(self._augment(index, draws)), self._labels[index]

    def _augment(self, index: Tensor, draws: torch.Generator) -> Tensor:
        card, device, n = self._card, index.device, len(index)
        size = card.resolution
        offset = torch.randint(
            2 * card.padding + 1, (2, n, 1), generator=draws, device=device
        ) + torch.arange(size, device=device)
        rows, columns = offset[0], offset[1]
        if card.flip:
            flipped = torch.rand(n, 1, generator=draws, device=device) < 0.5
            columns = torch.where(flipped, columns.flip(1), columns)
        channel = torch.arange(card.channels, device=device)
        return self._padded[
            index[:, None, None, None],
            channel[None, :, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        ]


def example(
    card: Card, split: Split, per_class: int, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return ``per_class`` normalized training images of each class, without augmentation.

    A class with fewer images gives all it has. In shuffled order, so that any part of them holds
    many classes. ``draws`` is a CPU generator.
    """
    labels = split.labels.cpu()
    shuffled = torch.randperm(len(labels), generator=draws)
    chosen = torch.cat([shuffled[labels[shuffled] == c][:per_class] for c in range(card.classes)])
    mixed = chosen[torch.randperm(len(chosen), generator=draws)]
    index = mixed.to(split.labels.device)
    return Normalizer(card, split.images.device)(split.images[index]), split.labels[index]
