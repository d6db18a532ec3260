"""Other widths and groups for a network of convolutions and batch norms, whoever made it.

The network runs once on a blank image. Each layer, as its turn comes, is given as many inputs as
arrive and as many outputs and groups as the structure says; so whatever joins the layers (sums,
concatenations, gates) need not be known, only fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from nfe.backbones.backbone import Backbone
from nfe.backbones.initialization import kaiming_normal_fan_out
from nfe.backbones.layers import form
from nfe.backbones.structure import Structure
from nfe.common.errors import InputError, first_line

# Names of residual networks' layers, in torchvision and timm alike.
_SHORTCUT = re.compile(r"(^|\.)downsample\.")
_FIRST = re.compile(r"(^|\.)layer\d+\.\d+\.conv1$")


@torch.no_grad()
def restructure(backbone: Backbone, structure: Structure, image: Tensor) -> Backbone:
    """Give a fresh network other widths and groups in place, and draw its weights anew.

    Drawn as the suite's own networks are (``kaiming_normal_fan_out``). Depthwise convolutions stay
    depthwise; the last layer of the head keeps its outputs.

    Args:
        backbone: the network, in evaluation mode.
        structure: widths and groups.
        image: any image (1, channels, h, w) that it takes.

    Raises:
        InputError: it has weights of another kind than convolutions, batch norms and a linear
            head, grouped convolutions, or layers that no longer fit one another.
    """
    layers = dict(_numbered(backbone))
    _check(layers)
    last = [layer for layer, _ in layers.values() if isinstance(layer, (nn.Conv2d, nn.Linear))][-1]
    done: set[nn.Module] = set()

    def resize(name: str, stage: int) -> Callable[[nn.Module, Any], None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if layer not in done:
                done.add(layer)
                _resize(layer, inputs[0].shape[1], structure, stage, name, layer is last)

        return hook

    hooks = [
        layer.register_forward_pre_hook(resize(name, stage))
        for name, (layer, stage) in layers.items()
    ]
    try:
        backbone(image)
    except InputError:
        raise
    except Exception as error:  # Whatever joins two layers raises it.
        reason = first_line(error)
        raise InputError(f"with other widths its layers do not fit one another: {reason}") from None
    finally:
        for hook in hooks:
            hook.remove()
    return kaiming_normal_fan_out(backbone)


def _numbered(backbone: Backbone) -> Iterator[tuple[str, tuple[nn.Module, int]]]:
    """Yield the layers with weights of their own by name, each with its stage; the stem is 0."""
    parts = [backbone.stem, *backbone.stages, backbone.head]
    for stage, part in enumerate(parts):
        for name, layer in part.named_modules():
            if any(True for _ in layer.parameters(recurse=False)):
                yield f"{stage}.{name}", (layer, stage)


def _check(layers: dict[str, tuple[nn.Module, int]]) -> None:
    behind = max(stage for _, stage in layers.values())
    for name, (layer, stage) in layers.items():
        own = name.partition(".")[2]
        known = isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))
        if not known and not (isinstance(layer, nn.Linear) and stage == behind):
            raise InputError(
                f"the method changes widths or groups of all layers, which is defined for "
                f"convolutions with batch norms: {_told(own, layer)}"
            )
        if isinstance(layer, nn.Conv2d) and layer.groups not in (1, layer.in_channels):
            raise InputError(
                f"the method changes widths or groups of all layers, and {own!r} is a convolution "
                f"of {layer.groups} groups: allowed: ungrouped or depthwise ones"
            )


def _told(name: str, layer: nn.Module) -> str:
    """Return what a layer is, or, of weights that belong to none, their name."""
    if isinstance(layer, fx.GraphModule):
        return f"{next(layer.named_parameters(recurse=False))[0]!r} is neither"
    return f"{name!r} is a {type(layer).__name__}"


def _resize(
    layer: nn.Module, inputs: int, structure: Structure, stage: int, name: str, last: bool
) -> None:
    if isinstance(layer, nn.Conv2d):
        _resize_conv(layer, inputs, structure, stage, name)
    elif isinstance(layer, nn.BatchNorm2d):
        _become(layer, nn.BatchNorm2d(inputs, layer.eps, layer.momentum).eval())
    else:
        linear = cast(nn.Linear, layer)
        outputs = linear.out_features if last else structure.width(stage, linear.out_features)
        _become(layer, nn.Linear(inputs, outputs, linear.bias is not None))


def _resize_conv(
    layer: nn.Conv2d, inputs: int, structure: Structure, stage: int, name: str
) -> None:
    if layer.groups > 1:
        outputs, groups = inputs * layer.out_channels // layer.in_channels, inputs
    else:
        outputs = structure.width(stage, layer.out_channels)
        # As the structure has it, for it may tell a block's first convolution from the others.
        groups = structure.conv(
            stage,
            inputs,
            outputs,
            kernel=1,
            shortcut=bool(_SHORTCUT.search(name)),
            first=bool(_FIRST.search(name)),
        ).groups
    _become(layer, nn.Conv2d(inputs, outputs, groups=groups, **form(layer)))


def _become(layer: nn.Module, other: nn.Module) -> None:
    """Let a layer be what another one of its kind is, wherever it is referred to."""
    for name, value in vars(other).items():
        if name not in ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"):
            vars(layer)[name] = value
