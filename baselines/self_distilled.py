"""A self-distilled network (PS-KD, Kim et al., ICCV 2021): taught by what it was an epoch ago."""

from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.self_distilled import SelfDistilledSettings
from baselines.shared.frozen import frozen
from nfe.common.precision import exact
from nfe.method import Context, Method, Optimizer, Phases, Step


class WithPast(nn.Module):
    """A network, and what it was at the end of the epoch before, which is not trained.

    Attributes:
        network: the network, with logits (batch, classes).
        past: its earlier self, always in evaluation mode.
        trust: the share α_t of the targets that comes from ``past`` in this epoch, a scalar.
    """

    trust: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.past = network, frozen(network)
        self.register_buffer("trust", torch.zeros(()), persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the network alone."""
        super().train(mode)
        self.past.eval()
        return self

    def forward(self, x: Tensor, taught: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits (batch, 1, classes); if ``taught``, also those of the earlier self."""
        logits: Tensor = self.network(x).unsqueeze(1)
        if not taught:
            return logits
        with torch.no_grad():
            return logits, self.past(x).unsqueeze(1)


def soft_targets(labels: Tensor, past: Tensor, trust: Tensor) -> Tensor:
    """Return (1 − α_t) · onehot(y) + α_t · softmax(z_past), (batch, classes).

    Args:
        labels: (batch,).
        past: the earlier self's logits, (batch, classes).
        trust: α_t, a scalar.
    """
    own = F.softmax(exact(past), dim=-1)
    return torch.lerp(F.one_hot(labels, own.shape[1]).to(own.dtype), own, trust.to(own.dtype))


class SelfDistilled(SelfDistilledSettings, Phases, Method):
    """One network whose targets are more and more its own predictions of an epoch ago."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with a copy of itself."""
        return WithPast(context.backbone())

    def trusted(self, step: Step) -> float:
        """Return α_t = α_T · t / T in epoch t of T, from 1; 0 in the first one, without a past."""
        epoch = step.number // step.per_epoch
        return self.trust * (epoch + 1) * step.per_epoch / step.steps if epoch else 0.0

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Set α_t."""
        cast(WithPast, network).trust.fill_(self.trusted(step))

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy with the soft targets, batch mean."""
        logits, past = network(inputs, taught=True)
        trust = cast(Tensor, network.trust)
        return F.cross_entropy(logits[:, 0], soft_targets(targets, past[:, 0], trust)), logits

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Remember what the network is at the end of each epoch."""
        pair = cast(WithPast, network)
        if (step.number + 1) % step.per_epoch == 0:
            pair.past.load_state_dict(pair.network.state_dict())
