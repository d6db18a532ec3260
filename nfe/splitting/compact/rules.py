"""Any staged network → a compact multi-exit network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from nfe.backbones import Backbone
from nfe.splitting.compact.chain_rules import Walk, roles
from nfe.splitting.compact.channel_blocks import Division
from nfe.splitting.compact.flat import flat
from nfe.splitting.compact.network import CompactNetwork
from nfe.splitting.compact.no_rule import NoRule
from nfe.splitting.compact.slices import own
from nfe.splitting.compact.stage_rules import Stages
from nfe.splitting.compact.unstructured import Unstructured
from nfe.splitting.grouping import Plan, alive


@dataclass(frozen=True)
class Compact:
    """How a network is made compact.

    Attributes:
        exit_stages: after which stage each exit's path but the final one leaves the trunk.
        ratio: the share of each exit.
        unit: channels of a unit, see ``nfe.splitting.compact.channel_blocks.Division``.
        shared_norm: in pre-activation networks, whether paths that leave from one tensor share
            the norm and the convolution that read it.
        seed: seed of the grouping streams, for the parts without a rule.
    """

    exit_stages: tuple[int, ...]
    ratio: tuple[float, ...]
    unit: int = 16
    shared_norm: bool = True
    seed: int = 0

    def division(self, stage: int) -> Division:
        """Return how a stage (from 0) is divided."""
        return Division(tuple(alive(stage + 1, self.exit_stages)), self.ratio, self.unit)

    def forking(self, stage: int) -> list[int]:
        """Return the paths that read the trunk's tensor in a stage (from 0)."""
        joining = [k for k, leaves in enumerate(self.exit_stages, start=1) if leaves == stage]
        return [*joining, len(self.exit_stages) + 1]


def compact(
    network: Backbone, how: Compact, masks: Mapping[str, Tensor] | None = None
) -> CompactNetwork:
    """Return a network's weights divided over paths in small dense layers.

    Parts that no rule divides have their weights divided one by one.

    Args:
        network: stem, stages and head; it is left as it is.
        how: the paths and their shares.
        masks: bool, by layer name: the surviving weights of layers that no rule divides.

    Raises:
        InputError: a layer is too narrow for its paths.
    """
    rest = Unstructured(network, masks or {}, Plan(how.ratio, seed=how.seed))
    stages = Stages(network, how, rest).divided()
    heads = _heads(network.head, how, rest)
    parts = (own(network.stem), stages, heads)
    return CompactNetwork(*parts, how.exit_stages, how.ratio, rest.weights, rest.reasons)


def _heads(head: nn.Module, how: Compact, rest: Unstructured) -> list[nn.Module]:
    """Return a head for each exit: hidden layers in turns, the last linear layer whole."""
    exits = range(1, len(how.exit_stages) + 2)
    linear = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    if len(linear) < 2 or len(exits) == 1:
        return [own(head) for _ in exits]
    division = Division(tuple(exits), how.ratio, how.unit)
    try:
        return [_head(head, linear, Walk(k, division, iter(roles(len(linear) - 1)))) for k in exits]
    except NoRule as reason:
        return list(rest.divide(head, exits, str(reason)).values())


def _head(head: nn.Module, linear: Sequence[nn.Linear], walk: Walk) -> nn.Module:
    layers = flat(head)
    if layers is None or any(layer not in layers for layer in linear):
        raise NoRule("the head's layers do not follow one another")
    parts: Iterator[nn.Module] = (
        own(layer) if layer is linear[-1] else walk.layer(layer, f"head.{index}")
        for index, layer in enumerate(layers)
    )
    return nn.Sequential(*parts)
