"""The single network: the backbone, trained with the recipe as it is."""

from torch import nn

from baselines.settings.single import SingleSettings
from nfe.method import Context, Members, Method


class Single(SingleSettings, Method):
    """One backbone, cross-entropy."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone."""
        return Members(context.backbone())
