"""Which share of a fissioned network's weights is live: has a gradient at initialization.

A path that owns whole filters but reads channels that it never computes, or computes channels
that it never reads, has weights that count as its own and do nothing.
"""

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfe.splitting.compact.slices import MaskedConv2d
from nfe.splitting.exit_network import ExitNetwork
from nfe.splitting.layers import classifier
from nfe.splitting.network import FissionNetwork
from nfe.splitting.stages import in_mode


def live_share(network: ExitNetwork, images: Tensor, labels: Tensor) -> float:
    """Return the share of the surviving divided weights whose gradient is not zero.

    Of the sum of the exits' cross-entropies, in training mode. Counted are convolutions and
    the other divided layers, not the heads' last linear layers, norms and biases. Many images
    are better: a weight behind a ReLU that none of them passes counts as dead, and so does
    the border of a kernel on maps of one pixel.

    Args:
        network: an untrained network; it is left as it is.
        images: (batch, channels, h, w).
        labels: (batch,) class numbers.
    """
    measured = copy.deepcopy(network)
    with in_mode(measured, training=True):
        logits = measured(images)
    F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(measured.exits)).backward()
    live = total = 0
    for weight, survives in _divided(measured):
        if weight.grad is not None:
            live += int((weight.grad[survives] != 0).sum())
        total += int(survives.sum())
    return live / total


def _divided(network: ExitNetwork) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the weights that are divided over paths, each with where it survives pruning."""
    if isinstance(network, FissionNetwork):
        for split in network.weights.values():
            yield split.weight, split.group > 0  # type: ignore[misc, operator]
        return
    last = [classifier(head) for head in network.heads]
    for layer in network.modules():
        whole = any(layer is other for other in last)
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and not whole:
            every = torch.ones_like(layer.weight, dtype=torch.bool)
            yield layer.weight, layer.mask if isinstance(layer, MaskedConv2d) else every
