"""How blocks of torchvision are divided: a path has the block with its own part of each layer.

Inverted residuals (MobileNet, EfficientNet): expansion by rows, the path's own channels of the
depthwise convolution and of squeeze and excitation (its columns, then its rows), projection by
columns. ConvNeXt blocks: a whole depthwise convolution for each path, the first linear layer by
rows, the second by columns.
"""

import math
from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

from nfe.splitting.compact.block_rules import Rule
from nfe.splitting.compact.chain_rules import Diagonal
from nfe.splitting.compact.channel_blocks import Block, Division
from nfe.splitting.compact.channels import take
from nfe.splitting.compact.no_rule import NoRule
from nfe.splitting.compact.slices import columns, own, rows

_INVERTED = ("InvertedResidual", "MBConv", "FusedMBConv")


class Take(nn.Module):
    """Some channels of a feature map."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of (batch, channels, h, w)."""
        return take(x, self.block.start, self.block.length)


def library_rule(block: nn.Module, name: str, division: Division) -> Rule | None:
    """Return how a block of torchvision is divided; None where it is no such block.

    Args:
        block: the block.
        name: its name, for errors.
        division: the paths that cross it and their shares.

    Raises:
        NoRule: it has other layers than these blocks usually have.
        InputError: it is too narrow for its paths.
    """
    if not type(block).__module__.startswith("torchvision.models."):
        return None
    kind = type(block).__name__
    if kind in _INVERTED:
        return _inverted(block, name, division)
    return _convnext(block, name, division) if kind == "CNBlock" else None


def _convnext(block: Any, name: str, division: Division) -> Rule:
    first, second = block.block[3], block.block[5]
    if type(first) is not nn.Linear or type(second) is not nn.Linear:
        raise NoRule(f"no linear layers in {name!r}")
    inner = division.blocks(first.out_features, f"{name}.block.3")

    def body(path: int) -> nn.Module:
        mine = own(block)
        mine.block[3] = rows(first, inner[path])
        mine.block[5] = columns(second, inner[path])
        return cast(nn.Module, mine)

    return Rule(inner, None, body)


def _inverted(block: nn.Module, name: str, division: Division) -> Rule:
    layers = _up_to_projection(block, name)
    place, projection = layers[-1]
    if len(layers) == 1:
        return _alone(block, place, projection, name, division)
    grouped = [m for _, m in layers if isinstance(m, nn.Conv2d) and m.groups > 1]
    multiple = math.lcm(*(conv.weight.shape[1] for conv in grouped))
    inner = division.blocks(projection.in_channels, f"{name}.{place}", multiple)

    def body(path: int) -> nn.Module:
        mine = own(block)
        for place, part in _parts(layers, inner[path]):
            mine.set_submodule(place, part)
        return mine

    return Rule(inner, None, body)


def _alone(block: nn.Module, place: str, conv: nn.Conv2d, name: str, division: Division) -> Rule:
    """Diagonal blocks of the only convolution; the norm behind it is whole."""
    outputs = division.blocks(conv.out_channels, f"{name}.{place}")
    inputs = division.blocks(conv.in_channels, f"{name}.{place}")

    def body(path: int) -> nn.Module:
        mine, turn = own(block), division.paths.index(path)
        part = Diagonal(conv, list(outputs.values()), list(inputs.values()), turn)
        mine.set_submodule(place, part)
        return mine

    return Rule(outputs, None, body)


def _up_to_projection(block: nn.Module, name: str) -> list[tuple[str, Any]]:
    """Return the layers with weights of their own channels, the projection last, by place.

    Raises:
        NoRule: one is of a kind, or in a place, that these blocks usually do not have.
    """
    layers = list(_outermost(block))
    convolutions = [n for n, (_, layer) in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    layers = layers[: convolutions[-1] + 1]
    (_, first), *between = layers
    for place, layer in between[:-1]:
        follows = isinstance(layer, nn.Conv2d) and layer.groups > 1
        if not (follows or isinstance(layer, nn.BatchNorm2d) or _is_squeeze(layer)):
            raise NoRule(f"{type(layer).__name__} at {name + '.' + place!r}")
    own_width = [layer for _, layer in layers if getattr(layer, "groups", 1) > 1]
    if any(conv.in_channels != conv.out_channels for conv in own_width):
        raise NoRule(f"a grouped convolution of {name!r} changes the number of channels")
    if not isinstance(first, nn.Conv2d) or getattr(layers[-1][1], "groups", 1) > 1:
        raise NoRule(f"{name!r} neither begins nor ends as inverted residuals do")
    return layers


def _outermost(block: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield what has weights, in order; squeeze and excitation as one."""
    for place, layer in block.named_children():
        if _is_squeeze(layer) or layer._parameters:
            yield place, layer
        else:
            for inner, part in _outermost(layer):
                yield f"{place}.{inner}", part


def _is_squeeze(layer: nn.Module) -> bool:
    return type(layer).__name__ == "SqueezeExcitation"


def _parts(layers: list[tuple[str, Any]], block: Block) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of the path that owns some inner channels, by place."""
    (start, first), *between, (end, projection) = layers
    part = rows(first, block)
    # Without an expansion the path takes its own channels of the block's input.
    yield start, part if first.groups == 1 else nn.Sequential(Take(block), part)
    for place, layer in between:
        if _is_squeeze(layer):
            yield f"{place}.fc1", columns(layer.fc1, block)
            yield f"{place}.fc2", rows(layer.fc2, block)
        else:
            yield place, rows(layer, block)
    yield end, columns(projection, block)
