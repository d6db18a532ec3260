"""How many weights each layer keeps, and which: the highest scores."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from nfe.common.errors import InputError
from nfe.common.ranking import counts, lowest

Masks = dict[str, Tensor]


def _kept(weights: int, sparsity: float) -> int:
    return round((1 - sparsity) * weights)


def erk_counts(shapes: Mapping[str, Sequence[int]], sparsity: float) -> dict[str, int]:
    """Return how many weights each layer keeps under ERK (Evci et al., ICML 2020, section 3).

    Density ε · (sum of the weight's dimensions) / (their product); layers above 1 become
    dense and ε is solved again until the total is met. Counts are rounded by largest
    remainder, so the total is exact.
    """
    size = {n: math.prod(shape) for n, shape in shapes.items()}
    raw = {n: sum(shape) / size[n] for n, shape in shapes.items()}
    kept = _kept(sum(size.values()), sparsity)
    dense: set[str] = set()
    while True:
        rest = kept - sum(size[n] for n in dense)
        scale = rest / max(1, sum(sum(shapes[n]) for n in shapes if n not in dense))
        above = {n for n in shapes if n not in dense and scale * raw[n] > 1}
        if not above:
            break
        dense |= above
    exact = [size[n] if n in dense else scale * raw[n] * size[n] for n in shapes]
    return dict(zip(shapes, counts(kept, [value / max(1, kept) for value in exact]), strict=True))


Budgets = list[tuple[tuple[str, ...], int]]


def layer_budgets(weights: Mapping[str, Tensor], sparsity: float, scope: str) -> Budgets:
    """Return which layers compete with each other and how many weights they keep together."""
    if scope == "layer":
        return [((n,), _kept(w.numel(), sparsity)) for n, w in weights.items()]
    return [(tuple(weights), _kept(sum(w.numel() for w in weights.values()), sparsity))]


def keep_highest(
    scores: Mapping[str, Tensor], budgets: Iterable[tuple[tuple[str, ...], int]]
) -> Masks:
    """Return masks that keep, for each (layers, kept), exactly the ``kept`` highest scores.

    Ties are broken by index, in the order of the layers.

    Raises:
        InputError: a score is NaN.
    """
    masks: Masks = {}
    for names, kept in budgets:
        flat = torch.cat([scores[n].flatten() for n in names])
        if bool(torch.isnan(flat).any()):
            raise InputError("a pruning score is NaN")
        parts = lowest(-flat, kept).split([scores[n].numel() for n in names])
        masks |= {n: part.view(scores[n].shape) for n, part in zip(names, parts, strict=True)}
    return masks
