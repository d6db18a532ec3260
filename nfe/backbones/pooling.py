"""Adaptive average pooling whose gradient is deterministic on GPUs, too."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeterministicAvgPool2d(nn.AdaptiveAvgPool2d):
    """``nn.AdaptiveAvgPool2d``, the same outputs to the bit, with a gradient of its own on a GPU.

    PyTorch's gradient adds there in the order in which threads happen to run; its deterministic
    modes refuse it. On a CPU PyTorch's own is in force.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, channels, h, w) to (batch, channels, *output_size)."""
        if not input.is_cuda:
            return super().forward(input)
        pooled: Tensor = _Pool.apply(input, self.output_size)
        return pooled


class _Pool(torch.autograd.Function):
    """Pooling by PyTorch; its gradient by sums in a fixed order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: Any) -> Tensor:
        """Return the pooled maps."""
        ctx.shape = x.shape
        return F.adaptive_avg_pool2d(x, size)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the maps, summed over each pixel's windows in float32 or more."""
        wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        for axis in (-2, -1):
            # Made where it is used: a step that is being recorded cannot copy from the host.
            shares = _shares(ctx.shape[axis], gradient.shape[axis], wide.device).to(wide.dtype)
            # Not as a matrix product, which TensorFloat-32 would round.
            wide = (wide.movedim(axis, -1)[..., None] * shares).sum(dim=-2).movedim(-1, axis)
        return wide.to(gradient.dtype), None


def _shares(inputs: int, outputs: int, device: torch.device) -> Tensor:
    """Return (outputs, inputs): how much of each input is in each output.

    Output i is the mean of the inputs from ⌊i · inputs / outputs⌋ up to ⌈(i + 1) · inputs /
    outputs⌉, the last one left out.
    """
    number = torch.arange(outputs, device=device)
    first = number * inputs // outputs
    behind = -((number + 1) * inputs // -outputs)
    place = torch.arange(inputs, device=device)
    inside = (place >= first[:, None]) & (place < behind[:, None])
    return inside / inside.sum(dim=1, keepdim=True)
