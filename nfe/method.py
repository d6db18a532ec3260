"""Network Fission Ensembles as a method of the benchmark."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn

from nfe import grouping, pruning
from nfe.distillation import fission_loss
from nfe.engine.backbones import Architecture
from nfe.engine.errors import InputError, unknown
from nfe.engine.method import Context, Method
from nfe.network import GROUPINGS, fission

PRUNING_IMAGES_PER_CLASS = 10


@dataclass(frozen=True)
class NetworkFission(Method):
    """Prune at initialization, split the weights over exits, distil from the ensemble.

    Lee & Lee, arXiv 2408.02301.

    Attributes:
        exits: number of exits N.
        sparsity: share of the convolution weights pruned.
        pruning: pruning method.
        ratio: share of each exit, exit 1 first (default: even).
        exit_stages: after which stage the paths leave the trunk (default: 1, 2, …).
        grouping: divide the weights per ``tensor`` or per ``stage``.
        distillation: coefficient of the distillation term.
        temperature: T of the distillation term.
    """

    combine: ClassVar = "logits"
    published: ClassVar = {"batch_size": 128, "epochs": 200}

    exits: int = 3
    sparsity: float = 0.0
    pruning: str = "none"
    ratio: tuple[float, ...] | None = None
    exit_stages: tuple[int, ...] | None = None
    grouping: str = "tensor"
    distillation: float = 1.0
    temperature: float = 3.0

    def resolved(self, architecture: Architecture) -> Self:
        """Spell out ratio and exit stages; without sparsity every pruning method is ``none``."""
        pruning.check(self.pruning, self.sparsity)
        exit_stages = self.exit_stages or grouping.default_exit_stages(self.exits)
        grouping.check_exit_stages(exit_stages, self.exits, architecture.stages)
        ratio = self.ratio or (1 / self.exits,) * self.exits
        grouping.check_ratio(ratio, self.exits)
        if self.grouping not in GROUPINGS:
            raise unknown("grouping", self.grouping, GROUPINGS)
        if not 0 <= self.distillation < math.inf:
            raise InputError(f"distillation is {self.distillation}: allowed: numbers from 0")
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature is {self.temperature}: allowed: numbers above 0")
        used = self.pruning if self.sparsity > 0 else "none"
        return dataclasses.replace(self, ratio=ratio, exit_stages=exit_stages, pruning=used)

    def network(self, context: Context) -> nn.Module:
        """Return the fissioned backbone, scored and grouped on its very initial weights."""
        needs_data = self.pruning in pruning.NEED_DATA
        return fission(
            context.backbone(),
            self.exits,
            sparsity=self.sparsity,
            pruning=self.pruning,
            ratio=self.ratio,
            exit_stages=self.exit_stages,
            grouping=self.grouping,
            example=context.example(PRUNING_IMAGES_PER_CLASS) if needs_data else None,
            seed=context.seed,
        )

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_i CE_i plus the distillation term, and the exits' logits."""
        logits: Tensor = network(inputs)
        return fission_loss(logits, targets, self.temperature, self.distillation), logits
