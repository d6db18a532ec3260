"""Stochastic depth (Huang et al., ECCV 2016) as an ensemble: branches left out at random.

In training each step leaves some branches out, the later ones more often; in evaluation M draws of
them, which stay the same, are the members, as MC dropout has it for features.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from baselines.settings.stochastic_depth import StochasticDepthSettings
from baselines.shared.passes import Passes
from nfe.backbones import Backbone
from nfe.common.errors import InputError
from nfe.common.seeds import generator
from nfe.method import Context, Method

# Where libraries leave a block's branch out: layers that are there for it.
_MADE_FOR_IT = ("drop_path", "drop_path1", "drop_path2", "stochastic_depth")
# The last layer of each branch of other blocks, by their class, in these packages.
_PACKAGES = ("nfe.backbones.", "torchvision.models.", "timm.models.")
_LAST = {
    "WideBlock": ("conv2",),
    "BasicBlock": ("bn2",),
    "Bottleneck": ("bn3",),
    "Block": ("attention", "mlp"),
    "InvertedResidual": ("block", "conv"),
    "EncoderBlock": ("dropout", "mlp"),
}


def branches(network: nn.Module) -> list[str]:
    """Return the names of the layers that end a residual branch, in the order of the blocks."""
    return [
        f"{name}.{last}".removeprefix(".")
        for name, block in network.named_modules()
        for last in _ends(block)
    ]


def _ends(block: nn.Module) -> Sequence[str]:
    """Return which of a block's layers end a branch beside a shortcut; none where it has none."""
    if not (getattr(block, "use_res_connect", True) and getattr(block, "has_skip", True)):
        return []
    children = [name for name, _ in block.named_children()]
    made = [name for name in children if name in _MADE_FOR_IT]
    known = type(block).__module__.startswith(_PACKAGES)
    last = _LAST.get(type(block).__name__, ()) if known else ()
    return made or [name for name in last if name in children]


class Gate(nn.Module):
    """The end of a branch that is there or not: one draw a step; in evaluation one a member.

    Nothing is rescaled. A member's draws are the same for all images, and made on the CPU, so that
    a prediction depends neither on its batch nor on the device.

    Attributes:
        layer: the branch's last layer.
        survival: probability that the branch is there.
        there: for which members it is there, (members,).
    """

    there: Tensor

    def __init__(self, layer: nn.Module, survival: float, members: int, draws: Generator) -> None:
        """Draw for which members the branch is there."""
        super().__init__()
        self.layer, self.survival = layer, survival
        there = torch.rand(members, generator=draws) < survival
        self.register_buffer("there", there, persistent=False)

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        """Return what the branch adds, or zeros; in evaluation rows are member by member."""
        x: Tensor = self.layer(*inputs, **options)
        if self.training:
            return x * (torch.rand((), device=x.device) < self.survival).to(x.dtype)
        rows: Tensor = x.unflatten(0, (len(self.there), -1))
        there = self.there.to(x.dtype).view(-1, *[1] * (rows.dim() - 1))
        return (rows * there).flatten(0, 1)


def survivals(count: int, last: float) -> list[float]:
    """Return p_l = 1 − (l / L) · (1 − p_L) for l = 1 … L (Huang et al., eq. 4)."""
    return [1 - (number / count) * (1 - last) for number in range(1, count + 1)]


class StochasticDepth(StochasticDepthSettings, Method):
    """One network trained with stochastic depth; M draws of its branches are the members."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with gates.

        Raises:
            InputError: it has no residual branch that is known.
        """
        backbone: Backbone = context.backbone()
        names = branches(backbone.stages)
        if not names:
            raise InputError(
                f"architecture {context.architecture.name!r}: no residual block is known in it: "
                f"allowed: networks of residual blocks, whose branches can be left out"
            )
        for name, survival in zip(names, survivals(len(names), self.survival), strict=True):
            layer = backbone.stages.get_submodule(name)
            draws = generator("cpu", context.seed, "stochastic_depth", name)
            gate = Gate(layer, survival, self.members, draws)
            backbone.stages.set_submodule(name, gate)
        return Passes(backbone, self.members)
