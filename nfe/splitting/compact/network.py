"""Compact fission: every path's share of a layer is a small dense layer, and only that is run.

This suite's own. Lee & Lee (arXiv 2408.02301) divide weights one by one, which dense kernels
pay for in full on every path. Here a path owns contiguous channels in turns: the rows of one
layer that make its channels, then the columns of the next that read them. Each original weight
is used exactly once, by an ordinary layer, and every weight is live. Pruned weights are masked
inside these layers. Parts of a network that no rule divides have their weights divided one by one.
"""

from collections.abc import Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from nfe.backbones import Backbone
from nfe.common.errors import InputError
from nfe.splitting.compact.grouped import GroupedNetwork
from nfe.splitting.compact.no_rule import NoRule
from nfe.splitting.compact.path_stage import PathStage
from nfe.splitting.compact.slices import MaskedConv2d, replace_convolutions
from nfe.splitting.exit_network import ExitNetwork
from nfe.splitting.path_layers import SplitWeight, stand_alone
from nfe.splitting.selection import selected_at_once


class CompactNetwork(ExitNetwork):
    """A multi-exit network of small dense layers; built by ``rules.compact``.

    Attributes:
        stages: a ``PathStage`` for each stage.
        weights: the weights that are divided one by one, by the name of their layer (dots
            become slashes).
        unruled: why there was no rule for the parts that hold these, by the part's name.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[PathStage],
        heads: Sequence[nn.Module],
        exit_stages: Sequence[int],
        ratio: Sequence[float],
        weights: Mapping[str, SplitWeight],
        unruled: Mapping[str, str],
    ) -> None:
        super().__init__(exit_stages, ratio)
        self.unruled = dict(unruled)
        self.weights = nn.ModuleDict(weights)
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.heads = nn.ModuleList(heads)

    def along(self, path: int, features: Tensor, start: int, stop: int) -> Tensor:
        """Take features through stages ``start`` + 1 to ``stop`` of one path."""
        for number in range(start, stop):
            features = cast(PathStage, self.stages[number]).one(path, features)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, h, w) to logits (batch, exits, classes), exit 1 first."""
        splits = [cast(SplitWeight, split) for split in self.weights.values()]
        with selected_at_once(splits, self.exits):
            features = {self.exits: self.stem(x)}
            for stage in self.stages:
                features = stage(features)
            ends = enumerate(self.heads, start=1)
            return torch.stack([head(features[path]) for path, head in ends], dim=1)

    def materialized(self) -> Self:
        """Return a copy without masks: its pruned weights are zeros of ordinary layers."""
        plain = stand_alone(self)
        plain.weights = nn.ModuleDict()
        replace_convolutions(
            plain, lambda _, conv: conv.plain() if isinstance(conv, MaskedConv2d) else conv
        )
        return plain

    def grouped(self) -> GroupedNetwork:
        """Return a copy for inference whose paths are computed side by side, with the same logits.

        Faster for single images, where calls and not arithmetic take the time.

        Raises:
            InputError: the paths cannot be grouped: those of basic residual blocks can.
        """
        plain = self.materialized()
        try:
            stages = cast(list[PathStage], list(plain.stages))
            return GroupedNetwork(plain.stem, stages, list(plain.heads))
        except NoRule as reason:
            raise InputError(
                f"the network cannot be grouped: {reason}: allowed: compacted()"
            ) from None

    def member(self, path: int) -> Backbone:
        """Return one exit as an ordinary stand-alone network."""
        plain = self.materialized()
        parts = [
            cast(PathStage, stage).alone(self.in_stage(path, number))
            for number, stage in enumerate(plain.stages)
        ]
        return Backbone(plain.stem, parts, plain.heads[path - 1])
