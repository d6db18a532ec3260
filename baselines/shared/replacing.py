"""Exchange layers of a network by kind, wherever they stand."""

from collections.abc import Callable
from typing import Any

from torch import nn


def replace_layers(
    network: nn.Module,
    kind: type[nn.Module] | tuple[type[nn.Module], ...],
    make: Callable[[str, Any], nn.Module],
) -> None:
    """Replace every layer of ``kind`` in place by what ``make`` returns for its name and it."""
    found = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, kind)]
    for name, layer in found:
        owner, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(owner), attribute, make(name, layer))
