"""FreeTickets by EDST (Liu et al., ICLR 2022): several sparse networks along one training."""

from typing import cast

from torch import nn

from baselines.settings.edst import EdstSettings
from baselines.shared.dynamic_sparsity import explore, keep_sparse, sparsify, update_due
from nfe.common.seeds import derive
from nfe.method import (
    Context,
    Method,
    Optimizer,
    Phases,
    Recipe,
    SequentialMembers,
    Step,
)


class Edst(EdstSettings, Phases, Method):
    """One sparse network that explores, then is refined to a ticket, leaves it, and so on."""

    capturable = True

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

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Keep the network sparse; at times change connections, most of all between tickets."""
        tickets = cast(SequentialMembers, network)
        number, own = self.ticket(step)
        keep_sparse(tickets.members[number], optimizer)
        if update_due(self.interval, step, own):
            explore(tickets.members[number], optimizer, self.drop)
        if own.is_last and not step.is_last:
            tickets.hand_over(optimizer)
            explore(tickets.members[number + 1], optimizer, self.escape)
