"""Network Fission Ensembles as a method of the benchmark."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Self, cast

from torch import Tensor, nn

from nfe import early_exit, grouping, pruning
from nfe.distillation import fission_loss
from nfe.engine.backbones import Architecture
from nfe.engine.errors import InputError
from nfe.engine.method import Context, Method
from nfe.layers import check_whole
from nfe.network import FissionNetwork, fission


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
        granularity: what goes to a path as a whole: ``weight``, ``kernel``, ``input_channel``,
            ``output_filter`` or ``2:4``.
        scope: meet the sparsity over all layers (``global``) or in each ``layer``.
        whole: kinds of layers that every path keeps whole, neither pruned nor divided.
        pruning_images: images of each class that data-dependent pruning looks at.
        distillation: coefficient of the distillation term.
        temperature: T of the distillation term.
    """

    combine: ClassVar = "logits"
    lifts: ClassVar = True
    capturable: ClassVar = True
    published: ClassVar = {"batch_size": 128, "epochs": 200}

    exits: int = 3
    sparsity: float = 0.0
    pruning: str = "none"
    ratio: tuple[float, ...] | None = None
    exit_stages: tuple[int, ...] | None = None
    grouping: str = "tensor"
    granularity: str = "weight"
    scope: str = "global"
    whole: tuple[str, ...] = ()
    pruning_images: int = 10
    distillation: float = 1.0
    temperature: float = 3.0

    def resolved(self, architecture: Architecture) -> Self:
        """Spell out ratio and exit stages; without sparsity pruning does not matter."""
        pruning.check(self.pruning, self.sparsity, self.scope)
        check_whole(self.whole)
        if self.pruning_images < 1:
            raise InputError(f"pruning_images is {self.pruning_images}: allowed: from 1")
        exit_stages = self.exit_stages or grouping.default_exit_stages(self.exits)
        grouping.check_exit_stages(exit_stages, self.exits, architecture.stages)
        ratio = self.ratio or (1 / self.exits,) * self.exits
        grouping.check_ratio(ratio, self.exits)
        grouping.check_grouping(self.grouping, self.granularity, ratio)
        if not 0 <= self.distillation < math.inf:
            raise InputError(f"distillation is {self.distillation}: allowed: numbers from 0")
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature is {self.temperature}: allowed: numbers above 0")
        spelled = dataclasses.replace(self, ratio=ratio, exit_stages=exit_stages)
        if self.sparsity > 0:
            return spelled
        return dataclasses.replace(spelled, pruning="none", scope="global", pruning_images=10)

    def training_passes(self, architecture: Architecture) -> float:
        """Return the mean number of paths over the stages: each is computed densely."""
        stages = range(1, architecture.stages + 1)
        leave = self.exit_stages or grouping.default_exit_stages(self.exits)
        paths = [1 + sum(left < stage for left in leave) for stage in stages]
        return sum(paths) / len(paths)

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
            granularity=self.granularity,
            scope=self.scope,
            whole=self.whole,
            example=context.example(self.pruning_images) if needs_data else None,
            seed=context.seed,
        )

    def skeleton(self, context: Context) -> nn.Module:
        """Return the network unpruned: which weights are left stands in the saved weights."""
        return dataclasses.replace(self, pruning="none", sparsity=0.0).network(context)

    def exit_macs(self, network: nn.Module, image: Tensor) -> list[int]:
        """Return what an image costs that stops at each exit."""
        return early_exit.exit_macs(cast(FissionNetwork, network), image)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_i CE_i plus the distillation term, and the exits' logits."""
        logits: Tensor = network(inputs)
        return fission_loss(logits, targets, self.temperature, self.distillation), logits
