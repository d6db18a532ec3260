"""Which layers of a staged network are divided over paths, and which of those are pruned."""

from collections.abc import Collection

from torch import nn

from nfe.backbones import Backbone
from nfe.common.errors import unknown

# Kinds of layers that a path can keep whole, as a copy of its own that is never pruned.
KINDS = ("pointwise", "grouped", "depthwise", "linear", "head")


def kind(layer: nn.Module) -> str:
    """Return the kind of a layer with weights.

    ``linear``; ``depthwise``: one group per input channel; ``grouped``: several groups;
    ``pointwise``: a 1×1 kernel; ``spatial``: any other convolution; ``other``: no such layer.
    """
    if isinstance(layer, nn.Linear):
        return "linear"
    if not isinstance(layer, nn.Conv2d):
        return "other"
    if layer.groups > 1:
        return "depthwise" if layer.groups == layer.in_channels else "grouped"
    return "pointwise" if layer.kernel_size == (1, 1) else "spatial"


def _weighted(part: nn.Module) -> dict[str, nn.Module]:
    """Return the convolutions and linear layers that own a weight parameter, by name."""
    return {
        name: layer
        for name, layer in part.named_modules()
        if kind(layer) != "other" and layer._parameters.get("weight") is not None
    }


def check_kept_whole(whole: Collection[str]) -> None:
    """Check the kinds of layers that are to be kept whole.

    Raises:
        InputError: a kind is unknown.
    """
    for name in whole:
        if name not in KINDS:
            raise unknown("kind of layer to keep whole", name, KINDS)


def pruned_layers(network: Backbone, whole: Collection[str] = ()) -> dict[str, nn.Module]:
    """Return the layers of stem and stages that are pruned and divided, by name.

    Convolutions, and linear layers (which are 1×1 convolutions by another name) inside stages.
    """
    parts = [("stem", network.stem), ("stages", network.stages)]
    return {
        f"{prefix}.{name}".rstrip("."): layer
        for prefix, part in parts
        for name, layer in _weighted(part).items()
        if kind(layer) not in whole
    }


def head_layers(network: Backbone, whole: Collection[str] = ()) -> dict[str, nn.Module]:
    """Return the hidden layers of the head, divided like a stage but not pruned, by name.

    All but the last linear layer, which every path has for itself.
    """
    if "head" in whole:
        return {}
    found = {f"head.{name}".rstrip("."): layer for name, layer in _weighted(network.head).items()}
    linear = [name for name, layer in found.items() if isinstance(layer, nn.Linear)]
    return {n: layer for n, layer in found.items() if n not in linear[-1:]}
