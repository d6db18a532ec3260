"""What can be said of layers with weights."""

from typing import Any

from torch import nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_weighted(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution or linear layer that owns its weight."""
    known = isinstance(layer, (nn.Linear, *_CONVOLUTIONS))
    return known and layer._parameters.get("weight") is not None


def classifier(head: nn.Module) -> nn.Module | None:
    """Return the layer of a head that makes the logits: its last linear layer.

    Of a head without one, as fully convolutional networks have it, the last convolution.
    """
    found = [layer for layer in head.modules() if is_weighted(layer)]
    linear = [layer for layer in found if isinstance(layer, nn.Linear)]
    return (linear or found or [None])[-1]


def form(conv: nn.Conv2d) -> dict[str, Any]:
    """Return the keywords that a convolution of other channels and groups is made with."""
    names = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    return {**{name: getattr(conv, name) for name in names}, "bias": conv.bias is not None}
