"""Weight grouping: which path each surviving weight belongs to.

Lee & Lee, arXiv 2408.02301. The surviving weights of a stage are divided, position by
position and at random, into one disjoint group per path that is alive in it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nfe.engine.errors import InputError

PRUNED = 0


def default_exit_stages(exits: int) -> tuple[int, ...]:
    """Return where the paths leave the trunk by default: exit i's after stage i."""
    return tuple(range(1, exits))


def check_exit_stages(exit_stages: Sequence[int], exits: int, stages: int) -> None:
    """Check that ``exits`` paths can leave a trunk of ``stages`` stages where they are asked to.

    Raises:
        InputError: a number is out of range, out of order or missing.
    """
    if exits < 1:
        raise InputError(f"exits is {exits}: allowed: whole numbers from 1")
    if len(exit_stages) != exits - 1:
        raise InputError(
            f"exit_stages is {list(exit_stages)}: allowed: {exits - 1} numbers, one per exit "
            f"but the final one"
        )
    if any(not 1 <= stage < stages for stage in exit_stages):
        raise InputError(
            f"exit_stages is {list(exit_stages)}: allowed: stages 1 to {stages - 1}, since a "
            f"network of {stages} stages must leave each path a stage of its own"
        )
    if list(exit_stages) != sorted(exit_stages):
        raise InputError(f"exit_stages is {list(exit_stages)}: allowed: ascending numbers")


def check_ratio(ratio: Sequence[float], exits: int) -> None:
    """Check that ``ratio`` has one positive share per exit and sums to one.

    Raises:
        InputError: it does not.
    """
    if len(ratio) != exits:
        raise InputError(f"ratio is {list(ratio)}: allowed: {exits} numbers, one per exit")
    if any(not 0 < share < math.inf for share in ratio):
        raise InputError(f"ratio is {list(ratio)}: allowed: numbers above 0")
    if abs(sum(ratio) - 1) > 1e-6:
        raise InputError(f"ratio is {list(ratio)}, sum {sum(ratio):g}: allowed: a sum of 1")


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


def counts(survivors: int, share: Sequence[float]) -> list[int]:
    """Divide ``survivors`` in the given shares by largest remainder; ties go to the first."""
    exact = [survivors * part for part in share]
    whole = [math.floor(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(share)), key=lambda i: (whole[i] - exact[i], i))
    for i in by_remainder[: survivors - sum(whole)]:
        whole[i] += 1
    return whole


def split(
    mask: Tensor, paths: Sequence[int], share: Sequence[float], draws: torch.Generator
) -> Tensor:
    """Divide the surviving weights of one tensor over paths, at random and exactly.

    Survivors are ordered by one uniform draw per weight and cut at the cumulative shares.

    Args:
        mask: bool, True where a weight survives pruning; any shape.
        paths: the numbers of the paths.
        share: the share of each path, summing to 1.
        draws: a CPU generator.

    Returns:
        A uint8 tensor of the mask's shape: the path's number, or 0 where pruned.
    """
    flat = mask.flatten().cpu()
    uniform = torch.rand(flat.numel(), generator=draws, dtype=torch.float64)
    survivors = flat.nonzero().flatten()
    order = survivors[torch.argsort(uniform[survivors], stable=True)]
    group = torch.full((flat.numel(),), PRUNED, dtype=torch.uint8)
    sizes = counts(len(survivors), share)
    for path, part in zip(paths, order.split(sizes), strict=True):
        group[part] = path
    return group.view(mask.shape).to(mask.device)


def split_together(
    masks: Sequence[Tensor], paths: Sequence[int], share: Sequence[float], draws: torch.Generator
) -> list[Tensor]:
    """Divide the survivors of several tensors as if they were one; see ``split``."""
    joined = split(torch.cat([mask.flatten() for mask in masks]), paths, share, draws)
    parts = joined.split([mask.numel() for mask in masks])
    return [part.view(mask.shape) for part, mask in zip(parts, masks, strict=True)]
