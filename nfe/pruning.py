"""Pruning at initialization: scores → masks.

Every pruner gives each prunable weight (all convolutions; never the linear head, norms or
biases) a score; the highest (1 − sparsity) share over the whole network is kept.
"""

import copy
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfe.engine.errors import CollapseError, InputError, unknown
from nfe.engine.seeds import generator

Example = tuple[Tensor, Tensor]
Scores = dict[str, Tensor]
Masks = dict[str, Tensor]

_CHUNK = 128


def prunable(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Return the prunable layers by name: every convolution."""
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}


def random_scores(model: nn.Module, example: Example | None, seed: int) -> Scores:
    """Score uniformly at random."""
    draws = generator("cpu", seed, "pruning")
    return {n: torch.rand(m.weight.shape, generator=draws) for n, m in prunable(model).items()}


def magnitude_scores(model: nn.Module, example: Example | None, seed: int) -> Scores:
    """Score |w|."""
    return {n: m.weight.detach().abs() for n, m in prunable(model).items()}


def snip_scores(model: nn.Module, example: Example | None, seed: int) -> Scores:
    """Score |g ⊙ w|, g the gradient of the cross-entropy (Lee et al., ICLR 2019, eq. 6).

    Norms use the batch statistics of up to 128 example images at a time, as in training;
    their running statistics are left alone.
    """
    if example is None:
        raise InputError("pruning 'snip' needs example=(images, labels)")
    images, labels = example
    scored = copy.deepcopy(model).eval()
    for module in scored.modules():
        module.training = isinstance(module, nn.modules.batchnorm._BatchNorm)
    layers = prunable(scored)
    scored.requires_grad_(False)
    for layer in layers.values():
        layer.weight.requires_grad_(True)
    for part, targets in zip(images.split(_CHUNK), labels.split(_CHUNK), strict=True):
        loss = F.cross_entropy(scored(part), targets, reduction="sum") / len(labels)
        loss.backward()
    return {n: (m.weight.grad * m.weight.detach()).abs() for n, m in layers.items()}  # type: ignore[operator]


PRUNERS: dict[str, Callable[[nn.Module, Example | None, int], Scores]] = {
    "random": random_scores,
    "magnitude": magnitude_scores,
    "snip": snip_scores,
}

# Pruners that look at images and labels.
NEED_DATA = frozenset({"snip"})


def names() -> list[str]:
    """Return the pruning methods, ``none`` included."""
    return ["none", *PRUNERS]


def check(pruning: str, sparsity: float) -> None:
    """Check that the two settings make sense, alone and together.

    Raises:
        InputError: an unknown method, a sparsity outside [0, 1), or a sparsity without method.
    """
    if pruning not in names():
        raise unknown("pruning", pruning, names())
    if not 0 <= sparsity < 1:
        raise InputError(f"sparsity is {sparsity}: allowed: [0, 1)")
    if pruning == "none" and sparsity > 0:
        raise InputError(
            f"sparsity is {sparsity} with pruning 'none': allowed: 0, or one of {list(PRUNERS)}"
        )


def keep_highest(scores: Mapping[str, Tensor], sparsity: float) -> Masks:
    """Return masks that keep exactly round((1 − sparsity) × n) of all n weights.

    The highest scores are kept; ties are broken by index, in the order of ``scores``.

    Raises:
        InputError: a score is NaN.
    """
    flat = torch.cat([score.flatten() for score in scores.values()])
    if bool(torch.isnan(flat).any()):
        raise InputError("a pruning score is NaN")
    kept = round((1 - sparsity) * flat.numel())
    mask = torch.zeros_like(flat, dtype=torch.bool)
    if kept > 0:
        threshold = flat.kthvalue(flat.numel() - kept + 1).values
        mask = flat > threshold
        ties = (flat == threshold).nonzero().flatten()
        mask[ties[: kept - int(mask.sum())]] = True
    parts = mask.split([score.numel() for score in scores.values()])
    return {n: part.view(scores[n].shape) for n, part in zip(scores, parts, strict=True)}


def masks(
    model: nn.Module, pruning: str, sparsity: float, example: Example | None, seed: int
) -> Masks:
    """Return a bool mask per prunable layer, True where a weight is kept.

    Args:
        model: the network whose very weights are scored.
        pruning: a name from ``names()``.
        sparsity: share of the prunable weights to remove, in [0, 1).
        example: images and labels, for pruners that look at data.
        seed: seed of the random streams.

    Raises:
        InputError: see ``check``.
        CollapseError: a layer is left without a weight.
    """
    check(pruning, sparsity)
    if pruning == "none" or sparsity == 0:
        return {n: torch.ones_like(m.weight, dtype=torch.bool) for n, m in prunable(model).items()}
    kept = keep_highest(PRUNERS[pruning](model, example, seed), sparsity)
    for name, mask in kept.items():
        if not bool(mask.any()):
            raise CollapseError(
                f"layer {name!r} is left without a weight by {pruning} at sparsity {sparsity}"
            )
    return kept
