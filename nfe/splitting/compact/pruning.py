"""Pruning inside compact fission: masks of single weights within the paths' small layers."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from nfe.backbones import Backbone
from nfe.common.errors import CollapseError, InputError
from nfe.splitting.compact.network import CompactNetwork
from nfe.splitting.compact.rules import Compact, compact
from nfe.splitting.compact.slices import MaskedConv2d, replace_convolutions
from nfe.splitting.path_layers import PathLayer


def pruned_compact(network: Backbone, masks: Mapping[str, Tensor], how: Compact) -> CompactNetwork:
    """Return a compact network whose pruned weights are zero and stay zero in training.

    Every convolution of stem and stages has its part of a mask, whether or not it prunes
    something, so that the layout of saved weights depends on no score.

    Args:
        network: stem, stages and head; it is left as it is.
        masks: bool, the surviving weights of each convolution of stem and stages, by name.
        how: the paths and their shares.

    Raises:
        InputError: see ``nfe.splitting.compact.rules.compact``.
        CollapseError: a path's part of a layer is left without a weight.
    """
    for name in masks:
        if not isinstance(layer := network.get_submodule(name), nn.Conv2d):
            raise InputError(
                f"granularity 'alternating' prunes Conv2d only, and layer {name!r} is a "
                f"{type(layer).__name__}: allowed: sparsity 0, or another granularity"
            )
    # Divided like the weights, so that every mask arrives where its weights do.
    pattern = copy.deepcopy(network)
    for name, mask in masks.items():
        weight = pattern.get_submodule(name).get_parameter("weight")
        weight.data = mask.to(weight.dtype)
    net, kept = compact(network, how, masks), compact(pattern, how, masks)

    def masked(name: str, conv: nn.Conv2d) -> nn.Conv2d:
        mask = kept.get_submodule(name).get_parameter("weight") != 0
        if not bool(mask.any()):
            raise CollapseError(f"layer {name!r}, a path's part, is left without a weight")
        return MaskedConv2d(conv, mask)

    _each(net, masked)
    return net


def mask_nothing(net: CompactNetwork) -> None:
    """Give a compact network masks that keep everything: what saved masks are loaded into."""
    _each(net, lambda _, conv: MaskedConv2d(conv, torch.ones_like(conv.weight, dtype=torch.bool)))


def _each(net: CompactNetwork, change: Callable[[str, nn.Conv2d], nn.Conv2d]) -> None:
    """Change the convolutions of stem and stages; a head's are never pruned.

    Where single weights are divided, what is pruned is no path's.
    """

    def changed(name: str, conv: nn.Conv2d) -> nn.Conv2d:
        is_left = name.startswith("heads.") or isinstance(conv, PathLayer)
        return conv if is_left else change(name, conv)

    replace_convolutions(net, changed)
