"""Local critic training (Lee, Hsieh & Lee, TNNLS 2022): layer groups that learn from critics."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.local_critic import LocalCriticSettings
from baselines.shared.exits import stage_shapes
from nfe.backbones import Backbone
from nfe.backbones.initialization import kaiming_normal_fan_out
from nfe.common.precision import exact
from nfe.method import Context, GroupsParameters, Method, Recipe


class Critic(nn.Module):
    """A 3×3 convolution, ReLU and a linear layer on all that is left: features to logits."""

    def __init__(self, shape: torch.Size, width: int, classes: int) -> None:
        """Make a critic of features of a shape (1, channels, h, w)."""
        super().__init__()
        self.conv = nn.Conv2d(shape[1], width, 3, padding=1, bias=False)
        self.linear = nn.Linear(width * shape[2] * shape[3], classes)

    def forward(self, x: Tensor, constant: bool = False) -> Tensor:
        """Return logits (batch, classes); if ``constant``, no gradient reaches the weights."""
        weights = [self.conv.weight, self.linear.weight, self.linear.bias]
        kernel, matrix, bias = (w.detach() for w in weights) if constant else weights
        features = F.relu(F.conv2d(x, kernel, padding=1))
        return F.linear(features.flatten(1), matrix, bias)


class Critics(nn.Module):
    """A backbone in groups, one a stage, and a critic behind each but the last.

    The stem belongs to the first group, the head to the last.

    Attributes:
        stem: the backbone's stem.
        stages: the backbone's stages.
        critics: the critics, group 1's first.
        head: the backbone's head.
        exits: number of groups.
    """

    def __init__(self, backbone: Backbone, width: int, image: Tensor, classes: int) -> None:
        super().__init__()
        shapes = stage_shapes(backbone, image)[:-1]
        self.stem, self.stages, self.head = backbone.stem, backbone.stages, backbone.head
        self.critics = nn.ModuleList(
            kaiming_normal_fan_out(Critic(shape, width, classes)) for shape in shapes
        )
        self.exits = len(shapes) + 1

    def leaves(self, path: int) -> int:
        """Return after which stage an exit leaves the trunk."""
        return path

    def along(self, path: int, features: Tensor, start: int, stop: int) -> Tensor:
        """Take features through stages ``start`` + 1 to ``stop``, the same for all exits."""
        for stage in self.stages[start:stop]:
            features = stage(features)
        return features

    def branch(self, path: int, trunk: Tensor) -> Tensor:
        """Map what a stage gives to the logits of the exit there, a critic's or the head's."""
        ends = [*self.critics, self.head]
        logits: Tensor = ends[path - 1](trunk)
        return logits

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return each group's output; no gradient passes from one group to another."""
        outputs = [self.along(1, self.stem(x), 0, 1)]
        for number in range(1, self.exits):
            outputs.append(self.along(1, outputs[-1].detach(), number, number + 1))
        return outputs

    def forward(self, x: Tensor, apart: bool = False) -> Tensor | tuple[list[Tensor], list[Tensor]]:
        """Map images to logits (batch, exits, classes), critics first, the head last.

        With ``apart`` return each exit's logits (batch, classes) twice: with gradients to the
        groups alone, and with gradients to the critics alone.
        """
        outputs = self.outputs(x)
        if not apart:
            return torch.stack([self.branch(k, h) for k, h in enumerate(outputs, start=1)], dim=1)
        critics = list(zip(cast("list[Critic]", list(self.critics)), outputs, strict=False))
        last = self.branch(self.exits, outputs[-1])
        groups = [*(critic(h, constant=True) for critic, h in critics), last]
        return groups, [*(critic(h.detach()) for critic, h in critics), last.detach()]


def cascade(losses: Sequence[Tensor]) -> Tensor:
    """Return Σ_k mean |CE_{k+1} − CE_k|, where CE_{k+1} is a constant that critic k follows.

    Args:
        losses: (batch,) for each exit, the network's own last.
    """
    gaps = [(after.detach() - own).abs().mean() for own, after in pairwise(losses)]
    return torch.stack(gaps).sum()


class LocalCritic(LocalCriticSettings, GroupsParameters, Method):
    """Each group follows its critic's loss, each critic the next one's, the last the true one."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with critics after stages 1 to S − 1."""
        return Critics(context.backbone(), self.width, context.image(), context.classes)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return what has each part's own gradient: the groups' losses and the critics'.

        A group's is its critic's mean cross-entropy with the critic's weights constant, the
        last group's its own; the critics' is ``cascade``, with the groups' outputs constant.
        """
        groups, exits = network(inputs, apart=True)

        def each(logits: Tensor) -> Tensor:
            return F.cross_entropy(exact(logits), targets, reduction="none")

        total = torch.stack([each(logits).mean() for logits in groups]).sum()
        return total + cascade([each(logits) for logits in exits]), torch.stack(exits, dim=1)

    def parameter_groups(self, network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """Return the groups' parameters, and apart the critics': Adam, without decay."""
        critics = list(cast(Critics, network).critics.parameters())
        known = set(critics)
        return [
            {"params": [p for p in network.parameters() if p not in known]},
            {"params": critics, "algorithm": "adam", "fixed_lr": self.critic_lr},
        ]
