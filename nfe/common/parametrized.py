"""Layers whose tensors PyTorch computes anew at each use (``torch.nn.utils.parametrize``)."""

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn
from torch.nn.utils import parametrize


def parametrizations(layer: nn.Module) -> Mapping[str, parametrize.ParametrizationList]:
    """Return what computes each parametrized tensor of a layer, by the tensor's name."""
    return cast("Mapping[str, parametrize.ParametrizationList]", layer.parametrizations)


def make_plain(layer: nn.Module) -> None:
    """Compute a layer's parametrized tensors once; from then on they are ordinary ones.

    Those computed from parameters are parameters, trained where these are; else buffers.
    """
    # Not by remove_parametrizations: it takes the tensor off the class, which a copy has in
    # common with the layer that it was copied from.
    made: list[tuple[str, Tensor, list[nn.Parameter]]] = [
        (name, cast(Tensor, getattr(layer, name)).detach().clone(), [*parts.parameters(False)])
        for name, parts in parametrizations(layer).items()
    ]
    original = parametrize.type_before_parametrizations(layer)
    del layer._modules["parametrizations"]
    layer.__class__ = original
    for name, value, sources in made:
        if sources:
            trained = any(source.requires_grad for source in sources)
            layer.register_parameter(name, nn.Parameter(value, trained))
        else:
            layer.register_buffer(name, value)
