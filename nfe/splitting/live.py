"""Which share of a fissioned network's weights is live: can have a gradient at initialization.

A path that owns whole filters but reads channels that it never computes, or computes channels
that it never reads, has weights that count as its own and do nothing.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nfe.backbones.layers import classifier
from nfe.splitting.compact.chain_rules import ACTIVATIONS
from nfe.splitting.compact.network import CompactNetwork
from nfe.splitting.compact.slices import MaskedConv2d
from nfe.splitting.exit_network import ExitNetwork
from nfe.splitting.path_layers import PathLayer


def live_share(network: ExitNetwork, image: Tensor) -> float:
    """Return the share of the surviving divided weights that some gradient can reach.

    A weight is live if weights that are not zero lead from an image to it and from it to some
    exit, for activations that are zero at zero and increase above it, ReLU among them, and norms
    without shift, which is where they start. No data and no chance are in it, and a trained
    network has the share that it had before. Counted are convolutions and the other divided
    layers, not the heads' last linear layers, norms and biases; the border of a kernel on maps
    of one pixel counts as dead. Where no weight survives the share is 0.

    Args:
        network: the network, on any device; it is left as it is.
        image: one image, (1, channels, h, w); its values do not matter.
    """
    flow = _flow(network)
    flow(torch.ones_like(image, dtype=torch.float64, device="cpu")).sum().backward()
    live = total = 0
    for weight, survives in _divided(flow):
        if weight.grad is not None:
            live += int((weight.grad[survives] != 0).sum())
        total += int(survives.sum())
    return live / max(total, 1)


def _flow(network: ExitNetwork) -> ExitNetwork:
    """Return a copy in which every sum is of positive terms: what is zero, nothing reaches.

    Weights that are not zero are all alike, such that a layer returns means of its inputs; norms
    pass on what comes, and pooling looks at every pixel.
    """
    flow = copy.deepcopy(network).cpu().double().eval().requires_grad_(True)
    with torch.no_grad():
        for parameter in flow.parameters():
            inputs = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.copy_((parameter != 0) / inputs)
    for layer in flow.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
            layer.reset_parameters()
        for name, part in layer.named_children():
            # What large values would saturate, too.
            if isinstance(part, (nn.LayerNorm, nn.RMSNorm, *ACTIVATIONS)):
                setattr(layer, name, nn.Identity())
            if isinstance(part, nn.MaxPool2d):
                mean = nn.AvgPool2d(part.kernel_size, part.stride, part.padding, part.ceil_mode)
                setattr(layer, name, mean)
    return flow


def _divided(network: ExitNetwork) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the weights that are divided over paths, each with where it survives pruning."""
    for split in network.weights.values():
        yield split.weight, split.group > 0  # type: ignore[misc, operator]
    if isinstance(network, CompactNetwork):
        yield from _of_paths(network)


def _of_paths(network: CompactNetwork) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the weights that lie in paths' own layers."""
    last = [classifier(head) for head in network.heads]
    for layer in network.modules():
        if isinstance(layer, PathLayer) or any(layer is other for other in last):
            continue
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            every = torch.ones_like(layer.weight, dtype=torch.bool)
            yield layer.weight, layer.mask if isinstance(layer, MaskedConv2d) else every
