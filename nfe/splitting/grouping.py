"""Weight grouping: which path each surviving weight belongs to.

Lee & Lee, arXiv 2408.02301. The surviving weights of a stage are divided, position by
position and at random, into one disjoint group per path that is alive in it. Coarser units
than single weights, and the 2:4 pattern of sparse tensor cores, are choices beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from nfe.common.errors import CollapseError
from nfe.common.ranking import counts, lowest
from nfe.common.seeds import generator
from nfe.splitting.choices import check_grouping

PRUNED = 0


def alive(stage: int, exit_stages: Sequence[int]) -> list[int]:
    """Return the paths alive in a stage (from 1): exits that have left the trunk, then the trunk.

    A path carries the number of its exit; the trunk carries the final exit's.
    """
    left = [number for number, leaves in enumerate(exit_stages, start=1) if leaves < stage]
    return [*left, len(exit_stages) + 1]


def shares(paths: Sequence[int], ratio: Sequence[float]) -> list[float]:
    """Return the share of each alive path: its exit's ratio, renormalized over those alive."""
    total = sum(ratio[path - 1] for path in paths)
    return [ratio[path - 1] / total for path in paths]


def units(shape: Sequence[int], granularity: str, conv_groups: int = 1) -> Tensor:
    """Return the number of the unit that each weight belongs to.

    Units go to paths as a whole: kernels (one input channel of one filter), input channels, or
    output filters. In a depthwise convolution all three are its channels.

    Args:
        shape: (outputs, inputs per group, …) of a convolution's or linear layer's weight.
        granularity: ``"kernel"``, ``"input_channel"`` or ``"output_filter"``.
        conv_groups: groups of a convolution.

    Returns:
        int64 of that shape, counting from 0.
    """
    outputs, inputs = shape[:2]
    row, column = torch.arange(outputs)[:, None], torch.arange(inputs)[None, :]
    number = {
        "kernel": row * inputs + column,
        "input_channel": (row // (outputs // conv_groups)) * inputs + column,
        "output_filter": row.expand(outputs, inputs),
    }[granularity]
    return number.view(outputs, inputs, *[1] * (len(shape) - 2)).expand(*shape)


def split(
    mask: Tensor,
    paths: Sequence[int],
    share: Sequence[float],
    draws: torch.Generator,
    unit: Tensor | None = None,
) -> Tensor:
    """Divide the surviving weights of one tensor over paths, at random and exactly.

    Units with a survivor are ordered by one uniform draw per unit and cut at the cumulative
    shares, so the shares are exact in units.

    Args:
        mask: bool, True where a weight survives pruning; any shape.
        paths: the numbers of the paths.
        share: the share of each path, summing to 1.
        draws: a CPU generator.
        unit: the unit of each weight, see ``units`` (default: each weight its own).

    Returns:
        A uint8 tensor of the mask's shape: the path's number, or 0 where pruned.
    """
    kept = mask.flatten().cpu()
    survives = kept if unit is None else _any_of_unit(kept, unit.flatten())
    uniform = torch.rand(len(survives), generator=draws, dtype=torch.float64)
    uniform.masked_fill_(~survives, 2)
    owner = torch.full(survives.shape, paths[-1], dtype=torch.uint8)
    cuts = list(accumulate(counts(int(survives.sum()), share)))
    for path, cut in reversed(list(zip(paths[:-1], cuts[:-1], strict=True))):
        owner.masked_fill_(lowest(uniform, cut), path)
    group = owner if unit is None else owner[unit.flatten()]
    return group.masked_fill_(~kept, PRUNED).view(mask.shape).to(mask.device)


def _any_of_unit(kept: Tensor, unit: Tensor) -> Tensor:
    survives = torch.zeros(int(unit.max()) + 1, dtype=torch.bool)
    survives[unit[kept]] = True
    return survives


def split_together(
    masks: Sequence[Tensor],
    paths: Sequence[int],
    share: Sequence[float],
    draws: torch.Generator,
    unit: Sequence[Tensor | None],
) -> list[Tensor]:
    """Divide the survivors of several tensors as if they were one; see ``split``."""
    joined = torch.cat([mask.flatten() for mask in masks])
    group = split(joined, paths, share, draws, _joined(unit))
    parts = group.split([mask.numel() for mask in masks])
    return [part.view(mask.shape) for part, mask in zip(parts, masks, strict=True)]


def _joined(unit: Sequence[Tensor | None]) -> Tensor | None:
    numbers, used = [], 0
    for own in unit:
        if own is None:
            return None
        numbers.append(own.flatten() + used)
        used = int(numbers[-1].max()) + 1
    return torch.cat(numbers)


def fits_two_of_four(shape: Sequence[int]) -> bool:
    """Return whether a weight (outputs, inputs per group, …) has rows of four inputs."""
    return shape[1] % 4 == 0


def split_two_of_four(mask: Tensor, paths: Sequence[int], draws: torch.Generator) -> Tensor:
    """Divide the survivors over two paths so that both are 2:4 sparse.

    Of every 4 consecutive weights along the input channels of each kernel position, each path
    gets half of the survivors: at most two. Of the blocks with an odd number of survivors a
    random half gives the first path one more, so the totals differ by at most one.

    Args:
        mask: bool (outputs, inputs, …), True where a weight survives; inputs divisible by 4.
        paths: the numbers of the two paths.
        draws: a CPU generator.

    Returns:
        A uint8 tensor of the mask's shape: the path's number, or 0 where pruned.
    """
    rows = mask.cpu().movedim(1, -1)
    blocks = rows.reshape(-1, 4)
    uniform = torch.rand(blocks.shape, generator=draws, dtype=torch.float64)
    ranked = torch.where(blocks, uniform, 2.0)
    rank = ranked.argsort(dim=1).argsort(dim=1)
    odd = (blocks.sum(dim=1) % 2 == 1).nonzero().flatten()
    favoured = odd[torch.randperm(len(odd), generator=draws)[: len(odd) // 2]]
    second_first = torch.zeros(len(blocks), 1, dtype=torch.int64)
    second_first[favoured] = 1
    second = (rank + second_first) % 2 == 1
    owner = torch.where(second, paths[1], paths[0])
    group = torch.where(blocks, owner, PRUNED).to(torch.uint8)
    return group.view(rows.shape).movedim(-1, 1).contiguous().to(mask.device)


@dataclass(frozen=True)
class Plan:
    """How the surviving weights of a network are divided over paths.

    Attributes:
        ratio: the share of each exit, exit 1 first.
        grouping: ``"tensor"`` or ``"stage"``: what the shares are met in.
        granularity: what goes to a path as a whole.
        seed: seed of the grouping streams.
    """

    ratio: tuple[float, ...]
    grouping: str = "tensor"
    granularity: str = "weight"
    seed: int = 0

    def __post_init__(self) -> None:
        check_grouping(self.grouping, self.granularity, self.ratio)

    def divide(
        self,
        section: str,
        masks: Mapping[str, Tensor],
        paths: Sequence[int],
        conv_groups: Mapping[str, int],
    ) -> dict[str, Tensor]:
        """Return the group of every weight of one section (stem, a stage, the head).

        Args:
            section: the section's name; the random streams depend on it.
            masks: bool, the surviving weights of each layer.
            paths: the paths that cross the section.
            conv_groups: the groups of each layer's convolution, 1 where it has none.

        Raises:
            CollapseError: a layer is left without a weight on some path.
        """
        share = shares(paths, self.ratio)
        if self.grouping == "stage" and masks:
            unit = [self._units(m, conv_groups[n]) for n, m in masks.items()]
            draws = generator("cpu", self.seed, "grouping", section)
            parts = split_together(list(masks.values()), paths, share, draws, unit)
        else:
            parts = [self._tensor(n, m, paths, share, conv_groups[n]) for n, m in masks.items()]
        groups = dict(zip(masks, parts, strict=True))
        for name, group in groups.items():
            _check_alive(name, group, paths)
        return groups

    def divide_part(
        self, network: nn.Module, part: str, masks: Mapping[str, Tensor], paths: Sequence[int]
    ) -> dict[str, Tensor]:
        """Divide those layers of a network that lie in one part of it; see ``divide``."""
        inside = {n: m for n, m in masks.items() if f"{n}.".startswith(f"{part}.")}
        conv_groups = {n: getattr(network.get_submodule(n), "groups", 1) for n in inside}
        return self.divide(part, inside, paths, conv_groups)

    def _tensor(
        self, name: str, mask: Tensor, paths: Sequence[int], share: Sequence[float], groups: int
    ) -> Tensor:
        draws = generator("cpu", self.seed, "grouping", name)
        if self.granularity == "2:4" and len(paths) == 2 and fits_two_of_four(mask.shape):
            return split_two_of_four(mask, paths, draws)
        return split(mask, paths, share, draws, self._units(mask, groups))

    def _units(self, mask: Tensor, groups: int) -> Tensor | None:
        if self.granularity in ("weight", "2:4"):
            return None
        return units(mask.shape, self.granularity, groups)


def _check_alive(layer: str, group: Tensor, paths: Sequence[int]) -> None:
    for path in paths:
        if not bool((group == path).any()):
            kept = int((group > 0).sum())
            raise CollapseError(
                f"layer {layer!r}: path {path} is left without a weight "
                f"({kept} surviving weights over {len(paths)} paths)"
            )
