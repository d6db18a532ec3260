"""Network fission: one network → a multi-exit network on disjoint groups of its weights.

Lee & Lee, arXiv 2408.02301. A fissioned network holds each original weight once, with a uint8
tensor that says which path each weight belongs to (0: pruned). A path computes with
``weight * (group == path)``, so parameters, gradients and optimizer state stay at one
network's size whatever the number of exits, and pruned and foreign weights are exactly zero
for a path.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from nfe import pruning as pruners
from nfe.backbones import Backbone
from nfe.backbones.stages import staged
from nfe.splitting import choices
from nfe.splitting import grouping as groups
from nfe.splitting import layers as kinds
from nfe.splitting.compact.channel_pruning import without_channels
from nfe.splitting.compact.pruning import pruned_compact
from nfe.splitting.compact.rules import Compact, compact
from nfe.splitting.exit_network import ExitNetwork
from nfe.splitting.faithful import check_faithful
from nfe.splitting.inputs import check_example
from nfe.splitting.path_layers import SplitWeight, for_path, stand_alone
from nfe.splitting.plain import kept_pruned, plain_copy
from nfe.splitting.selection import selected_at_once


class FissionNetwork(ExitNetwork):
    """A multi-exit network on grouped weights; build it with ``fission``.

    See ``nfe.splitting.exit_network.ExitNetwork`` for what it shares with the compact form.

    Exits are computed one after the other, so random layers (dropout, stochastic depth) draw
    as a dense network of separate paths does that computes exit 1's path, then exit 2's, …,
    each trunk stage once, just before the first exit that needs it.
    """

    def __init__(
        self,
        network: Backbone,
        assigned: Mapping[str, Tensor],
        exit_stages: Sequence[int],
        ratio: Sequence[float],
    ) -> None:
        super().__init__(exit_stages, ratio)
        weights = {n: cast(nn.Parameter, network.get_submodule(n).weight) for n in assigned}
        self.weights = nn.ModuleDict(
            {n.replace(".", "/"): SplitWeight(weights[n], g) for n, g in assigned.items()}
        )
        splits = {
            cast(SplitWeight, split).weight: (name, cast(SplitWeight, split))
            for name, split in self.weights.items()
        }
        self.stem = for_path(network.stem, splits, self.exits)
        self.stages = nn.ModuleList(
            nn.ModuleDict(
                {
                    str(path): for_path(stage, splits, path)
                    for path in groups.alive(number, self.exit_stages)
                }
            )
            for number, stage in enumerate(network.stages, start=1)
        )
        self.heads = nn.ModuleList(
            for_path(network.head, splits, path) for path in range(1, self.exits + 1)
        )

    def along(self, path: int, features: Tensor, start: int, stop: int) -> Tensor:
        """Take features through stages ``start`` + 1 to ``stop`` of one path."""
        for number in range(start, stop):
            features = cast(nn.ModuleDict, self.stages[number])[str(path)](features)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, h, w) to logits (batch, exits, classes), exit 1 first."""
        splits = [cast(SplitWeight, split) for split in self.weights.values()]
        with selected_at_once(splits, self.exits):
            trunk, done, logits = self.stem(x), 0, []
            for path in range(1, self.exits + 1):
                trunk = self.along(self.exits, trunk, done, self.leaves(path))
                done = self.leaves(path)
                logits.append(self.branch(path, trunk))
        return torch.stack(logits, dim=1)

    def materialized(self) -> Self:
        """Return a copy in which every path has ordinary weights, zeros included, of its own.

        For tools that take the network apart, such as exporters: the same logits, but the
        size of all paths; trained further, it is no longer one network's weights.
        """
        dense = stand_alone(self)
        dense.weights = nn.ModuleDict()
        return dense

    def member(self, path: int) -> Backbone:
        """Return one exit as a stand-alone network, foreign and pruned weights as zeros."""
        parts = [
            stand_alone(cast(nn.ModuleDict, paths)[str(self.in_stage(path, number))])
            for number, paths in enumerate(self.stages)
        ]
        return Backbone(stand_alone(self.stem), parts, stand_alone(self.heads[path - 1]))


def fission(
    model: nn.Module,
    exits: int,
    *,
    sparsity: float = 0.0,
    pruning: str = "none",
    ratio: Sequence[float] | None = None,
    exit_stages: Sequence[int] | None = None,
    grouping: str = "tensor",
    granularity: str = "weight",
    scope: str = "global",
    whole: Sequence[str] = (),
    stages: Sequence[str] | None = None,
    example: tuple[Tensor, Tensor] | None = None,
    seed: int = 0,
    unit: int = 16,
    shared_norm: bool = True,
    prune_channels: bool = False,
) -> ExitNetwork:
    """Split a network into ``exits`` paths on disjoint groups of its weights.

    The model is left as it is; nothing is drawn anew, so a trained model keeps its weights.
    Divided are the convolutions and linear layers of the stages over the paths alive there,
    and the head's but its classifier over all paths (the last linear layer, or the last
    convolution of a head without one); each path has the classifier, norms, biases and all else
    for itself. Parametrized weights are computed once and plain from then on; what
    ``nfe.prune`` pruned stays pruned.

    Args:
        model: a network with ``stem``, ``stages`` and ``head``, a torchvision classifier, or
            any module together with ``stages``.
        exits: number of exits N, 1 to the number of stages; 1 only prunes. More only by
            ``exit_stages`` that repeat a stage.
        sparsity: share of the weights of stem and stages to prune first, in [0, 1).
        pruning: a name from ``nfe.pruning.names()``.
        ratio: share of each exit, exit 1 first, summing to 1 (default: even).
        exit_stages: after which stage each exit's path but the final one leaves the trunk,
            ascending (default: exit i's after stage i).
        grouping: ``"tensor"`` divides every weight tensor by the ratio, ``"stage"`` divides
            all weights of a stage as one.
        granularity: what goes to a path as a whole: a ``"weight"``, ``"kernel"``,
            ``"input_channel"`` or ``"output_filter"``; or ``"2:4"`` (two even paths): of every
            4 consecutive input channels each path gets at most two; layers whose inputs per
            group are no multiple of 4, depthwise ones among them, by ``"weight"``; or
            ``"alternating"``: contiguous channels, rows of one layer and columns of the next
            (see ``nfe.splitting.compact.rules``), each path's executed as small dense layers.
        scope: where the sparsity is met: ``"global"`` or in each ``"layer"``.
        whole: kinds of layers (``nfe.splitting.choices.KINDS``) neither pruned nor divided: every
            path has a full copy of its own. ``"other"`` are layers that cannot be divided
            (transposed convolutions, attention's joint projection, …), refused without it.
        stages: names of the modules that begin a stage (see ``nfe.backbones.stages.staged``).
        example: images (batch, channels, h, w) and labels (batch,), for pruning by data.
        seed: seed of the pruning and grouping streams.
        unit: with ``alternating``: channels that go to a path as a whole (fewer where a layer
            is too narrow, see ``nfe.splitting.compact.channel_blocks.Division``).
        shared_norm: with ``alternating``, in pre-activation networks: whether paths that leave
            from one tensor share the norm and the convolution that read it.
        prune_channels: with ``alternating`` and scope ``"layer"``: prune whole inner channels of
            residual blocks, by the sum of their weights' scores (see
            ``nfe.splitting.compact.channel_pruning``), in place of single weights.

    Returns:
        The multi-exit network; logits are (batch, exits, classes). A ``CompactNetwork`` with
        ``alternating``, else a ``FissionNetwork``.

    Raises:
        InputError: an argument is not allowed, the model cannot be split into stages, the
            example shows a module that cannot take it or that is called twice, or with one exit
            and nothing pruned the parts would give other logits than the model.
        CollapseError: a layer would be left without a weight on some path.
    """
    choices.check_exits(exits)
    example = pruners.as_example(example)
    plain, kept = plain_copy(model)
    network = staged(plain, stages)
    leave = tuple(exit_stages) if exit_stages is not None else choices.default_exit_stages(exits)
    choices.check_exit_stages(leave, exits, len(network.stages))
    share = tuple(ratio) if ratio is not None else (1 / exits,) * exits
    choices.check_ratio(share, exits)
    plan = groups.Plan(share, grouping, granularity, seed)
    choices.check_kept_whole(whole)
    choices.check_compact(granularity, whole, unit, prune_channels, scope)
    if example is not None:
        check_example(copy.deepcopy(model), *example)
    kinds.check_divisible(network, whole)
    pruned, hidden = kinds.pruned_layers(network, whole), kinds.head_layers(network, whole)
    survivors = kept_pruned(pruned | hidden, kept, sparsity)
    # Our own backbones are their parts by construction.
    if type(model) is not Backbone:
        images = None if example is None else example[0]
        whole_network = _undivided(network, pruned | hidden)
        check_faithful(copy.deepcopy(model), whole_network, images, traced=stages is not None)
    how = Compact(leave, share, unit, shared_norm, seed)
    if prune_channels and sparsity > 0:
        found = pruners.weight_scores(network, pruning, example, seed, layers=pruned)
        network = without_channels(network, found, sparsity, exits)
        return compact(network, how)
    masks = pruners.masks(network, pruning, sparsity, example, seed, scope=scope, layers=pruned)
    if granularity == "alternating":
        masks |= {name: mask for name, mask in survivors.items() if name in pruned}
        is_pruned = sparsity > 0 or bool(survivors)
        return pruned_compact(network, masks, how) if is_pruned else compact(network, how)
    return divided(network, masks | pruners.everything(hidden) | survivors, leave, plan)


def _undivided(network: Backbone, layers: Mapping[str, nn.Module]) -> FissionNetwork:
    """Return a network with one exit and nothing pruned, its weights those of ``network``."""
    every = {n: mask.to(torch.uint8) for n, mask in pruners.everything(layers).items()}
    return FissionNetwork(network, every, (), (1.0,))


def divided(
    network: Backbone, masks: Mapping[str, Tensor], exit_stages: Sequence[int], plan: groups.Plan
) -> FissionNetwork:
    """Return a network's surviving weights divided over paths: ``fission`` after pruning.

    Args:
        network: stem, stages and head; its weights become the fissioned network's.
        masks: bool, the surviving weights of each layer to divide, by name. Layers that are
            not named are copied for every path.
        exit_stages: after which stage each exit's path but the final one leaves the trunk.
        plan: how the weights are divided.

    Raises:
        CollapseError: a layer would be left without a weight on some path.
    """
    assigned: dict[str, Tensor] = {}
    for section, paths in _sections(exit_stages, len(network.stages)):
        assigned |= plan.divide_part(network, section, masks, paths)
    return FissionNetwork(network, assigned, exit_stages, plan.ratio)


def _sections(exit_stages: Sequence[int], stages: int) -> list[tuple[str, list[int]]]:
    """Return the parts of a network and the paths that cross each."""
    exits = len(exit_stages) + 1
    crossed = [(f"stages.{i}", groups.alive(i + 1, exit_stages)) for i in range(stages)]
    return [("stem", [exits]), *crossed, ("head", list(range(1, exits + 1)))]
