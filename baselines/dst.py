"""FreeTickets by DST (Liu et al., ICLR 2022): sparse networks that change their connections."""

from dataclasses import dataclass
from typing import ClassVar, Self, cast

from torch import nn

from baselines.shared.dynamic_sparsity import explore, keep_sparse, sparsify, update_due
from nfe.backbones import Architecture
from nfe.common.seeds import derive
from nfe.method import (
    SGD,
    Context,
    Method,
    Recipe,
    SequentialMembers,
    Step,
    check_number,
    check_whole,
)


@dataclass(frozen=True)
class Dst(Method):
    """M sparse networks, each trained alone for the run's epochs, with connections that change.

    Attributes:
        members: number of networks M.
        sparsity: share of the convolution weights that are absent at any time.
        drop: share of a layer's connections that an update replaces.
        interval: time between updates: below 1 a share of a network's training, else steps.
    """

    capturable: ClassVar = True
    published: ClassVar = {
        "batch_size": 128,
        "epochs": 250,
        "nesterov": False,
        "schedule": "step",
        "milestones": (125 / 250, 187 / 250),
        "decay": 0.1,
    }
    published_settings: ClassVar = {"interval": 1000}

    members: int = 3
    sparsity: float = 0.8
    drop: float = 0.5
    interval: float = 0.01

    def resolved(self, architecture: Architecture) -> Self:
        """Check the settings."""
        check_whole("members", self.members)
        check_number("sparsity", self.sparsity, above=0, below=1)
        check_number("drop", self.drop, above=0, below=1)
        check_number("interval", self.interval, above=0)
        return self

    def trainings(self) -> int:
        """Return M: each network takes the run's epochs."""
        return self.members

    def network(self, context: Context) -> nn.Module:
        """Return M sparse networks with other weights and connections."""
        return SequentialMembers(
            [
                sparsify(context.backbone(), self.sparsity, derive(context.seed, "ticket", number))
                for number in range(self.members)
            ]
        )

    def member(self, step: Step) -> tuple[int, Step]:
        """Return the number of the network in training, and the moment in its training."""
        each = step.steps // self.members
        return step.phase([each * k for k in range(1, self.members + 1)])

    def learning_rate(self, recipe: Recipe, step: Step) -> float:
        """Return the recipe's rate at the moment in the network's own training."""
        return super().learning_rate(recipe, self.member(step)[1])

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Train the network whose turn it is."""
        cast(SequentialMembers, network).active, _ = self.member(step)

    def after_step(self, network: nn.Module, optimizer: SGD, step: Step) -> None:
        """Keep the network sparse; at times drop and grow connections."""
        number, own = self.member(step)
        present = cast(SequentialMembers, network).members[number]
        keep_sparse(present, optimizer)
        if update_due(self.interval, own, own):
            explore(present, optimizer, self.drop)
