"""Members that one run trains one after another."""

import torch
from torch import Tensor, nn

from nfe.method.optimizer import Optimizer


class SequentialMembers(nn.Module):
    """Networks side by side, of which one at a time is trained.

    In training mode the active member alone computes; in evaluation mode it and those before
    it answer. All answer until training says otherwise.

    Attributes:
        members: the networks, with logits (batch, classes).
        active: the number of the member in training, from 0.
    """

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.active = len(members) - 1

    def forward(self, x: Tensor) -> Tensor:
        """Return logits: (batch, 1, classes) in training, (batch, members, classes) else."""
        if self.training:
            alone: Tensor = self.members[self.active](x).unsqueeze(1)
            return alone
        return torch.stack([member(x) for member in self.members[: self.active + 1]], dim=1)

    def finish(self, optimizer: Optimizer) -> None:
        """Drop the active member's gradients and state in the optimizer: it is trained."""
        for parameter in self.members[self.active].parameters():
            parameter.grad = None
            optimizer.state.pop(parameter, None)

    def hand_over(self, optimizer: Optimizer) -> None:
        """Let the next member go on where the active one stands, which stays as it is.

        The next one gets its weights, gradients and state in the optimizer.
        """
        done, following = self.members[self.active], self.members[self.active + 1]
        following.load_state_dict(done.state_dict())
        for old, new in zip(done.parameters(), following.parameters(), strict=True):
            new.grad, old.grad = old.grad, None
            if old in optimizer.state:
                optimizer.state[new] = optimizer.state.pop(old)
