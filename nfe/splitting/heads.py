"""Heads drawn separately: each exit of a fissioned network starts from a draw of its own."""

from collections.abc import Sequence

import torch
from torch import nn

from nfe.backbones.initialization import kaiming_normal_fan_out
from nfe.common.seeds import global_stream


def draw_heads(heads: Sequence[nn.Module], seed: int) -> None:
    """Draw the heads of all exits but the final one anew, in place.

    As Lee & Lee (arXiv 2408.02301) do, whose exits each have a head of their own. The final
    exit keeps the backbone's. Drawn are the linear layers and convolutions whose weights
    belong to one exit alone; hidden layers divided over exits keep the backbone's draw, and
    norms have none. The initialization is the backbones' (``kaiming_normal_fan_out``).

    Args:
        heads: the heads, exit 1 first.
        seed: seed of the run; exit k has the initialization stream ``head``, k.
    """
    for path, head in enumerate(heads[:-1], start=1):
        own = [layer for layer in head.modules() if _has_own_weight(layer)]
        with global_stream(seed, "initialization", "head", path), torch.no_grad():
            for layer in own:
                layer.reset_parameters()  # type: ignore[operator]
                kaiming_normal_fan_out(layer)


def _has_own_weight(layer: nn.Module) -> bool:
    is_drawn = isinstance(layer, (nn.Linear, nn.Conv2d))
    return is_drawn and layer._parameters.get("weight") is not None
