"""FreeTickets by DST (Liu et al., ICLR 2022): sparse networks that change their connections."""

from typing import cast

from torch import nn

from baselines.settings.dst import DstSettings
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


class Dst(DstSettings, Phases, Method):
    """M sparse networks, each trained alone for the run's epochs, with connections that change."""

    capturable = True

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

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Keep the network sparse; at times drop and grow connections."""
        networks = cast(SequentialMembers, network)
        number, own = self.member(step)
        keep_sparse(networks.members[number], optimizer)
        if update_due(self.interval, own, own):
            explore(networks.members[number], optimizer, self.drop)
        if own.is_last:
            networks.finish(optimizer)
