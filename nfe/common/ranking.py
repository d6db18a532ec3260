"""Exact counts: whole numbers in given shares, and exactly the n lowest values."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def counts(survivors: int, share: Sequence[float]) -> list[int]:
    """Divide ``survivors`` in the given shares by largest remainder; ties go to the first."""
    exact = [survivors * part for part in share]
    whole = [math.floor(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(share)), key=lambda i: (whole[i] - exact[i], i))
    for i in by_remainder[: survivors - sum(whole)]:
        whole[i] += 1
    return whole


def lowest(values: Tensor, count: int) -> Tensor:
    """Return a bool mask of exactly the ``count`` lowest of a vector; ties by index."""
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    threshold = values.kthvalue(count).values
    mask = values < threshold
    ties = (values == threshold).nonzero().flatten()
    mask[ties[: count - int(mask.sum())]] = True
    return mask
