"""Pruning scores: one function a method.

Each gives every prunable weight a score on the very weights that are then trained.
"""

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfe.backbones.backbone import Backbone
from nfe.common.errors import InputError
from nfe.common.seeds import generator
from nfe.pruning.budgets import Masks, keep_highest, layer_budgets

Example = tuple[Tensor, Tensor]
Scores = dict[str, Tensor]

# A batch is what one pass of a data-dependent pruner sees: norms use its statistics. The authors'
# SNIP takes up to 512 images; here fewer where a pass would need more memory than this. Both
# follow from shapes alone, so batches are the same on every device.
_BATCH = 512
_MEMORY = 20 * 10**9
# Bytes in memory for each number that a layer gives, gradients included (measured).
_BYTES = {"snip": 7, "grasp": 17}

_SYNFLOW_ROUNDS = 100
_TEMPERATURES = {"snip": 1, "grasp": 200}


@dataclass(frozen=True)
class Request:
    """What is asked of a pruner.

    Attributes:
        layers: names of the layers whose weights compete.
        sparsity: share of their weights to remove.
        scope: ``"global"`` or ``"layer"``: where the share is met.
        example: images (batch, channels, h, w) and labels (batch,), their classes mixed: many
            images are scored in several batches, in this order.
        seed: seed of the random streams.
    """

    layers: tuple[str, ...]
    sparsity: float
    scope: str = "global"
    example: Example | None = None
    seed: int = 0


def prunable(model: nn.Module) -> dict[str, nn.Module]:
    """Return what is pruned in a network, by name: every convolution.

    Of a ``Backbone`` also the linear layers inside its stages, which are 1×1 convolutions by
    another name.

    Raises:
        InputError: a stage has weights that are neither, so that they would stay dense unasked.
    """
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    staged = isinstance(model, Backbone)
    found: dict[str, nn.Module] = {}
    for name, layer in model.named_modules():
        inside = staged and name.startswith("stages.")
        if inside and isinstance(layer, nn.MultiheadAttention):
            raise InputError(
                f"layer {name!r}: PyTorch's MultiheadAttention has weights that are no layer's, "
                f"and would stay dense: allowed: networks whose attention is made of linear layers"
            )
        if isinstance(layer, (*kinds, nn.Linear) if inside else kinds):
            found[name] = layer
    return found


def competing_weights(model: nn.Module, request: Request) -> dict[str, Tensor]:
    """Return the weights of the layers that compete, by name."""
    return {n: cast(Tensor, model.get_submodule(n).weight) for n in request.layers}


def random_scores(model: nn.Module, request: Request) -> Scores:
    """Score uniformly at random; with the densities of ``erk_counts`` this is ERK."""
    draws = generator("cpu", request.seed, "pruning")
    weights = competing_weights(model, request)
    return {n: torch.rand(w.shape, generator=draws) for n, w in weights.items()}


def magnitude_scores(model: nn.Module, request: Request) -> Scores:
    """Score |w|."""
    return {n: w.detach().abs() for n, w in competing_weights(model, request).items()}


def _with_gradients(score: Callable[[nn.Module, Request], Scores]) -> Callable[..., Scores]:
    """Let a pruner take gradients wherever it is called, within ``torch.no_grad`` for instance."""

    @functools.wraps(score)
    def scored(model: nn.Module, request: Request) -> Scores:
        with torch.inference_mode(False), torch.enable_grad():
            if request.example is not None:
                images, labels = (t.clone() if t.is_inference() else t for t in request.example)
                return score(model, replace(request, example=(images, labels)))
            return score(model, request)

    return scored


@_with_gradients
def snip_scores(model: nn.Module, request: Request) -> Scores:
    """Score |g ⊙ w|, g the gradient of the cross-entropy (Lee et al., ICLR 2019, eq. 6).

    Norms use the statistics of each batch, as in training; their running statistics are left alone.
    A batch has up to 512 images, fewer where that takes too much memory (see ``memory_mb``).
    """
    scored, weights = _scoring_copy(model, request)
    for loss in _losses(scored, request, "snip"):
        loss.backward()
    return {n: (cast(Tensor, w.grad) * w.detach()).abs() for n, w in weights.items()}


@_with_gradients
def grasp_scores(model: nn.Module, request: Request) -> Scores:
    """Score w ⊙ Hg (Wang et al., ICLR 2020, eq. 8, with the sign that keeps the highest).

    g and H are gradient and Hessian of the cross-entropy at logits / 200, over the weights that
    compete and all others (of linear layers, say), as in the authors' code. H·g is the gradient
    of gᵀ·stop(g). Batches as for SNIP.
    """
    scored, weights = _scoring_copy(model, request)
    every = [*weights.values(), *_other_weights(scored, weights.values())]
    for weight in every:
        weight.requires_grad_(True)
    gradient = [torch.zeros_like(weight) for weight in every]
    for loss in _losses(scored, request, "grasp"):
        parts = torch.autograd.grad(loss, every, materialize_grads=True)
        gradient = [total + part for total, part in zip(gradient, parts, strict=True)]
    product = {n: torch.zeros_like(w) for n, w in weights.items()}
    for loss in _losses(scored, request, "grasp"):
        parts = torch.autograd.grad(loss, every, create_graph=True, materialize_grads=True)
        along = torch.stack([(p * g).sum() for p, g in zip(parts, gradient, strict=True)]).sum()
        rows = torch.autograd.grad(along, list(weights.values()), materialize_grads=True)
        product = {n: product[n] + row for n, row in zip(weights, rows, strict=True)}
    return {n: w.detach() * product[n] for n, w in weights.items()}


@_with_gradients
def synflow_scores(model: nn.Module, request: Request) -> Scores:
    """Score |w ⊙ ∂R/∂w|, R the sum of outputs (Tanaka et al., NeurIPS 2020, eq. 2, alg. 1).

    Of the network with absolute values of all parameters and buffers, in evaluation mode, for
    an all-ones image. 100 rounds of scoring and pruning, to density (1 − s)^(k/100) in round
    k; the scores returned are those of the last. Float64 where float32 overflows.

    Raises:
        InputError: float64 overflows as well.
    """
    for dtype in (torch.float32, torch.float64):
        scores = _synflow(model, request, dtype)
        if scores is not None:
            return scores
    raise InputError("pruning 'synflow': the scores of this network overflow float64")


def _synflow(model: nn.Module, request: Request, dtype: torch.dtype) -> Scores | None:
    images, _ = cast(Example, request.example)
    flow = copy.deepcopy(model).eval().to(dtype)
    flow.requires_grad_(False)
    for tensor in [*flow.parameters(), *flow.buffers()]:
        if tensor.is_floating_point():
            tensor.abs_()
    weights = competing_weights(flow, request)
    ones = torch.ones_like(images[:1], dtype=dtype)
    kept: Masks = {n: torch.ones_like(w, dtype=torch.bool) for n, w in weights.items()}
    scores: Scores = {}
    for step in range(1, _SYNFLOW_ROUNDS + 1):
        for weight in weights.values():
            weight.requires_grad_(True)
        gradients = torch.autograd.grad(flow(ones).sum(), list(weights.values()))
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            weight.requires_grad_(False)
            # A weight once removed never comes back: below every score.
            score = (weight * gradient).abs().masked_fill_(~kept[name], -1)
            if not bool(torch.isfinite(score).all()):
                return None
            scores[name] = score
        density = (1 - request.sparsity) ** (step / _SYNFLOW_ROUNDS)
        kept = keep_highest(scores, layer_budgets(scores, 1 - density, request.scope))
        for name, weight in weights.items():
            weight.masked_fill_(~kept[name], 0)
    return scores


PRUNERS: dict[str, Callable[[nn.Module, Request], Scores]] = {
    "random": random_scores,
    "erk": random_scores,
    "magnitude": magnitude_scores,
    "snip": snip_scores,
    "grasp": grasp_scores,
    "synflow": synflow_scores,
}


def _scoring_copy(model: nn.Module, request: Request) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return a copy whose batch norms alone are in training mode, and its competing weights."""
    scored = copy.deepcopy(model).eval().requires_grad_(False)
    for module in scored.modules():
        module.training = isinstance(module, nn.modules.batchnorm._BatchNorm)
    weights = competing_weights(scored, request)
    for weight in weights.values():
        weight.requires_grad_(True)
    return scored, weights


def _other_weights(scored: nn.Module, competing: Iterable[Tensor]) -> list[Tensor]:
    """Return the weights that do not compete, of linear layers for instance.

    Matrices and kernels: the scales of norms and biases are none.
    """
    known = {id(weight) for weight in competing}
    named = scored.named_parameters()
    return [p for n, p in named if n.endswith("weight") and p.dim() > 1 and id(p) not in known]


@torch.no_grad()
def _outputs(scored: nn.Module, image: Tensor) -> int:
    """Return how many numbers the innermost modules give for one image, (1, channels, h, w)."""
    counts: list[int] = []

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        counts.append(output.numel() if isinstance(output, Tensor) else 0)

    leaves = [module for module in scored.modules() if not list(module.children())]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    training = [module for module in scored.modules() if module.training]
    try:
        scored.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True
    return max(1, sum(counts))


def _batches(network: nn.Module, image: Tensor, images: int, pruning: str) -> int:
    """Return in how many batches, of nearly one size, a pruner scores ``images`` images."""
    most = _MEMORY // (_BYTES[pruning] * _outputs(network, image))
    return math.ceil(images / min(_BATCH, max(1, most)))


def memory_mb(network: nn.Module, image: Tensor, images: int, pruning: str) -> int:
    """Return the memory that scoring a network takes; 0 where it looks at no labelled images.

    Args:
        network: the network.
        image: one image, (1, channels, h, w); its values do not matter.
        images: how many images the example has.
        pruning: a name from ``names()``.
    """
    if pruning not in _BYTES:
        return 0
    batch = math.ceil(images / _batches(network, image, images, pruning))
    return math.ceil(1e-6 * _BYTES[pruning] * batch * _outputs(network, image))


def _losses(scored: nn.Module, request: Request, pruning: str) -> Iterator[Tensor]:
    """Yield parts of the example's mean cross-entropy, one for each batch."""
    images, labels = cast(Example, request.example)
    parts = _batches(scored, images[:1], len(labels), pruning)
    for some, targets in zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True):
        logits = scored(some) / _TEMPERATURES[pruning]
        if int(targets.min()) < 0 or int(targets.max()) >= logits.shape[1]:
            raise InputError(f"example labels: allowed: from 0 to {logits.shape[1] - 1}")
        yield F.cross_entropy(logits, targets, reduction="sum") / len(labels)
