"""Partially masked networks (Mohtashami, Jaggi & Stich, AISTATS 2022, arXiv 2106.08895).

A network whose core, the same network with some of its weights masked, is to be a good network
too: steps of the whole network and steps of the core alone take turns.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from baselines.settings.partially_masked import PartiallyMaskedSettings
from baselines.shared.replacing import replace_layers
from nfe import pruning
from nfe.common.seeds import derive
from nfe.method import Context, Method, Phases, Step


class Parts(nn.Module):
    """A parametrization: a weight in two parts, the core's and the rest's.

    The two are parameters of their own, each zero where the other one is not, so that the
    optimizer leaves the rest alone, momentum and decay included, where only the core computes.

    Attributes:
        mask: True where a weight is the core's.
        alone: whether the core computes alone.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.alone = False

    def forward(self, core: Tensor, rest: Tensor) -> Tensor:
        """Return the weight of what computes."""
        return torch.where(self.mask, core, torch.zeros_like(core) if self.alone else rest)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parts of a weight."""
        return weight * self.mask, weight * ~self.mask


class SharedNorm(nn.Module):
    """A batch norm of the whole network and of its core, which has statistics of its own.

    Attributes:
        whole: the whole network's.
        alone: whether the core computes alone.
    """

    core_mean: Tensor
    core_var: Tensor

    def __init__(self, whole: nn.BatchNorm2d) -> None:
        super().__init__()
        self.whole = whole
        self.alone = False
        self.register_buffer("core_mean", cast(Tensor, whole.running_mean).clone())
        self.register_buffer("core_var", cast(Tensor, whole.running_var).clone())

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (batch, channels, h, w)."""
        if not self.alone:
            out: Tensor = self.whole(x)
            return out
        whole, statistics = self.whole, (self.core_mean, self.core_var)
        affine = (whole.weight, whole.bias)
        return F.batch_norm(
            x, *statistics, *affine, self.training, whole.momentum or 0.0, whole.eps
        )


class PartiallyMaskedNetwork(nn.Module):
    """A network and its core.

    Attributes:
        network: the network, its layers able to compute as the core.
        core_next: whether the next training step is the core's.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.core_next = False

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, h, w) to logits (batch, members, classes).

        In training of the one whose step it is; else of the core and of the whole network.
        """
        turns = [self.core_next] if self.training else [True, False]
        return torch.stack([self._compute(x, alone) for alone in turns], dim=1)

    def _compute(self, x: Tensor, alone: bool) -> Tensor:
        for layer in self.network.modules():
            if isinstance(layer, (Parts, SharedNorm)):
                layer.alone = alone
        logits: Tensor = self.network(x)
        return logits


class PartiallyMasked(PartiallyMaskedSettings, Phases, Method):
    """One network whose core, the same network with masked weights, is trained in turns with it."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with its core: drawn at random, with ERK's densities.

        Raises:
            CollapseError: a layer's core is left without a weight.
        """
        backbone = context.backbone()
        masks = pruning.masks(backbone, "erk", self.sparsity, seed=derive(context.seed, "core"))
        for name, mask in masks.items():
            parametrize.register_parametrization(
                backbone.get_submodule(name), "weight", Parts(mask)
            )
        replace_layers(backbone, nn.BatchNorm2d, lambda _, norm: SharedNorm(norm))
        return PartiallyMaskedNetwork(backbone)

    def kind(self, step: Step) -> int:
        """Return 0 for a step of the whole network, 1 for one of its core: they take turns."""
        return step.number % 2

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Let the one whose turn it is compute."""
        cast(PartiallyMaskedNetwork, network).core_next = bool(self.kind(step))
