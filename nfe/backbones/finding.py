"""Where the stages of a network begin, seen from its modules and from one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from nfe.backbones.known_stages import RESNET
from nfe.backbones.stages import in_mode
from nfe.common.errors import InputError, first_line

# What libraries call the sequence that a network's body is.
_STAGES, _BLOCKS = ("stages", "layers"), ("blocks", "features")
# Stages of a body whose features keep their size.
_EQUAL = 4


def find_stages(model: nn.Module, image: Tensor) -> tuple[str, ...]:
    """Return the names of the modules that begin a stage (see ``staged``).

    Either ``layer1`` to ``layer4``; or every child of ``stages`` or ``layers``; or, of ``blocks``
    or ``features``, those in which the features become smaller, and where they keep their size,
    the children in four equal parts.

    Args:
        model: the network.
        image: any image (1, channels, h, w) that it takes.

    Raises:
        InputError: it has none of these.
    """
    if all(isinstance(getattr(model, name, None), nn.Module) for name in RESNET):
        return RESNET
    for name, body in model.named_modules():
        own = name.rpartition(".")[2]
        if not isinstance(body, (nn.Sequential, nn.ModuleList)) or len(body) < 2:
            continue
        children = [f"{name}.{child}" for child, _ in body.named_children()]
        if own in _STAGES and len(children) <= 6:
            return tuple(children)
        if own in (*_STAGES, *_BLOCKS):
            smaller = _smaller(model, body, image)
            first = 1 if own == "features" else 0
            return _begun(children, [first, *(n for n in smaller if n > first)])
    raise InputError(
        f"where its stages begin is not seen: allowed: --stages, the names of the modules that "
        f"begin one; it has {', '.join(name for name, _ in model.named_children())}"
    )


def _begun(children: Sequence[str], begins: Sequence[int]) -> tuple[str, ...]:
    if len(begins) == 1:
        parts = min(_EQUAL, len(children))
        begins = [len(children) * part // parts for part in range(parts)]
    *names, last = [children[begin] for begin in begins]
    end = children[-1]
    return (*names, last if last == end else f"{last}..{end}")


@torch.no_grad()
def _smaller(model: nn.Module, body: nn.Module, image: Tensor) -> list[int]:
    """Return the numbers of the children whose maps are smaller than the one's before."""
    sides: dict[int, int] = {}

    def watch(number: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() == 4:
                sides[number] = output.shape[-1]

        return hook

    hooks = [m.register_forward_hook(watch(n)) for n, m in enumerate(body.children())]
    try:
        with in_mode(model, training=False):
            model(image)
    except Exception as error:  # Whatever it raises: it does not take the image.
        reason = first_line(error)
        raise InputError(f"it does not take images {tuple(image.shape)}: {reason}") from None
    finally:
        for hook in hooks:
            hook.remove()
    return [after for before, after in pairwise(sorted(sides)) if sides[after] < sides[before]]
