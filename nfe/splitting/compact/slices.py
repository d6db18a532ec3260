"""A part of a layer as a small dense layer of its own."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from nfe.backbones.layers import form
from nfe.splitting.compact.channel_blocks import Block

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


# Some channels of a layer: adjacent ones, or (count,) numbers of any.
Channels = Block | Tensor


def _taken(values: Tensor, channels: Channels, axis: int) -> Tensor:
    if isinstance(channels, Block):
        return values.narrow(axis, channels.start, channels.length)
    return values.index_select(axis, channels)


def _count(channels: Channels) -> int:
    return channels.length if isinstance(channels, Block) else len(channels)


def rows(layer: Layer, channels: Channels) -> Layer:
    """Return some outputs of a convolution or linear layer, or of a batch norm.

    The inputs stay; a grouped convolution, of which whole groups are taken, keeps those groups
    and their inputs.
    """
    small, count = own(layer), _count(channels)
    for name in ("weight", "bias", "running_mean", "running_var"):
        whole = getattr(layer, name, None)
        if whole is not None:
            _replace(small, name, _taken(whole, channels, 0))
    if isinstance(small, nn.Conv2d):
        if small.groups > 1:
            small.groups = count * small.groups // small.out_channels
            small.in_channels = small.groups * small.weight.shape[1]
        small.out_channels = count
    elif isinstance(small, nn.Linear):
        small.out_features = count
    elif isinstance(small, nn.BatchNorm2d):
        small.num_features = count
    return small


def columns(layer: Layer, channels: Channels) -> Layer:
    """Return some inputs of an ungrouped convolution or linear layer; all outputs."""
    small, count = own(layer), _count(channels)
    _replace(small, "weight", _taken(cast(Tensor, layer.weight), channels, 1))
    if isinstance(small, nn.Conv2d):
        small.in_channels = count
    elif isinstance(small, nn.Linear):
        small.in_features = count
    return small


class MaskedConv2d(nn.Conv2d):
    """A convolution some of whose weights are pruned: zero, and without a gradient.

    Attributes:
        mask: bool, True where a weight survives.
    """

    mask: Tensor

    def __init__(self, conv: nn.Conv2d, mask: Tensor) -> None:
        # On no device: nothing is allocated, nothing drawn.
        super().__init__(**_whole_form(conv), device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.register_buffer("mask", mask)
        with torch.no_grad():
            self.weight.masked_fill_(~mask, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the surviving weights."""
        out: Tensor = self._conv_forward(x, self.weight * self.mask, self.bias)
        return out

    def plain(self) -> nn.Conv2d:
        """Return an ordinary convolution with the same parameters, pruned ones as zeros."""
        conv = nn.Conv2d(**_whole_form(self), device="meta")
        conv.weight, conv.bias = self.weight, self.bias
        return conv.train(self.training)


def _whole_form(conv: nn.Conv2d) -> dict[str, Any]:
    names = ("in_channels", "out_channels", "groups")
    return {**form(conv), **{name: getattr(conv, name) for name in names}}


def live(conv: nn.Conv2d) -> Tensor:
    """Return the weights that a convolution computes with."""
    return conv.weight * conv.mask if isinstance(conv, MaskedConv2d) else conv.weight


def replace_convolutions(network: nn.Module, change: Callable[[str, nn.Conv2d], nn.Conv2d]) -> None:
    """Put what ``change`` makes of each convolution (by name) in its place."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Conv2d):
            network.set_submodule(name, change(name, layer))


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
    out: Tensor = conv._conv_forward(x, live(conv)[block.start : block.stop], bias)
    return out
