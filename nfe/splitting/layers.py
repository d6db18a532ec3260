"""Which layers of a staged network are divided over paths, and which of those are pruned."""

from collections.abc import Collection

from torch import nn

from nfe.backbones import Backbone
from nfe.backbones.layers import classifier, is_weighted
from nfe.common.errors import InputError

# Norms over several axes: their scales are no weights between channels.
_NORMS = (nn.LayerNorm, nn.RMSNorm)


def kind(layer: nn.Module) -> str:
    """Return the kind of a layer with weights.

    ``linear``; ``depthwise``: one group per input channel; ``grouped``: several groups;
    ``pointwise``: a 1×1 kernel; ``spatial``: any other convolution, all of these over one, two or
    three axes; ``other``: no such layer.
    """
    if isinstance(layer, nn.Linear):
        return "linear"
    if not isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return "other"
    if layer.groups > 1:
        return "depthwise" if layer.groups == layer.in_channels else "grouped"
    return "pointwise" if set(layer.kernel_size) == {1} else "spatial"


def _weighted(part: nn.Module) -> dict[str, nn.Module]:
    """Return the convolutions and linear layers that own a weight parameter, by name."""
    return {name: layer for name, layer in part.named_modules() if is_weighted(layer)}


def check_divisible(network: Backbone, whole: Collection[str] = ()) -> None:
    """Check that the weights of a network can be divided over paths.

    Raises:
        InputError: there is no layer to divide, or a layer is of a kind that cannot be divided and
            would be copied for every path unasked.
    """
    if not pruned_layers(network) and not head_layers(network):
        raise InputError(
            "the network has no convolution or linear layer in its stem and stages: "
            "there is nothing to divide over exits"
        )
    if "other" in whole:
        return
    for name, layer in network.named_modules():
        for own, weight in layer._parameters.items():
            if "weight" in own and _is_matrix(layer, weight):
                raise InputError(
                    f"layer {name!r} ({type(layer).__name__}): its {own} can be neither divided "
                    f"nor pruned: only convolutions and linear layers can: whole=['other'] "
                    f"gives every path a copy"
                )


def _is_matrix(layer: nn.Module, weight: nn.Parameter | None) -> bool:
    """Return whether a parameter of no layer that is divided has several rows and columns."""
    if weight is None or kind(layer) != "other" or isinstance(layer, _NORMS):
        return False
    return sum(side > 1 for side in weight.shape) > 1


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

    All but the classifier, which every path has for itself.
    """
    if "head" in whole:
        return {}
    found = {f"head.{name}".rstrip("."): layer for name, layer in _weighted(network.head).items()}
    last = classifier(network.head)
    return {n: layer for n, layer in found.items() if layer is not last}
