"""A part of a layer as a small dense layer of its own."""

import copy
from typing import TypeVar, cast

from torch import Tensor, nn

from nfe.channel_blocks import Block

Layer = TypeVar("Layer", bound=nn.Module)


def own(part: Layer) -> Layer:
    """Return a copy for one path; activations work out of place, for paths share inputs."""
    mine = copy.deepcopy(part)
    for layer in mine.modules():
        if getattr(layer, "inplace", False) is True:
            layer.inplace = False  # type: ignore[assignment]
    return mine


def _replace(layer: nn.Module, name: str, value: Tensor) -> None:
    """Give ``layer`` a parameter or buffer of another size, a copy of ``value``."""
    old = getattr(layer, name)
    new = value.detach().clone()
    if isinstance(old, nn.Parameter):
        layer.register_parameter(name, nn.Parameter(new, old.requires_grad))
    else:
        layer.register_buffer(name, new)


def rows(layer: Layer, block: Block) -> Layer:
    """Return the outputs ``block`` of a convolution or linear layer, or of a batch norm.

    The inputs stay; a grouped convolution, whose block is whole groups, keeps those groups
    and their inputs.
    """
    small = own(layer)
    for name in ("weight", "bias", "running_mean", "running_var"):
        whole = getattr(layer, name, None)
        if whole is not None:
            _replace(small, name, whole[block.start : block.stop])
    if isinstance(small, nn.Conv2d):
        if small.groups > 1:
            small.groups = block.length * small.groups // small.out_channels
            small.in_channels = small.groups * small.weight.shape[1]
        small.out_channels = block.length
    elif isinstance(small, nn.Linear):
        small.out_features = block.length
    elif isinstance(small, nn.BatchNorm2d):
        small.num_features = block.length
    return small


def columns(layer: Layer, block: Block) -> Layer:
    """Return the inputs ``block`` of an ungrouped convolution or linear layer; all outputs."""
    small = own(layer)
    _replace(small, "weight", cast(Tensor, layer.weight)[:, block.start : block.stop])
    if isinstance(small, nn.Conv2d):
        small.in_channels = block.length
    elif isinstance(small, nn.Linear):
        small.in_features = block.length
    return small


def norm_part(norm: nn.BatchNorm2d, x: Tensor, block: Block) -> Tensor:
    """Apply a batch norm to the channels ``block`` alone of those it normalizes."""

    def part(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[block.start : block.stop]

    use_batch = norm.training or norm.running_mean is None
    return nn.functional.batch_norm(
        x,
        part(norm.running_mean),
        part(norm.running_var),
        part(norm.weight),
        part(norm.bias),
        use_batch,
        norm.momentum if norm.momentum is not None else 0.0,
        norm.eps,
    )


def conv_part(conv: nn.Conv2d, x: Tensor, block: Block) -> Tensor:
    """Compute the output channels ``block`` alone of an ungrouped convolution."""
    bias = None if conv.bias is None else conv.bias[block.start : block.stop]
    out: Tensor = conv._conv_forward(x, conv.weight[block.start : block.stop], bias)
    return out
