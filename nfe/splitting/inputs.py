"""Whether an example fits a network: found by running it, told by the module that fails."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nfe.backbones.stages import in_mode
from nfe.common.errors import InputError, first_line
from nfe.pruning import check_labels


@torch.no_grad()
def check_example(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Check that a network can compute on an example, by running its first two images.

    Args:
        model: images (batch, channels, h, w) → logits (batch, classes).
        images: images of the example.
        labels: (batch,) class numbers, see ``nfe.pruning.as_example``.

    Raises:
        InputError: the innermost module that fails, or that is called twice, is named, or
            images and labels do not fit.
    """
    entered: list[str] = []
    calls: dict[str, int] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _inputs: Any) -> None:
            entered.append(name)
            calls[name] = calls.get(name, 0) + (1 if "weight" in module._parameters else 0)

        return hook

    def after(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        entered.pop()

    hooks = []
    for name, module in model.named_modules():
        hooks += [
            module.register_forward_pre_hook(before(name)),
            module.register_forward_hook(after),
        ]
    try:
        with in_mode(model, training=False):
            logits = model(images[:2])
    except Exception as error:
        where = entered[-1] if entered else ""
        kind = type(model.get_submodule(where)).__name__
        reason = first_line(error)
        raise InputError(
            f"example images {tuple(images.shape)}: module {where!r} ({kind}) "
            f"cannot take them: {reason}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    for name, count in calls.items():
        if count > 1:
            raise InputError(
                f"module {name!r} is used twice: its weights cannot be divided over paths"
            )
    _check_classes(logits, images, labels)


def _check_classes(logits: Tensor, images: Tensor, labels: Tensor) -> None:
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise InputError("example: the network does not return logits (batch, classes)")
    check_labels(images, labels)
    classes = logits.shape[1]
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise InputError(f"example labels: allowed: class numbers from 0 to {classes - 1}")
