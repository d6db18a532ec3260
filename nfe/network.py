"""Network fission: one network → a multi-exit network on disjoint groups of its weights.

Lee & Lee, arXiv 2408.02301. A fissioned network holds each original convolution weight once,
with a uint8 tensor that says which path each weight belongs to (0: pruned). A path computes
with ``weight * (group == path)``, so parameters, gradients and optimizer state stay at one
network's size whatever the number of exits, and pruned and foreign weights are exactly zero
for a path.
"""

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from nfe import grouping as groups
from nfe import pruning as pruners
from nfe.engine.errors import CollapseError, InputError, unknown
from nfe.engine.seeds import generator

GROUPINGS = ("tensor", "stage")


class SplitWeight(nn.Module):
    """One weight tensor divided over paths.

    Attributes:
        weight: the dense parameter; pruned entries are zero and stay zero.
        group: uint8, the number of the path that owns each weight, 0 where pruned.
    """

    group: Tensor

    def __init__(self, weight: nn.Parameter, group: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("group", group)
        with torch.no_grad():
            self.weight.masked_fill_(group == groups.PRUNED, 0)

    def select(self, path: int) -> Tensor:
        """Return the weight as ``path`` sees it: its own group, zero elsewhere."""
        return self.weight * (self.group == path)


class _OnePath:
    """Mixed into a layer's class: the layer's weight is one path's share of a SplitWeight."""

    _share: tuple[SplitWeight, int]

    @property
    def weight(self) -> Tensor:
        split, path = self._share
        return split.select(path)


_path_classes: dict[type, type] = {}


def _use_share(layer: nn.Module, split: SplitWeight, path: int) -> None:
    """Make ``layer`` compute with one path's share instead of a weight of its own."""
    cls = type(layer)
    if cls not in _path_classes:
        _path_classes[cls] = type(f"OnePath{cls.__name__}", (_OnePath, cls), {})
    del layer._parameters["weight"]
    layer.__class__ = _path_classes[cls]
    # In a tuple, so that the shared module is not registered once more in every layer.
    object.__setattr__(layer, "_share", (split, path))


def _copy_sharing(part: nn.Module, splits: dict[nn.Parameter, SplitWeight], path: int) -> nn.Module:
    """Return ``part`` for one path: own norms, biases and buffers, shared split weights."""
    shared: dict[int, Any] = {id(weight): weight for weight in splits}
    mine = copy.deepcopy(part, shared)
    for layer in mine.modules():
        weight = layer._parameters.get("weight")
        if weight is not None and weight in splits:
            _use_share(layer, splits[weight], path)
    return mine


class FissionNetwork(nn.Module):
    """A multi-exit network on grouped weights; build it with ``fission``.

    Attributes:
        exits: number of exits N.
        exit_stages: after which stage each exit's path but the final one leaves the trunk.
        ratio: the share of each exit.
        weights: every split weight, by the name of its layer (dots become slashes).
        stem: the shared stem.
        stages: for each stage, its paths by number.
        heads: the heads, exit 1 first.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        head: nn.Module,
        assigned: dict[str, Tensor],
        exit_stages: Sequence[int],
        ratio: Sequence[float],
    ) -> None:
        super().__init__()
        self.exits = len(exit_stages) + 1
        self.exit_stages = tuple(exit_stages)
        self.ratio = tuple(ratio)
        named = {"stem": stem, **{f"stages.{i}": stage for i, stage in enumerate(stages)}}
        layers = {
            f"{part}.{name}".rstrip("."): layer
            for part, module in named.items()
            for name, layer in pruners.prunable(module).items()
        }
        self.weights = nn.ModuleDict(
            {
                n.replace(".", "/"): SplitWeight(cast(nn.Parameter, layers[n].weight), g)
                for n, g in assigned.items()
            }
        )
        splits = {s.weight: s for s in cast("list[SplitWeight]", list(self.weights.values()))}
        self.stem = _copy_sharing(stem, splits, self.exits)
        self.stages = nn.ModuleList(
            nn.ModuleDict(
                {
                    str(path): _copy_sharing(stage, splits, path)
                    for path in groups.alive(number, self.exit_stages)
                }
            )
            for number, stage in enumerate(stages, start=1)
        )
        self.heads = nn.ModuleList(copy.deepcopy(head) for _ in range(self.exits))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, h, w) to logits (batch, exits, classes), exit 1 first."""
        features = {self.exits: self.stem(x)}
        for number, paths in enumerate(self.stages, start=1):
            trunk = features[self.exits]
            features |= {
                k: trunk for k, left in enumerate(self.exit_stages, 1) if left == number - 1
            }
            features = {k: cast(nn.ModuleDict, paths)[str(k)](f) for k, f in features.items()}
        return torch.stack([head(features[k]) for k, head in enumerate(self.heads, 1)], dim=1)

    def ensemble(self, x: Tensor) -> Tensor:
        """Map images to the ensemble's logits (batch, classes): the mean over exits."""
        return cast(Tensor, self(x)).mean(dim=1)


def fission(
    model: nn.Module,
    exits: int,
    *,
    sparsity: float = 0.0,
    pruning: str = "none",
    ratio: Sequence[float] | None = None,
    exit_stages: Sequence[int] | None = None,
    grouping: str = "tensor",
    example: tuple[Tensor, Tensor] | None = None,
    seed: int = 0,
) -> FissionNetwork:
    """Split a network into ``exits`` paths on disjoint groups of its weights.

    The model is left as it is; nothing is drawn anew, so a trained model keeps its weights.

    Args:
        model: a network with ``stem``, ``stages`` and ``head``.
        exits: number of exits N, 1 to the number of stages; 1 only prunes.
        sparsity: share of the convolution weights to prune first, in [0, 1).
        pruning: a name from ``nfe.pruning.names()``.
        ratio: share of each exit, exit 1 first, summing to 1 (default: even).
        exit_stages: after which stage each exit's path but the final one leaves the trunk,
            ascending (default: exit i's after stage i).
        grouping: ``"tensor"`` divides every weight tensor by the ratio, ``"stage"`` divides
            all weights of a stage as one.
        example: images (batch, channels, h, w) and labels (batch,), for pruning by data.
        seed: seed of the pruning and grouping streams.

    Returns:
        The multi-exit network; logits are (batch, exits, classes).

    Raises:
        InputError: an argument is not allowed, or the model has no stages.
        CollapseError: a layer would be left without a weight on some path.
    """
    if not all(hasattr(model, part) for part in ("stem", "stages", "head")):
        raise InputError(f"{type(model).__name__} has no stem, stages and head to split")
    stages = list(cast(nn.ModuleList, model.stages))
    leave = tuple(exit_stages) if exit_stages is not None else groups.default_exit_stages(exits)
    share = tuple(ratio) if ratio is not None else (1 / exits,) * exits
    groups.check_exit_stages(leave, exits, len(stages))
    groups.check_ratio(share, exits)
    if grouping not in GROUPINGS:
        raise unknown("grouping", grouping, GROUPINGS)
    masks = pruners.masks(model, pruning, sparsity, example, seed)
    assigned = _assign(masks, leave, share, len(stages), grouping, seed)
    source = copy.deepcopy(model)
    return FissionNetwork(
        cast(nn.Module, source.stem),
        list(cast(nn.ModuleList, source.stages)),
        cast(nn.Module, source.head),
        assigned,
        leave,
        share,
    )


def _assign(
    masks: dict[str, Tensor],
    exit_stages: Sequence[int],
    ratio: Sequence[float],
    stages: int,
    granularity: str,
    seed: int,
) -> dict[str, Tensor]:
    """Return the group of every weight of stem and stages, by layer name."""
    trunk = len(exit_stages) + 1
    assigned = {n: m.to(torch.uint8) * trunk for n, m in masks.items() if n.startswith("stem")}
    for number in range(1, stages + 1):
        paths = groups.alive(number, exit_stages)
        share = groups.shares(paths, ratio)
        names = [n for n in masks if n.startswith(f"stages.{number - 1}.")]
        if granularity == "stage":
            draws = generator("cpu", seed, "grouping", number)
            parts = groups.split_together([masks[n] for n in names], paths, share, draws)
        else:
            parts = [
                groups.split(masks[n], paths, share, generator("cpu", seed, "grouping", n))
                for n in names
            ]
        assigned |= dict(zip(names, parts, strict=True))
        for name in names:
            _check_alive(name, assigned[name], paths)
    return assigned


def _check_alive(layer: str, group: Tensor, paths: Sequence[int]) -> None:
    for path in paths:
        if not bool((group == path).any()):
            kept = int((group > 0).sum())
            raise CollapseError(
                f"layer {layer!r}: path {path} is left without a weight "
                f"({kept} surviving weights over {len(paths)} paths)"
            )
