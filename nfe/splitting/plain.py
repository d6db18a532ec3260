"""A copy of a network whose weights are plain parameters, whatever computed them before."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nfe.backbones.stages import in_mode
from nfe.common.errors import InputError, first_line
from nfe.common.parametrized import make_plain, parametrizations
from nfe.pruning import Mask, Masks, check_ordinary

Kept = dict[nn.Module, Tensor]


def plain_copy(model: nn.Module) -> tuple[nn.Module, Kept]:
    """Return a copy with plain weights, and where those of its pruned layers survive.

    A parametrized weight (weight norm, ``nfe.prune``, …) is computed once, as in evaluation, and
    is a plain parameter from then on.

    Raises:
        InputError: see ``nfe.pruning.check_ordinary``; or the network cannot be copied.
    """
    check_ordinary(model)
    try:
        mine = copy.deepcopy(model)
    except Exception as error:
        reason = first_line(error)
        raise InputError(f"{type(model).__name__} cannot be copied: {reason}") from error
    found = [m for m in mine.modules() if parametrize.is_parametrized(m)]
    kept = {m: mask for m in found if (mask := _mask(m)) is not None}
    with in_mode(mine, training=False):
        for module in found:
            make_plain(module)
    return mine, kept


def _mask(module: nn.Module) -> Tensor | None:
    """Return where a pruned layer's weights survive; None where it is not pruned."""
    parts = parametrizations(module)
    found = [p.mask for p in parts["weight"] if isinstance(p, Mask)] if "weight" in parts else []
    return torch.stack(found).all(dim=0) if found else None


def kept_pruned(layers: Mapping[str, nn.Module], kept: Kept, sparsity: float) -> Masks:
    """Return the masks of the layers that were pruned before, so that they stay pruned.

    Args:
        layers: the layers that are divided, by name.
        kept: where the weights of pruned layers survive.
        sparsity: what is asked for on top of it.

    Raises:
        InputError: there is more to prune, or a pruned layer is not divided.
    """
    if kept and sparsity > 0:
        raise InputError(
            f"sparsity is {sparsity} and the network is already pruned: allowed: 0, which keeps "
            f"its pruned weights pruned"
        )
    masks = {name: kept[layer] for name, layer in layers.items() if layer in kept}
    if len(masks) < len(kept):
        inside = set(layers.values())
        shape = next(tuple(mask.shape) for layer, mask in kept.items() if layer not in inside)
        raise InputError(
            f"a pruned layer with weights {shape} is not divided over paths, so that its pruned "
            f"weights would be trained: prune only layers that are divided, or make its weights "
            f"plain first: torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
        )
    return masks
