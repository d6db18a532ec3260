"""Any staged network that the rules know → a compact multi-exit network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import fx, nn

from nfe.backbones import Backbone
from nfe.common.errors import InputError
from nfe.splitting.compact.block_rules import block_rule
from nfe.splitting.compact.chain_rules import Walk, begins_with_lead, chain, roles
from nfe.splitting.compact.channel_blocks import Block, Division, union
from nfe.splitting.compact.network import CompactNetwork
from nfe.splitting.compact.path_stage import PathStage
from nfe.splitting.compact.segments import Fork, Lead
from nfe.splitting.compact.slices import own, rows
from nfe.splitting.grouping import alive


@dataclass(frozen=True)
class Compact:
    """How a network is made compact.

    Attributes:
        exit_stages: after which stage each exit's path but the final one leaves the trunk.
        ratio: the share of each exit.
        unit: channels of a unit, see ``nfe.splitting.compact.channel_blocks.Division``.
        shared_norm: in pre-activation networks, whether paths that leave from one tensor share
            the norm and the convolution that read it.
    """

    exit_stages: tuple[int, ...]
    ratio: tuple[float, ...]
    unit: int = 16
    shared_norm: bool = True

    def division(self, stage: int) -> Division:
        """Return how a stage (from 0) is divided."""
        return Division(tuple(alive(stage + 1, self.exit_stages)), self.ratio, self.unit)

    def forking(self, stage: int) -> list[int]:
        """Return the paths that read the trunk's tensor in a stage (from 0)."""
        joining = [k for k, leaves in enumerate(self.exit_stages, start=1) if leaves == stage]
        return [*joining, len(self.exit_stages) + 1]


def compact(network: Backbone, how: Compact) -> CompactNetwork:
    """Return a network's weights divided over paths in small dense layers.

    Args:
        network: stem, stages and head; it is left as it is.
        how: the paths and their shares.

    Raises:
        InputError: no rule knows a layer, or one is too narrow for its paths.
    """
    listed = [flat(stage) for stage in network.stages]
    stages = [PathStage({len(how.exit_stages) + 1: own(network.stages[0])})]
    walks: dict[int, Walk] = {}
    covered = range(0)
    for number in range(1, len(listed)):
        division = how.division(number)
        if len(division.paths) == 1:
            stages.append(PathStage({division.paths[0]: own(network.stages[number])}))
            continue
        made = _residual_stage(listed[number], number, how)
        if made is None:
            if number not in covered:
                covered = _run(listed, number, how)
                walks = _walks(listed, covered, how)
            made = _chain_stage(listed[number], number, how, walks)
        stages.append(made)
    return CompactNetwork(
        own(network.stem), stages, _heads(network.head, how), how.exit_stages, how.ratio
    )


def flat(part: nn.Module) -> list[nn.Module] | None:
    """Return a part as modules called one after the other; None where it is more than that."""
    if isinstance(part, fx.GraphModule):
        return _flat_graph(part)
    if not isinstance(part, nn.Sequential):
        return [part]
    nested = [flat(layer) if type(layer) is nn.Sequential else [layer] for layer in part]
    return [layer for layers in nested for layer in layers or []]


def _flat_graph(part: fx.GraphModule) -> list[nn.Module] | None:
    made: list[nn.Module] = []
    before, *nodes = part.graph.nodes
    for node in nodes[:-1]:
        if node.all_input_nodes != [before]:
            return None
        if node.op == "call_module":
            made += flat(part.get_submodule(str(node.target))) or []
        elif node.op == "call_function" and node.target is torch.flatten and node.args[1:] == (1,):
            made.append(nn.Flatten())
        else:
            return None
        before = node
    return made


def _residual_stage(blocks: list[nn.Module] | None, number: int, how: Compact) -> PathStage | None:
    """Return a stage of residual blocks divided; None where it has other layers."""
    division = how.division(number)
    found = [
        block_rule(block, f"stages.{number}.{index}", division, index)
        for index, block in enumerate(blocks or [])
    ]
    rules = [rule for rule in found if rule is not None]
    if not rules or len(rules) < len(found):
        return None
    paths = {k: nn.Sequential(*(rule.segment(k) for rule in rules)) for k in division.paths}
    first = rules[0]
    is_shared = how.shared_norm or first.lead(first.inner[division.paths[-1]]).before is None
    joining = how.forking(number)
    if len(joining) < 2 or not is_shared:
        return PathStage(paths)
    lead = first.lead(union([first.inner[k] for k in joining]))
    return _forked(paths, lead, {k: first.inner[k] for k in joining})


def _forked(paths: dict[int, nn.Sequential], lead: Lead, inner: dict[int, Block]) -> PathStage:
    """Return a stage in which some paths share a lead instead of having their own."""
    offset = min(block.start for block in inner.values())
    for path in inner:
        paths[path][0].lead = None  # type: ignore[assignment]
    blocks = {k: Block(block.start - offset, block.length) for k, block in inner.items()}
    return PathStage(paths, Fork(lead, blocks))


def _weighted(layers: list[nn.Module] | None) -> int:
    """Return how many layers of a chain are divided."""
    return sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in layers or [])


def _run(listed: Sequence[list[nn.Module] | None], first: int, how: Compact) -> range:
    """Return the stages of plain layers from ``first`` on that the same paths cross."""
    stop, paths = first + 1, how.division(first).paths
    while stop < len(listed) and how.division(stop).paths == paths and _weighted(listed[stop]):
        stop += 1
    return range(first, stop)


def _walks(listed: Sequence[list[nn.Module] | None], run: range, how: Compact) -> dict[int, Walk]:
    """Return a walk for each path through a run of stages."""
    division = how.division(run.start)
    turns = roles(sum(_weighted(listed[n]) for n in run))
    return {path: Walk(path, division, iter(turns)) for path in division.paths}


def _chain_stage(
    layers: list[nn.Module] | None, number: int, how: Compact, walks: dict[int, Walk]
) -> PathStage:
    """Return a stage of plain layers divided.

    Raises:
        InputError: its layers do not follow one another, or there is no rule for one.
    """
    if layers is None:
        raise InputError(
            f"granularity 'alternating' has no rule for stage {number + 1}, whose layers do not "
            f"follow one another: allowed: another granularity"
        )
    names = [f"stages.{number}.{index}" for index in range(len(layers))]
    paths: dict[int, nn.Sequential] = {}
    for path, walk in walks.items():
        parts = [walk.layer(layer, name) for layer, name in zip(layers, names, strict=True)]
        paths[path] = nn.Sequential(*parts)
    joining = how.forking(number)
    if len(joining) < 2 or not begins_with_lead(list(paths[joining[0]])):
        return PathStage(paths)
    conv, norm = cast(nn.Conv2d, layers[0]), cast(nn.BatchNorm2d, layers[1])
    inner = how.division(number).blocks(conv.out_channels, names[0])
    whole = union([inner[k] for k in joining])
    for k in joining:
        paths[k] = nn.Sequential(chain(list(paths[k])))
    return _forked(
        paths, Lead(rows(conv, whole), rows(norm, whole)), {k: inner[k] for k in joining}
    )


def _heads(head: nn.Module, how: Compact) -> list[nn.Module]:
    """Return a head for each exit: hidden layers in turns, the last linear layer whole."""
    exits = range(1, len(how.exit_stages) + 2)
    layers = flat(head)
    linear = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    if len(linear) < 2 or len(exits) == 1:
        return [own(head) for _ in exits]
    if layers is None or any(layer not in layers for layer in linear):
        raise InputError(
            "granularity 'alternating' has no rule for this head, whose layers do not follow "
            "one another: allowed: another granularity"
        )
    division = Division(tuple(exits), how.ratio, how.unit)
    return [
        _head(layers, linear[-1], Walk(k, division, iter(roles(len(linear) - 1)))) for k in exits
    ]


def _head(layers: Sequence[nn.Module], last: nn.Module, walk: Walk) -> nn.Module:
    parts: Iterator[nn.Module] = (
        own(layer) if layer is last else walk.layer(layer, f"head.{index}")
        for index, layer in enumerate(layers)
    )
    return nn.Sequential(*parts)
