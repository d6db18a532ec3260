"""Some channels of a feature map, such that gradients keep its memory format.

The gradient of a plain slice is a zero-filled tensor in the default format: for a map in
channels-last it would have to be converted at every layer below.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def take(x: Tensor, start: int, length: int, stride: int = 1) -> Tensor:
    """Return channels of (batch, channels, h, w), at every ``stride``-th pixel both ways."""
    if not _is_channels_last(x):
        return x.narrow(1, start, length)[:, :, ::stride, ::stride]
    # Cut where channels are the last axis, so that the gradient is made in that order too.
    rows = x.permute(0, 2, 3, 1)[:, ::stride, ::stride, start : start + length]
    return rows.permute(0, 3, 1, 2)


def split(x: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Cut (batch, channels, …) into maps of ``lengths`` channels."""
    if not _is_channels_last(x):
        return list(x.split(list(lengths), dim=1))
    parts = x.permute(0, 2, 3, 1).split(list(lengths), dim=3)
    return [part.permute(0, 3, 1, 2) for part in parts]
