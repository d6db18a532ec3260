"""Several passes of one network over the same images, each of which is a member."""

from torch import Tensor, nn


class Passes(nn.Module):
    """A network with random layers that are fixed, one draw for each member, in evaluation.

    Attributes:
        backbone: the network; in evaluation its random layers get the images of all members,
            member by member.
        members: number of draws.
    """

    def __init__(self, backbone: nn.Module, members: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.members = members

    def forward(self, x: Tensor) -> Tensor:
        """Return logits: (batch, 1, classes) in training, (batch, members, classes) else."""
        if self.training:
            alone: Tensor = self.backbone(x).unsqueeze(1)
            return alone
        rows = self.backbone(x.repeat(self.members, 1, 1, 1))
        logits: Tensor = rows.unflatten(0, (self.members, -1)).transpose(0, 1)
        return logits
