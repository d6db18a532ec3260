"""Members that are passes of one network over the same images, stacked in one batch."""

from torch import Tensor, nn


class Passes(nn.Module):
    """A network some of whose layers differ from member to member.

    In training mode it takes rows as they come; in evaluation mode it repeats the images over the
    members, and its layers tell the members by the place of their rows.

    Attributes:
        backbone: the network.
        members: number of members.
    """

    def __init__(self, backbone: nn.Module, members: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.members = members

    def forward(self, x: Tensor) -> Tensor:
        """Return logits: (rows, 1, classes) in training, (batch, members, classes) else."""
        if self.training:
            alone: Tensor = self.backbone(x).unsqueeze(1)
            return alone
        rows = self.backbone(x.repeat(self.members, 1, 1, 1))
        logits: Tensor = rows.unflatten(0, (self.members, -1)).transpose(0, 1)
        return logits
