"""Network Fission Ensembles as a method of the benchmark."""

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from nfe import pruning
from nfe.backbones import Architecture, architecture
from nfe.common.errors import InputError
from nfe.losses import fission_loss
from nfe.method import Context, Method
from nfe.splitting import early_exit, grouping
from nfe.splitting.compact.network import CompactNetwork
from nfe.splitting.compact.pruning import mask_nothing
from nfe.splitting.compact.rules import check_compact
from nfe.splitting.exit_network import ExitNetwork
from nfe.splitting.heads import draw_heads
from nfe.splitting.layers import check_kept_whole
from nfe.splitting.network import fission


@functools.cache
def _scoring_mb(name: str, size: tuple[int, int, int], pruning_name: str, per_class: int) -> int:
    """Return the memory of scoring a backbone for (channels, classes, resolution)."""
    channels, classes, resolution = size
    backbone = architecture(name).build(channels=channels, classes=classes, resolution=resolution)
    image = torch.zeros(1, channels, resolution, resolution)
    return pruning.memory_mb(backbone, image, per_class * classes, pruning_name)


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
            ``output_filter``, ``2:4`` or ``alternating``.
        scope: meet the sparsity over all layers (``global``) or in each ``layer``.
        whole: kinds of layers that every path keeps whole, neither pruned nor divided.
        pruning_images: images of each class that data-dependent pruning looks at.
        distillation: coefficient of the distillation term.
        temperature: T of the distillation term.
        unit: with ``alternating``: channels that go to a path as a whole.
        shared_norm: with ``alternating``: whether paths that leave from one tensor share the
            norm that reads it, in pre-activation networks.
    """

    # 2: each exit's head is drawn separately.
    version: ClassVar[int] = 2
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
    unit: int = 16
    shared_norm: bool = True

    def settings(self) -> dict[str, Any]:
        """Return the settings as JSON values; ``alternating``'s own only where it is chosen."""
        values = super().settings()
        if self.granularity != "alternating":
            del values["unit"], values["shared_norm"]
        return values

    def resolved(self, architecture: Architecture) -> Self:
        """Spell out ratio and exit stages; without sparsity pruning does not matter."""
        pruning.check(self.pruning, self.sparsity, self.scope)
        check_kept_whole(self.whole)
        if self.pruning_images < 1:
            raise InputError(f"pruning_images is {self.pruning_images}: allowed: from 1")
        exit_stages = self.exit_stages or grouping.default_exit_stages(self.exits)
        grouping.check_exit_stages(exit_stages, self.exits, architecture.stages)
        ratio = self.ratio or (1 / self.exits,) * self.exits
        grouping.check_ratio(ratio, self.exits)
        grouping.check_grouping(self.grouping, self.granularity, ratio)
        check_compact(self.granularity, self.whole, self.unit)
        if not 0 <= self.distillation < math.inf:
            raise InputError(f"distillation is {self.distillation}: allowed: numbers from 0")
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature is {self.temperature}: allowed: numbers above 0")
        spelled = dataclasses.replace(self, ratio=ratio, exit_stages=exit_stages)
        if self.granularity != "alternating":
            spelled = dataclasses.replace(spelled, unit=16, shared_norm=True)
        if self.sparsity > 0:
            return spelled
        return dataclasses.replace(spelled, pruning="none", scope="global", pruning_images=10)

    def training_passes(self, architecture: Architecture) -> float:
        """Return the mean number of paths over the stages: each is computed densely.

        With ``alternating`` all paths together cost one pass.
        """
        if self.granularity == "alternating":
            return 1.0
        stages = range(1, architecture.stages + 1)
        leave = self.exit_stages or grouping.default_exit_stages(self.exits)
        paths = [1 + sum(left < stage for left in leave) for stage in stages]
        return sum(paths) / len(paths)

    def building_mb(
        self, architecture: Architecture, channels: int, classes: int, resolution: int
    ) -> int:
        """Return what scores by labelled images take."""
        size = (channels, classes, resolution)
        return _scoring_mb(architecture.name, size, self.pruning, self.pruning_images)

    def network(self, context: Context) -> nn.Module:
        """Return the fissioned backbone, scored and grouped on its very initial weights.

        Scores see the backbone's own head, which is the final exit's; the other exits' heads
        are drawn separately.
        """
        needs_data = self.pruning in pruning.NEED_DATA
        network = fission(
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
            unit=self.unit,
            shared_norm=self.shared_norm,
        )
        draw_heads(list(network.heads), context.seed)
        return network

    def skeleton(self, context: Context) -> nn.Module:
        """Return the network unpruned: which weights are left stands in the saved weights."""
        network = dataclasses.replace(self, pruning="none", sparsity=0.0).network(context)
        if self.sparsity > 0 and isinstance(network, CompactNetwork):
            mask_nothing(network)
        return network

    def exit_macs(self, network: nn.Module, image: Tensor) -> list[int]:
        """Return what an image costs that stops at each exit."""
        return early_exit.exit_macs(cast(ExitNetwork, network), image)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_i CE_i plus the distillation term, and the exits' logits."""
        logits: Tensor = network(inputs)
        return fission_loss(logits, targets, self.temperature, self.distillation), logits
