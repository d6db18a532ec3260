"""BatchEnsemble (Wen et al., ICLR 2020): shared weights, a rank-one factor per member."""

from typing import Any

import torch
from torch import Tensor, nn

from baselines.settings.batch_ensemble import BatchEnsembleSettings
from baselines.shared.passes import Passes
from baselines.shared.replacing import replace_layers
from nfe.backbones import Backbone
from nfe.common.errors import InputError
from nfe.method import Context, FormsBatches, GroupsParameters, Method, Recipe


class RankOne(nn.Module):
    """A convolution or linear layer with the weight W ∘ (s_m r_mᵀ) for member m (eq. 1).

    Computed as layer(x ∘ r_m) ∘ s_m. The rows come member by member, equally many for each.

    Attributes:
        layer: the shared layer, without bias.
        r: (members, inputs), the factors on the inputs.
        s: (members, outputs), the factors on the outputs.
        bias: (members, outputs), where the layer had a bias.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, members: int, init: float) -> None:
        super().__init__()
        outputs, inputs = layer.weight.shape[:2]
        if isinstance(layer, nn.Conv2d):
            inputs = layer.in_channels
        self.r = nn.Parameter(_factors((members, inputs), init))
        self.s = nn.Parameter(_factors((members, outputs), init))
        bias = layer.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().repeat(members, 1))
        layer.register_parameter("bias", None)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (members × n, inputs, …) to (members × n, outputs, …)."""
        y: Tensor = self.layer(x * self._by_row(self.r, x))
        y = y * self._by_row(self.s, y)
        return y if self.bias is None else y + self._by_row(self.bias, y)

    def _by_row(self, factors: Tensor, rows: Tensor) -> Tensor:
        """Return each row's factors, shaped to multiply (rows, channels, h, w) or (rows, …, n).

        Channels are a convolution's second axis, a linear layer's last. In the rows' type: factors
        in float32 would lift every activation behind them to float32.
        """
        each = factors.to(rows.dtype).repeat_interleave(len(rows) // len(factors), dim=0)
        between = [1] * (rows.dim() - 2)
        if isinstance(self.layer, nn.Linear):
            return each.reshape(len(each), *between, -1)
        return each.reshape(*each.shape, *between)


def _factors(shape: tuple[int, int], init: float) -> Tensor:
    """Draw N(1, |init|) where ``init`` is negative, else +1 with probability ``init``, or −1."""
    if init < 0:
        return torch.normal(1.0, -init, shape)
    return torch.where(torch.rand(shape) < init, 1.0, -1.0)


class SharedWeights(Passes):
    """A backbone whose layers are ``RankOne``; norms are shared. Rows come member by member."""

    def __init__(self, backbone: Backbone, members: int, init: float) -> None:
        super().__init__(backbone, members)
        replace_layers(
            backbone, (nn.Conv2d, nn.Linear), lambda _, layer: RankOne(layer, members, init)
        )


class BatchEnsemble(BatchEnsembleSettings, FormsBatches, GroupsParameters, Method):
    """One set of weights; members differ by the factors r and s of every layer."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with a rank-one factor per member in every layer."""
        return SharedWeights(context.backbone(), self.members, self.init)

    def training_batch(
        self, images: Tensor, labels: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the images ``repetition`` times over, member by member.

        Raises:
            InputError: the rows cannot be divided evenly over the members.
        """
        repetition = self.repetition or self.members
        if (rows := repetition * len(labels)) % self.members:
            raise InputError(
                f"repetition is {repetition} with {len(labels)} images a batch and "
                f"{self.members} members: allowed: a product that {self.members} divides, "
                f"{rows} does not"
            )
        return images.repeat(repetition, 1, 1, 1), labels.repeat(repetition)

    def parameter_groups(self, network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """Return slow weights and norms, and apart r, s and biases: slower, without decay.

        Without decay, SGD with momentum is linear in the gradient, so that a factor of the
        learning rate is the same factor of the gradient.
        """
        rank_ones = [layer for layer in network.modules() if isinstance(layer, RankOne)]
        fast = [p for layer in rank_ones for p in layer.parameters(recurse=False)]
        known = set(fast)
        return [
            {"params": [p for p in network.parameters() if p not in known]},
            {"params": fast, "lr_factor": self.fast_gradient, "weight_decay": 0.0},
        ]
