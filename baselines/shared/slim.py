"""One network at several widths: narrower networks that compute with the first of its channels."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.shared.replacing import replace_layers
from nfe.backbones import Backbone, Structure
from nfe.common.errors import InputError
from nfe.method import Context


@dataclass(frozen=True)
class SlimStructure(Structure):
    """A share of every layer's channels, rounded down, as Yu et al. (ICLR 2019) round it.

    Attributes:
        share: the share.
    """

    share: float

    def width(self, stage: int, plain: int, groups: int = 1) -> int:
        """Return ⌊share × C⌋, in ResNeXt a multiple of its groups.

        Raises:
            InputError: no channel is left.
        """
        # A share in floating point can fall below a whole number that it equals.
        if (width := int(self.share * plain / groups + 1e-9) * groups) > 0:
            return width
        raise InputError(
            f"widths: {self.share} of {plain} channels in stage {stage} leaves none of {groups}: "
            f"allowed: larger shares, or a wider architecture"
        )


class Sliced(nn.Module):
    """A narrower layer that computes with the first rows and columns of another one's weights.

    Attributes:
        own: the layer without weights.
    """

    def __init__(self, whole: nn.Conv2d | nn.Linear, own: nn.Conv2d | nn.Linear) -> None:
        """Let ``own``, a layer like ``whole`` with fewer channels, use its weights."""
        super().__init__()
        self._rows, self._columns = own.weight.shape[:2]
        own.register_parameter("weight", None)
        own.register_parameter("bias", None)
        self.own = own
        # Not as a part of this layer: the weights are the network's once.
        self._whole = (whole,)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the narrower layer makes of ``x``."""
        (whole,) = self._whole
        weight = whole.weight[: self._rows, : self._columns]
        bias = None if whole.bias is None else whole.bias[: self._rows]
        if isinstance(self.own, nn.Linear):
            return F.linear(x, weight, bias)
        out: Tensor = self.own._conv_forward(x, weight, bias)
        return out


class SlicedNorm(nn.Module):
    """A narrower batch norm with another one's first scales and shifts, and its own statistics.

    Attributes:
        own: the batch norm without scale and shift.
        tracking: whether training updates the statistics.
    """

    def __init__(self, whole: nn.BatchNorm2d, own: nn.BatchNorm2d) -> None:
        """Let ``own``, with fewer channels, use the scales and shifts of ``whole``."""
        super().__init__()
        self.own = nn.BatchNorm2d(own.num_features, own.eps, own.momentum, affine=False)
        self.tracking = True
        self._whole = (whole,)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (batch, channels, h, w)."""
        (whole,), own = self._whole, self.own
        scale, shift = (p[: own.num_features] for p in (whole.weight, whole.bias))
        momentum = (own.momentum or 0.0) if self.tracking else 0.0
        return F.batch_norm(
            x, own.running_mean, own.running_var, scale, shift, self.training, momentum, own.eps
        )


class Slim(nn.Module):
    """A network, and narrower ones that compute with its weights.

    Attributes:
        whole: the network.
        narrow: the narrower ones, narrowest first.
    """

    def __init__(self, whole: Backbone, narrow: list[Backbone], shared_norms: bool) -> None:
        """Let the narrower networks compute with the weights of ``whole``.

        Args:
            whole: the network.
            narrow: the same with fewer channels; they keep their batch norms.
            shared_norms: whether the batch norms, too, take scales and shifts from ``whole``.
        """
        super().__init__()
        self.whole = whole

        def sliced(name: str, own: Any) -> nn.Module:
            return Sliced(whole.get_submodule(name), own)  # type: ignore[arg-type]

        def normed(name: str, own: Any) -> nn.Module:
            return SlicedNorm(whole.get_submodule(name), own)  # type: ignore[arg-type]

        for network in narrow:
            replace_layers(network, (nn.Conv2d, nn.Linear), sliced)
            if shared_norms:
                replace_layers(network, nn.BatchNorm2d, normed)
        self.narrow = nn.ModuleList(narrow)

    def forward(self, x: Tensor, width: int | None = None, tracking: bool = True) -> Tensor:
        """Map images (batch, channels, h, w) to logits (batch, widths, classes), narrowest first.

        Args:
            x: the images.
            width: number of one width, from the narrowest; then logits are (batch, classes).
            tracking: whether shared batch norms of that width update their statistics.
        """
        networks = [*self.narrow, self.whole]
        if width is None:
            return torch.stack([network(x) for network in networks], dim=1)
        for layer in networks[width].modules():
            if isinstance(layer, SlicedNorm):
                layer.tracking = tracking
        logits: Tensor = networks[width](x)
        return logits


def slim(context: Context, widths: tuple[float, ...], shared_norms: bool) -> Slim:
    """Return the run's backbone at several widths.

    Args:
        context: what the backbone is built with.
        widths: shares of the channels, ascending to 1.
        shared_norms: see ``Slim``.

    Raises:
        InputError: the backbone cannot have such widths.
    """
    whole = context.backbone()
    narrow = [context.backbone(structure=SlimStructure(share)) for share in widths[:-1]]
    return Slim(whole, narrow, shared_norms)
