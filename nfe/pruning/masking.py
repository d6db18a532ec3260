"""Pruning at initialization: scores → masks.

Every pruner gives each prunable weight a score on the very weights that are then trained; the
highest (1 − sparsity) share is kept, over the whole network or in each layer. Prunable are the
convolutions (in a fissioned network also linear layers inside stages); never the linear head,
norms or biases.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nfe.common.errors import CollapseError, InputError
from nfe.pruning.budgets import Budgets, Masks, erk_counts, keep_highest, layer_budgets
from nfe.pruning.choices import NEED_DATA, check
from nfe.pruning.ordinary import as_example, check_labels, check_layers, check_ordinary
from nfe.pruning.scores import PRUNERS, Example, Request, Scores, competing_weights, prunable


def everything(layers: Mapping[str, nn.Module]) -> Masks:
    """Return masks that keep every weight."""
    return {n: torch.ones_like(cast(Tensor, m.weight), dtype=torch.bool) for n, m in layers.items()}


def masks(
    model: nn.Module,
    pruning: str,
    sparsity: float,
    example: Example | None = None,
    seed: int = 0,
    *,
    scope: str = "global",
    layers: Iterable[str] | None = None,
) -> Masks:
    """Return a bool mask per prunable layer, True where a weight is kept.

    Args:
        model: the network whose very weights are scored.
        pruning: a name from ``names()``.
        sparsity: share of the prunable weights to remove, in [0, 1).
        example: images and labels, for pruners that look at data, their classes mixed.
        seed: seed of the random streams.
        scope: ``"global"`` meets the sparsity over all layers together, ``"layer"`` in each
            one. ERK has its own layer densities.
        layers: names of the layers to prune (default: every convolution).

    Raises:
        InputError: see ``check``, ``as_example`` and ``check_ordinary``; an example is missing;
            a layer has no weight of its own, or there is none.
        CollapseError: a layer is left without a weight.
    """
    check(pruning, sparsity, scope)
    request = _request(model, sparsity, example, seed, scope, layers)
    weights = competing_weights(model, request)
    if pruning == "none" or sparsity == 0:
        return everything({n: model.get_submodule(n) for n in request.layers})
    _check_example(pruning, request)
    if pruning == "erk":
        kept = erk_counts({n: tuple(w.shape) for n, w in weights.items()}, sparsity)
        budgets: Budgets = [((n,), count) for n, count in kept.items()]
    else:
        budgets = layer_budgets(weights, sparsity, scope)
    found = keep_highest(PRUNERS[pruning](model, request), budgets)
    for name, mask in found.items():
        if not bool(mask.any()):
            raise CollapseError(
                f"layer {name!r} is left without a weight by {pruning} at sparsity {sparsity}"
            )
    return {n: mask.to(weights[n].device) for n, mask in found.items()}


def weight_scores(
    model: nn.Module,
    pruning: str,
    example: Example | None = None,
    seed: int = 0,
    *,
    layers: Iterable[str] | None = None,
) -> Scores:
    """Return a score for each weight, for pruning in other units; SynFlow's without its rounds.

    Args and errors: see ``masks``; and InputError for a pruner without scores.
    """
    check(pruning, 0.0)
    if pruning in ("none", "erk"):
        raise InputError(
            f"pruning {pruning!r} has no scores of weights: allowed: "
            f"{', '.join(name for name in PRUNERS if name != 'erk')}"
        )
    request = _request(model, 0.0, example, seed, "global", layers)
    _check_example(pruning, request)
    return PRUNERS[pruning](model, request)


def _request(
    model: nn.Module,
    sparsity: float,
    example: Example | None,
    seed: int,
    scope: str,
    layers: Iterable[str] | None,
) -> Request:
    """Check what is to be pruned, and return it as a request."""
    example = as_example(example)
    if example is not None:
        check_labels(*example)
    check_ordinary(model)
    chosen = tuple(prunable(model) if layers is None else layers)
    check_layers(model, chosen)
    if sparsity > 0 and not chosen:
        raise InputError(
            f"sparsity is {sparsity} and {type(model).__name__} has no layer to prune: "
            f"allowed: a network with convolutions, or layers=[…] by name"
        )
    return Request(chosen, sparsity, scope, example, seed)


def _check_example(pruning: str, request: Request) -> None:
    if pruning in NEED_DATA and request.example is None:
        raise InputError(f"pruning {pruning!r} needs example=(images, labels)")


class Mask(nn.Module):
    """A parametrization: the weight where the mask is True, zero elsewhere."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the masked weight."""
        return weight * self.mask


def prune(
    model: nn.Module,
    pruning: str,
    sparsity: float,
    *,
    example: Example | None = None,
    seed: int = 0,
    scope: str = "global",
    layers: Iterable[str] | None = None,
) -> nn.Module:
    """Return a pruned copy of a network; pruned weights are zero and stay zero in training.

    The masks are parametrizations (``torch.nn.utils.parametrize``): ordinary tools for those
    apply, for instance ``remove_parametrizations`` to be left with plain weights.

    Args and errors: see ``masks``.
    """
    found = masks(model, pruning, sparsity, example, seed, scope=scope, layers=layers)
    pruned = copy.deepcopy(model)
    for name, mask in found.items():
        layer = pruned.get_submodule(name)
        with torch.no_grad():
            cast(Tensor, layer.weight).masked_fill_(~mask, 0)
        parametrize.register_parametrization(layer, "weight", Mask(mask))
    return pruned
