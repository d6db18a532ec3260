"""Settings of Network Fission Ensembles."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from nfe.backbones import Architecture
from nfe.common.errors import InputError
from nfe.common.settings import Coefficient, Count, Positive
from nfe.method.settings import Settings
from nfe.pruning.choices import Pruning, Scope, Sparsity, check
from nfe.splitting import choices


@dataclass(frozen=True)
class FissionSettings(Settings):
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
        prune_channels: with ``alternating`` and scope ``layer``: prune whole inner channels of
            residual blocks, by summed score, in place of single weights.
    """

    # 2: each exit's head is drawn separately.
    version: ClassVar[int] = 2
    published: ClassVar = {"batch_size": 128, "epochs": 200}
    costless: ClassVar = frozenset({"sparsity", "scope", "distillation", "temperature"})

    exits: choices.Exits = 3
    sparsity: Sparsity = 0.0
    pruning: Pruning = "none"
    ratio: tuple[Positive, ...] | None = None
    exit_stages: tuple[Count, ...] | None = None
    grouping: choices.Grouping = "tensor"
    granularity: choices.Granularity = "weight"
    scope: Scope = "global"
    whole: tuple[choices.Kind, ...] = ()
    pruning_images: Count = 10
    distillation: Coefficient = 1.0
    temperature: Positive = 3.0
    unit: Count = 16
    shared_norm: bool = True
    prune_channels: bool = False

    def settings(self) -> dict[str, Any]:
        """Return the settings as JSON values; ``alternating``'s own only where it is chosen."""
        values = super().settings()
        if self.granularity != "alternating":
            del values["unit"], values["shared_norm"]
        if not self.prune_channels:
            del values["prune_channels"]
        return values

    def changes_nothing(self) -> frozenset[str]:
        """Return the names of costless settings; pruned channels cost nothing."""
        return self.costless - {"sparsity"} if self.prune_channels else self.costless

    def resolved(self, architecture: Architecture) -> Self:
        """Spell out ratio and exit stages; without sparsity pruning does not matter."""
        check(self.pruning, self.sparsity, self.scope)
        exit_stages = self.exit_stages or choices.default_exit_stages(self.exits)
        choices.check_exit_stages(exit_stages, self.exits, architecture.stages)
        ratio = self.ratio or (1 / self.exits,) * self.exits
        choices.check_ratio(ratio, self.exits)
        choices.check_grouping(self.grouping, self.granularity, ratio)
        choices.check_compact(
            self.granularity, self.whole, self.unit, self.prune_channels, self.scope
        )
        if self.prune_channels and self.pruning == "erk":
            raise InputError(
                "prune_channels is true with pruning 'erk', which has no scores of weights: "
                "allowed: random, magnitude, snip, grasp, synflow"
            )
        spelled = dataclasses.replace(self, ratio=ratio, exit_stages=exit_stages)
        if self.granularity != "alternating":
            spelled = dataclasses.replace(spelled, unit=16, shared_norm=True)
        if self.sparsity > 0:
            return spelled
        spelled = dataclasses.replace(spelled, prune_channels=False)
        return dataclasses.replace(spelled, pruning="none", scope="global", pruning_images=10)
