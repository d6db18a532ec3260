"""Networks as their libraries make them, for the images and classes of a data set."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn

from nfe.backbones.description import Description, source, working_directory_importable
from nfe.backbones.layers import form
from nfe.backbones.pooling import DeterministicAvgPool2d
from nfe.common.errors import InputError, first_line

# What functions call the number of classes, the images' channels, and their side.
_CLASSES = ("classes", "num_classes")
_CHANNELS = ("channels", "in_chans", "in_channels")
_SIDE = ("resolution", "img_size", "image_size")


def make(description: Description, channels: int, classes: int, resolution: int) -> nn.Module:
    """Return a network with fresh weights, by its library's own draw from the global stream.

    Where the library has no choice of channels, the first convolution is exchanged.

    Raises:
        InputError: the library has no such network, or cannot make it so.
    """
    found = source(description.network)
    assert found is not None
    home, name = found
    settings = dict(description.settings)
    if home == "torchvision":
        network = _torchvision(name, settings, classes, resolution)
    elif home == "timm":
        network = _timm(name, settings, channels, classes, resolution)
    else:
        network = _function(home, name, settings, (channels, classes, resolution))
    _fit_channels(network, channels)
    for layer in network.modules():
        # Several branches read one tensor here, which an in-place activation would overwrite.
        if getattr(layer, "inplace", False) is True:
            layer.inplace = False  # type: ignore[assignment]
        if type(layer) is nn.AdaptiveAvgPool2d and layer.output_size not in (1, (1, 1)):
            layer.__class__ = DeterministicAvgPool2d
    return network.train()


def _called(maker: Callable[..., Any], given: Mapping[str, Any]) -> nn.Module:
    try:
        made = maker(**given)
    except (TypeError, ValueError, RuntimeError, AssertionError, KeyError) as error:
        reason = first_line(error)
        words = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise InputError(f"it cannot be made with {words}: {reason}") from None
    if not isinstance(made, nn.Module):
        raise InputError(f"it is a {type(made).__name__}: allowed: an nn.Module")
    return made


def _torchvision(name: str, settings: dict[str, Any], classes: int, resolution: int) -> nn.Module:
    from torchvision import models

    try:
        maker = models.get_model_builder(name)
    except ValueError:
        raise InputError(f"torchvision has no network {name!r}") from None
    size = {"image_size": resolution} if name.startswith("vit_") else {}
    return _called(maker, {"weights": None, "num_classes": classes, **size, **settings})


def _timm(
    name: str, settings: dict[str, Any], channels: int, classes: int, resolution: int
) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise InputError('timm is not installed: allowed: pip install "nfe-bench[timm]"') from None
    if not timm.is_model(name):
        raise InputError(f"timm has no network {name!r}")
    facts = timm.get_pretrained_cfg(name)
    size = {"img_size": resolution} if facts is not None and facts.fixed_input_size else {}
    given = {"num_classes": classes, "in_chans": channels, **size, **settings}
    return _called(timm.create_model, {"model_name": name, "pretrained": False, **given})


def _function(
    module: str, name: str, settings: dict[str, Any], size: tuple[int, int, int]
) -> nn.Module:
    with working_directory_importable():
        try:
            function = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"{module}:{name} cannot be imported ({type(error).__name__}: {error})"
            ) from None
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise InputError(f"{module}:{name}: allowed: a function that makes a network") from None
    channels, classes, resolution = size
    given: dict[str, Any] = {}
    for names, value in ((_CLASSES, classes), (_CHANNELS, channels), (_SIDE, resolution)):
        given |= {key: value for key in names if key in known}
    if not given.keys() & set(_CLASSES):
        if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise InputError(f"{module}:{name} takes neither {' nor '.join(_CLASSES)}")
        given["num_classes"] = classes
    return _called(function, {**given, **settings})


def _fit_channels(network: nn.Module, channels: int) -> None:
    """Exchange the first convolution where the network takes images of other channels.

    Its weights are drawn from a normal distribution with the deviation of those that it had.
    """
    named = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    if not named or named[0][1].in_channels == channels:
        return
    name, old = named[0]
    if old.groups != 1 or old.in_channels > 4:
        raise InputError(
            f"its first convolution {name!r} takes {old.in_channels} channels, the images have "
            f"{channels}: allowed: a function with a parameter {' or '.join(_CHANNELS)}"
        )
    new = nn.Conv2d(channels, old.out_channels, **form(old))
    with torch.no_grad():
        new.weight.normal_(0, math.sqrt(float(old.weight.square().mean())))
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    network.set_submodule(name, new)
