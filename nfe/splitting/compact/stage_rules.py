"""How the stages of a network are divided over paths in compact fission."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Protocol, cast

from torch import nn

from nfe.backbones import Backbone
from nfe.splitting.compact.block_rules import Rule, block_rule
from nfe.splitting.compact.chain_rules import Walk, begins_with_lead, chain, roles
from nfe.splitting.compact.channel_blocks import Block, Division, union
from nfe.splitting.compact.flat import flat
from nfe.splitting.compact.library_rules import library_rule
from nfe.splitting.compact.no_rule import NoRule
from nfe.splitting.compact.path_stage import PathStage
from nfe.splitting.compact.segments import Fork, Lead
from nfe.splitting.compact.slices import own, rows
from nfe.splitting.compact.unstructured import Unstructured


class Paths(Protocol):
    """Which paths cross and enter each stage, see ``nfe.splitting.compact.rules.Compact``."""

    @property
    def shared_norm(self) -> bool:
        """Whether paths that leave from one tensor share a norm in front."""

    def division(self, stage: int) -> Division:
        """Return how a stage (from 0) is divided."""

    def forking(self, stage: int) -> list[int]:
        """Return the paths that read the trunk's tensor in a stage (from 0)."""


class Stages:
    """Divides a network's stages, by the rules for what they hold."""

    def __init__(self, network: Backbone, how: Paths, rest: Unstructured) -> None:
        """Prepare for ``network``; ``rest`` divides what has no rule."""
        self._stages = list(network.stages)
        self._listed = [flat(stage) for stage in network.stages]
        self._names: dict[int, str] = {id(part): name for name, part in network.named_modules()}
        self._how = how
        self._rest = rest

    def divided(self) -> list[PathStage]:
        """Return the stages.

        Raises:
            InputError: a layer is too narrow for its paths.
        """
        made: dict[int, PathStage] = {}
        for number in range(len(self._stages)):
            if number not in made:
                made |= self._beginning_with(number)
        return [made[number] for number in range(len(self._stages))]

    def _beginning_with(self, number: int) -> dict[int, PathStage]:
        """Return a stage, with all others that form one chain with it."""
        paths, listed = self._how.division(number).paths, self._listed[number]
        if len(paths) == 1:
            return {number: PathStage({paths[0]: own(self._stages[number])})}
        if listed is None:
            return {number: self._unruled(number, "its layers do not follow one another")}
        found = self._rules(number, listed)
        rules = [rule for rule in found if isinstance(rule, Rule)]
        if rules and len(rules) == len(found):
            return {number: self._residual(number, rules)}
        if any(found):
            return {number: self._mixed(number, listed, found)}
        return self._chains(number)

    def _unruled(self, number: int, reason: str) -> PathStage:
        paths = self._how.division(number).paths
        return PathStage(self._rest.divide(self._stages[number], paths, reason))

    def _name(self, layer: nn.Module, number: int, index: int) -> str:
        # What stands for a function of the traced network has no name there.
        return self._names.get(id(layer), f"stages.{number}.{index}")

    def _rules(self, number: int, layers: Sequence[nn.Module]) -> list[Rule | NoRule | None]:
        """Return for each layer its rule as a block; None where it is none."""
        division = self._how.division(number)
        found: list[Rule | NoRule | None] = []
        for index, layer in enumerate(layers):
            name = self._name(layer, number, index)
            try:
                rule = block_rule(layer, name, division, index)
                found.append(rule or library_rule(layer, name, division))
            except NoRule as reason:
                found.append(reason)
        return found

    def _residual(self, number: int, rules: Sequence[Rule]) -> PathStage:
        """Return a stage of residual blocks."""
        division = self._how.division(number)
        paths = {k: nn.Sequential(*(rule.segment(k) for rule in rules)) for k in division.paths}
        first = rules[0]
        joining = self._how.forking(number)
        if len(joining) < 2 or first.lead is None:
            return PathStage(paths)
        before = first.lead(first.inner[division.paths[-1]]).before
        if before is not None and not self._how.shared_norm:
            return PathStage(paths)
        lead = first.lead(union([first.inner[k] for k in joining]))
        return _forked(paths, lead, {k: first.inner[k] for k in joining})

    def _mixed(
        self, number: int, layers: Sequence[nn.Module], found: Sequence[Rule | NoRule | None]
    ) -> PathStage:
        """Return a stage of residual blocks, chains of plain layers, and what has no rule."""
        division = self._how.division(number)
        paths: dict[int, list[nn.Module]] = {path: [] for path in division.paths}
        pairs = list(zip(layers, found, strict=True))
        for is_plain, group in groupby(pairs, key=lambda pair: pair[1] is None):
            some = list(group)
            parts = (
                self._plain(number, [layer for layer, _ in some], division)
                if is_plain
                else self._blocks(some, division)
            )
            for path, made in parts.items():
                paths[path] += made
        return PathStage({path: nn.Sequential(*made) for path, made in paths.items()})

    def _blocks(
        self, some: Sequence[tuple[nn.Module, Rule | NoRule | None]], division: Division
    ) -> dict[int, list[nn.Module]]:
        made = [
            {path: rule.segment(path) for path in division.paths}
            if isinstance(rule, Rule)
            else self._rest.divide(block, division.paths, str(rule))
            for block, rule in some
        ]
        return {path: [parts[path] for parts in made] for path in division.paths}

    def _plain(
        self, number: int, layers: Sequence[nn.Module], division: Division
    ) -> dict[int, list[nn.Module]]:
        turns = roles(_weighted(layers))
        try:
            walks = [Walk(path, division, iter(turns)) for path in division.paths]
            return {walk.path: self._walked(number, layers, walk) for walk in walks}
        except NoRule as reason:
            made = [self._rest.divide(part, division.paths, str(reason)) for part in layers]
            return {path: [parts[path] for parts in made] for path in division.paths}

    def _walked(self, number: int, layers: Sequence[nn.Module], walk: Walk) -> list[nn.Module]:
        named = [(layer, self._name(layer, number, i)) for i, layer in enumerate(layers)]
        return [walk.layer(layer, name) for layer, name in named]

    def _chains(self, first: int) -> dict[int, PathStage]:
        """Return the stages of plain layers from ``first`` on that the same paths cross."""
        run = list(self._run(first))
        division = self._how.division(first)
        turns = roles(sum(_weighted(self._listed[n] or []) for n in run))
        walks = {path: Walk(path, division, iter(turns)) for path in division.paths}
        try:
            return {number: self._chain(number, walks) for number in run}
        except NoRule as reason:
            return {number: self._unruled(number, str(reason)) for number in run}

    def _run(self, first: int) -> Iterator[int]:
        paths = self._how.division(first).paths
        for number in range(first, len(self._listed)):
            layers = self._listed[number]
            joined = layers is not None and self._how.division(number).paths == paths
            if number > first and not (joined and self._is_chain(number)):
                return
            yield number

    def _is_chain(self, number: int) -> bool:
        layers = self._listed[number] or []
        return _weighted(layers) > 0 and not any(self._rules(number, layers))

    def _chain(self, number: int, walks: Mapping[int, Walk]) -> PathStage:
        layers = self._listed[number] or []
        made = {path: self._walked(number, layers, walk) for path, walk in walks.items()}
        paths = {path: nn.Sequential(*parts) for path, parts in made.items()}
        joining = self._how.forking(number)
        if len(joining) < 2 or not begins_with_lead(made[joining[0]]):
            return PathStage(paths)
        conv, norm = cast(nn.Conv2d, layers[0]), cast(nn.BatchNorm2d, layers[1])
        name = self._name(conv, number, 0)
        inner = self._how.division(number).blocks(conv.out_channels, name)
        whole = union([inner[k] for k in joining])
        for k in joining:
            paths[k] = nn.Sequential(chain(made[k]))
        return _forked(
            paths, Lead(rows(conv, whole), rows(norm, whole)), {k: inner[k] for k in joining}
        )


def _forked(paths: dict[int, nn.Sequential], lead: Lead, inner: dict[int, Block]) -> PathStage:
    """Return a stage in which some paths share a lead instead of having their own."""
    offset = min(block.start for block in inner.values())
    for path in inner:
        paths[path][0].lead = None  # type: ignore[assignment]
    blocks = {k: Block(block.start - offset, block.length) for k, block in inner.items()}
    return PathStage(paths, Fork(lead, blocks))


def _weighted(layers: Sequence[nn.Module]) -> int:
    """Return how many layers of a chain are divided."""
    return sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in layers)
