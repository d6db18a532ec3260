"""A method is one small class: the interface between a method and the engine."""

from abc import ABC, abstractmethod
from functools import cache
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from nfe.common.errors import InputError
from nfe.method.checks import check_class
from nfe.method.context import Context
from nfe.method.optional import LooksAtData
from nfe.method.settings import Settings, load, registered, settings_class


class Method(Settings, ABC):
    """Base of every method: settings (see ``Settings``), a network, a loss, a combination rule.

    What few methods need stands in ``nfe.method.optional``.

    Attributes:
        combine: how members become one prediction: ``"logits"`` averages logits and then
            takes the softmax, ``"probabilities"`` averages the members' softmax.
        lifts: whether ``loss`` itself brings the network's outputs to float32, once for each of
            its terms (``nfe.common.precision.exact``): each term's gradient then returns in the
            network's type. Else the engine does, before the loss.
        capturable: whether a GPU may record a step's loss and gradients once and replay them.
            Then network and ``loss`` must do the same at every step as far as Python decides it:
            they neither read a tensor's values on the host nor draw on it (see ``DrawsOnCpu``).
            Of ``SequentialMembers`` each member is recorded. Else steps run one operation at a
            time.
    """

    combine: ClassVar[Literal["logits", "probabilities"]] = "probabilities"
    lifts: ClassVar[bool] = False
    capturable: ClassVar[bool] = False

    @abstractmethod
    def network(self, context: Context) -> nn.Module:
        """Return the network: images (batch, channels, h, w) → logits (batch, members, classes)."""

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scalar training loss and the logits (rows, members, classes).

        By default the members' mean cross-entropy, batch mean. ``network`` is to be called, as
        often and with whatever arguments its ``forward`` takes: it computes in the run's
        precision and answers in float32 (but see ``lifts``), so that losses are never computed in
        fewer bits.
        """
        logits: Tensor = network(inputs)
        rows, members, classes = logits.shape
        each = targets if targets.dim() == 2 else targets[:, None].expand(rows, members)
        loss = F.cross_entropy(logits.reshape(-1, classes), each.reshape(-1))
        return loss, logits


class Members(nn.Module):
    """Gives a network with logits (batch, classes) the members' axis: (batch, 1, classes)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, 1, classes)."""
        logits: Tensor = self.network(x)
        return logits.unsqueeze(1)


def skeleton(method: Method, context: Context) -> nn.Module:
    """Return the network that a method's saved weights are loaded into."""
    if isinstance(method, LooksAtData):
        return method.skeleton(context)
    return method.network(context)


@cache
def method_class(name: str) -> type[Method]:
    """Return the method registered under ``name``.

    Raises:
        InputError: no method has that name, or its class is not as it must be.
    """
    point = registered(name)[0]
    loaded = load(name, point)
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise InputError(f"method {name!r}: {point.value}: allowed: a subclass of Method")
    check_class(loaded)
    if not issubclass(loaded, settings := settings_class(name)):
        raise InputError(
            f"method {name!r}: {point.value}: allowed: a subclass of its settings, "
            f"{settings.__module__}.{settings.__qualname__}"
        )
    return loaded
