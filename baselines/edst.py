"""FreeTickets by EDST (Liu et al., ICLR 2022): several sparse networks along one training."""

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
class Edst(Method):
    """One sparse network that explores, then is refined to a ticket, leaves it, and so on.

    Attributes:
        members: number of tickets M.
        sparsity: share of the convolution weights that are absent at any time.
        exploration: share of the run before the first ticket's refinement; the tickets share
            the rest evenly.
        drop: share of a layer's connections that an update replaces.
        escape: the same between two tickets.
        interval: time between updates: below 1 a share of the run, else steps.
    """

    capturable: ClassVar = True
    published: ClassVar = {"batch_size": 128, "epochs": 450, "nesterov": False}
    published_settings: ClassVar = {"interval": 1000}

    members: int = 3
    sparsity: float = 0.8
    exploration: float = 1 / 3
    drop: float = 0.5
    escape: float = 0.8
    interval: float = 0.01

    def resolved(self, architecture: Architecture) -> Self:
        """Check the settings."""
        check_whole("members", self.members)
        for name in ("sparsity", "exploration", "drop", "escape"):
            check_number(name, getattr(self, name), above=0, below=1)
        check_number("interval", self.interval, above=0)
        return self

    def network(self, context: Context) -> nn.Module:
        """Return places for M tickets, the first of them the network that training begins with.

        The others are overwritten when their refinement begins.
        """
        seed = derive(context.seed, "ticket", 0)
        tickets = [context.backbone() for _ in range(self.members)]
        return SequentialMembers([sparsify(ticket, self.sparsity, seed) for ticket in tickets])

    def ticket(self, step: Step) -> tuple[int, Step]:
        """Return the number of the ticket on its way, and the moment on this way.

        The first one's includes the exploration.
        """
        each = (1 - self.exploration) / self.members
        shares = [self.exploration + each, *[each] * (self.members - 1)]
        return step.phase(step.ends(shares))

    def learning_rate(self, recipe: Recipe, step: Step) -> float:
        """Return the base rate in the exploration; then a tenth, a hundredth, for each ticket."""
        half = (1 - self.exploration) / self.members / 2
        phase, _ = step.phase(step.ends([self.exploration, *[half] * 2 * self.members]))
        if phase == 0:
            return recipe.lr
        return recipe.lr * (0.1 if phase % 2 else 0.01)

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Train the ticket whose turn it is."""
        cast(SequentialMembers, network).active, _ = self.ticket(step)

    def after_step(self, network: nn.Module, optimizer: SGD, step: Step) -> None:
        """Keep the network sparse; at times change connections, most of all between tickets."""
        tickets = cast(SequentialMembers, network)
        number, own = self.ticket(step)
        keep_sparse(tickets.members[number], optimizer)
        if update_due(self.interval, step, own):
            explore(tickets.members[number], optimizer, self.drop)
        if own.is_last and not step.is_last:
            tickets.hand_over(optimizer)
            explore(tickets.members[number + 1], optimizer, self.escape)
