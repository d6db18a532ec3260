"""Compilation of the fast modes: one graph for all members that are built alike."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nfe.method import SequentialMembers


def compiled(network: nn.Module) -> nn.Module:
    """Return what computes as ``network`` does, compiled; it shares the weights."""
    if type(network).forward is SequentialMembers.forward:
        network = cast(SequentialMembers, network)
        _share_classes(list(network.members))
        return _InTurn(network)
    return cast(nn.Module, torch.compile(network))


def _share_classes(members: Sequence[nn.Module]) -> None:
    """Let parametrized layers at the same place in several networks be of one class.

    PyTorch makes a class for each such layer, with nothing in it but a property for each
    parametrized tensor; the compiler takes layers of two classes to be unlike.
    """
    for first, *others in zip(*(member.modules() for member in members), strict=False):
        for layer in filter(parametrize.is_parametrized, others):
            if _kind(layer) == _kind(first):
                layer.__class__ = type(first)


def _kind(layer: nn.Module) -> tuple[type[nn.Module], set[str]]:
    """Return a layer's class before its tensors were parametrized, and which of them are."""
    names = getattr(layer, "parametrizations", {})
    return parametrize.type_before_parametrizations(layer), set(names)


def _through(network: nn.Module, x: Tensor) -> Tensor:
    """Return the network's outputs; compiled, the network's weights are inputs of the graph."""
    return cast(Tensor, network(x))


class _InTurn(nn.Module):
    """Members that are trained one after another; the choice among them stays outside the graph.

    Compiled as a whole, each member would be a graph of its own, and compiled anew.
    """

    def __init__(self, network: SequentialMembers) -> None:
        super().__init__()
        self.network = network
        self._through = torch.compile(_through)

    def __getattr__(self, name: str) -> Any:
        """Return what the network has under a name."""
        own = self.__dict__["_modules"]
        return own[name] if name in own else getattr(own["network"], name)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch, 1, classes) of the member in training."""
        member = self.network.members[self.network.active]
        alone: Tensor = self._through(member, x)
        return alone.unsqueeze(1)
