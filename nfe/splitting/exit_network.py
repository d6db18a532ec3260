"""What every multi-exit network made by fission offers, however its weights are held."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self, cast

from torch import Tensor, nn

from nfe.backbones import Backbone
from nfe.splitting.cutting import cut


class ExitNetwork(nn.Module, ABC):
    """A stem, stages with one or more paths, and one head per exit.

    Attributes:
        exits: number of exits N.
        exit_stages: after which stage each exit's path but the final one leaves the trunk.
        ratio: the share of each exit.
        weights: the weights that are divided one by one, by the name of their layer (dots
            become slashes).
        stem: the shared stem.
        stages: the paths of each stage.
        heads: the heads, exit 1 first.
    """

    weights: nn.ModuleDict
    stem: nn.Module
    stages: nn.ModuleList
    heads: nn.ModuleList

    def __init__(self, exit_stages: Sequence[int], ratio: Sequence[float]) -> None:
        super().__init__()
        self.exits = len(exit_stages) + 1
        self.exit_stages = tuple(exit_stages)
        self.ratio = tuple(ratio)

    def leaves(self, path: int) -> int:
        """Return after which stage a path leaves the trunk: the last one for the final exit's."""
        return (*self.exit_stages, len(self.stages))[path - 1]

    def in_stage(self, path: int, number: int) -> int:
        """Return the path that exit ``path`` runs on in stage ``number`` (from 0): the trunk's
        until it leaves."""
        return self.exits if number < self.leaves(path) else path

    @abstractmethod
    def along(self, path: int, features: Tensor, start: int, stop: int) -> Tensor:
        """Take features through stages ``start`` + 1 to ``stop`` of one path."""

    def branch(self, path: int, trunk: Tensor) -> Tensor:
        """Map what the trunk has where ``path`` leaves it to the exit's logits."""
        features = self.along(path, trunk, self.leaves(path), len(self.stages))
        return cast(Tensor, self.heads[path - 1](features))

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, h, w) to logits (batch, exits, classes), exit 1 first."""

    def ensemble(self, x: Tensor) -> Tensor:
        """Map images to the ensemble's logits (batch, classes): the mean over exits."""
        return cast(Tensor, self(x)).mean(dim=1)

    @abstractmethod
    def materialized(self) -> Self:
        """Return a copy in which every path has ordinary weights of its own.

        For tools that take the network apart, such as exporters: the same logits.
        """

    def compacted(self) -> Self:
        """Return a copy for inference without the rows and columns that are zero on a path.

        In evaluation mode: the same logits from fewer multiply-adds where whole channels are
        pruned or another path's; single zeros stay.
        """
        return cut(self.materialized())

    def members(self) -> list[Backbone]:
        """Return the N exits as ordinary stand-alone networks, exit 1 first.

        Each holds copies of all it needs and gives the exit's logits (batch, classes).
        """
        return [self.member(path) for path in range(1, self.exits + 1)]

    @abstractmethod
    def member(self, path: int) -> Backbone:
        """Return one exit as an ordinary stand-alone network."""
