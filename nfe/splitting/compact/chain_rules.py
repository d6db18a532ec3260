"""How plain chains of layers are divided over paths in compact fission: VGG's, heads'.

Rows and columns in turn: a path's map is its own channels behind every other layer. A last
layer without a partner takes diagonal blocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from nfe.splitting.compact.channel_blocks import Block, Division
from nfe.splitting.compact.channels import split
from nfe.splitting.compact.no_rule import NoRule
from nfe.splitting.compact.segments import Chain, Lead
from nfe.splitting.compact.slices import columns, own, rows

ROWS, COLUMNS, DIAGONAL = "rows", "columns", "diagonal"

ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus),
)
# What treats every channel alike and alone, so that a path's own channels can pass it.
BY_CHANNEL = (
    *ACTIVATIONS,
    *(nn.Identity, nn.Dropout, nn.Dropout2d),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
# Norms over several channels, which a full-width map can pass.
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)


class Diagonal(nn.Module):
    """Blocks (i + turn mod p, i) of a convolution's weight, i = 0 … p − 1: one path's share.

    The paths' turns are 0 … p − 1, so their shares tile the weight; each path reads and writes
    all channels.
    """

    def __init__(
        self, conv: nn.Conv2d, outputs: Sequence[Block], inputs: Sequence[Block], turn: int
    ) -> None:
        super().__init__()
        self.inputs = [block.length for block in inputs]
        paths = len(inputs)
        # In the order of the output channels.
        self.order = [(j - turn) % paths for j in range(paths)]
        self.parts = nn.ModuleList(
            columns(rows(conv, outputs[j]), inputs[i]) for j, i in enumerate(self.order)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, h, w) to (batch, outputs, …)."""
        pieces = split(x, self.inputs)
        made = [part(pieces[i]) for part, i in zip(self.parts, self.order, strict=True)]
        return torch.cat(made, dim=1)


def roles(count: int) -> list[str]:
    """Return what each of ``count`` layers in a chain of paths is divided by."""
    paired = [ROWS, COLUMNS] * (count // 2)
    return [*paired, DIAGONAL] if count % 2 else paired


@dataclass
class Walk:
    """Makes one path's layers along a chain.

    Attributes:
        path: the path.
        division: the paths of the chain and their shares.
        roles: what the chain's layers yet to come are divided by.
        width: the path's own channels, where its map is these; None where it is full-width.
    """

    path: int
    division: Division
    roles: Iterator[str]
    width: Block | None = field(default=None)

    def layer(self, layer: nn.Module, name: str) -> nn.Module:
        """Return the path's part of the chain's next layer.

        Raises:
            NoRule: there is none for such a layer.
            InputError: it is too narrow for its paths.
        """
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            return self._weights(layer, name)
        if isinstance(layer, nn.BatchNorm2d):
            return own(layer) if self.width is None else rows(layer, self.width)
        if self.width is None and isinstance(layer, NORMS):
            return own(layer)
        mixes = self.width is not None and not isinstance(layer, BY_CHANNEL)
        if mixes or any(True for _ in layer.parameters()):
            raise NoRule(f"{type(layer).__name__} at {name!r}")
        return own(layer)

    def _weights(self, layer: nn.Conv2d | nn.Linear, name: str) -> nn.Module:
        if getattr(layer, "groups", 1) > 1:
            raise NoRule(f"layer {name!r} of a chain has {layer.groups} groups")
        role, paths = next(self.roles), self.division.paths
        if role == COLUMNS:
            part, self.width = columns(layer, cast(Block, self.width)), None
            return part
        outputs = self.division.blocks(layer.weight.shape[0], name)
        if role == ROWS:
            self.width = outputs[self.path]
            return rows(layer, self.width)
        if not isinstance(layer, nn.Conv2d):
            raise NoRule(f"{name!r} is the odd one of linear layers in turn")
        inputs = self.division.blocks(layer.weight.shape[1], name)
        turn = paths.index(self.path)
        return Diagonal(layer, list(outputs.values()), list(inputs.values()), turn)


def begins_with_lead(layers: Sequence[nn.Module]) -> bool:
    """Return whether a chain begins with convolution, norm, ReLU: what paths can share."""
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)
    return all(isinstance(layer, kind) for layer, kind in zip(layers, kinds, strict=False)) and (
        len(layers) >= len(kinds)
    )


def chain(layers: Sequence[nn.Module]) -> Chain:
    """Return a chain's layers as lead and rest; see ``begins_with_lead``."""
    conv, norm, _, *rest = layers
    return Chain(Lead(cast(nn.Conv2d, conv), cast(nn.BatchNorm2d, norm)), rest)
