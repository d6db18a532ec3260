"""Prune and Tune Ensembles (Whitaker & Whitley, AAAI 2022): children pruned out of one parent."""

from functools import partial

from torch import nn

from baselines.settings.prune_and_tune import PruneAndTuneSettings
from baselines.shared.children import MaskedFamily, ParentThenChildren, half
from nfe.method import Context, Method


class PruneAndTune(PruneAndTuneSettings, ParentThenChildren, Method):
    """A parent, and M children that keep half of its weights each and are tuned briefly."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return M masked children; the parent is trained in the first one's place."""
        children = [context.backbone() for _ in range(self.members)]
        return MaskedFamily(children, partial(half, seed=context.seed))
