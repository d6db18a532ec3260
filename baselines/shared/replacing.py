"""Exchange layers of a network by kind, wherever they stand."""

from collections.abc import Callable
from typing import Any

from torch import nn

from nfe.common.errors import InputError


def replace_layers(
    network: nn.Module,
    kind: type[nn.Module] | tuple[type[nn.Module], ...],
    make: Callable[[str, Any], nn.Module],
) -> None:
    """Replace every layer of ``kind`` in place by what ``make`` returns for its name and it.

    Raises:
        InputError: a layer's owner computes with its weights rather than by calling it.
    """
    found = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, kind)]
    for name, layer in found:
        owner, _, attribute = name.rpartition(".")
        if isinstance(network.get_submodule(owner), nn.MultiheadAttention):
            raise InputError(
                f"layer {name!r}: PyTorch's MultiheadAttention computes with its weights rather "
                f"than by calling it, so that what replaces it would not be called: allowed: "
                f"networks whose attention is made of linear layers"
            )
        setattr(network.get_submodule(owner), attribute, make(name, layer))
