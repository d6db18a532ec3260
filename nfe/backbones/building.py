"""A network of one's own, made, given its weights, cut into stages and compared with itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from nfe.backbones import builtin, pretrained
from nfe.backbones.architecture import Architecture
from nfe.backbones.backbone import Backbone
from nfe.backbones.description import Description, check_here, library_of
from nfe.backbones.finding import find_stages
from nfe.backbones.known_stages import known_stages
from nfe.backbones.making import make
from nfe.backbones.restructuring import restructure
from nfe.backbones.stages import in_mode, staged
from nfe.backbones.structure import Structure
from nfe.common.errors import InputError, first_line, unknown
from nfe.common.seeds import generator

# Largest difference that rounding makes between a network and its stages, of the largest logit.
_TOLERANCE = 1e-3
# What was compared in this process: methods build the same network many times.
_compared: set[str] = set()


def build(
    name: str,
    description: Description,
    weights: Path | None,
    *,
    channels: int,
    classes: int,
    resolution: int,
    structure: Structure,
) -> Backbone:
    """Return the network in stages, drawn from PyTorch's global stream.

    Args:
        name: what it is called in configurations.
        description: what decides it.
        weights: the file of pretrained weights; None: it stays as it was drawn.
        channels: image channels.
        classes: number of classes.
        resolution: image side in pixels.
        structure: widths and groups.

    Raises:
        InputError: it cannot be made like that, or not here; the message begins with its name.
    """
    size = (channels, classes, resolution)
    try:
        check_here(description, weights)
        if not description.library:
            backbone = _of_suite(description.network).build(
                channels=channels, classes=classes, resolution=resolution, structure=structure
            )
            if weights is not None:
                pretrained.load(weights, description.head, backbone, backbone)
            return backbone
        model = make(description, *size)
        backbone = staged(model, description.stages)
        _compare(description, model, backbone, size)
        if type(structure) is not Structure:
            _check_unweighted(weights)
            return _restructured(backbone, structure, size)
        if weights is not None:
            pretrained.load(weights, description.head, model, backbone)
    except InputError as error:
        raise InputError(f"architecture {name!r}: {error}") from None
    return backbone


def describe(
    network: str,
    settings: Mapping[str, Any],
    stages: Sequence[str],
    size: tuple[int, int, int],
) -> Description:
    """Return the description of a network, made and cut into stages once.

    Args:
        network: see ``nfe.backbones.description``.
        settings: keywords that it is made with.
        stages: names of the modules that begin a stage; none: they are looked for.
        size: channels, classes and resolution of the images that it is tried on.

    Raises:
        InputError: it cannot be made, cut, or run.
    """
    channels, _, resolution = size
    library = library_of(network)
    if not library:
        if settings or stages:
            raise InputError(f"{network} is the suite's own: allowed: no settings, no stages")
        count = _of_suite(network).stages
        return Description(network, "", tuple(f"stages.{number}" for number in range(count)))
    # Settings may change how many blocks there are.
    found = tuple(stages) or (() if settings else known_stages(network)) or ()
    if not found:
        model = make(Description(network, library, (), settings), *size)
        found = find_stages(model, torch.zeros(1, channels, resolution, resolution))
    return Description(network, library, found, settings)


def _of_suite(network: str) -> Architecture:
    if (found := builtin.find(network)) is None:
        raise unknown("network", network, [*builtin.names(), "torchvision:NAME", "timm:NAME"])
    return found


def _check_unweighted(weights: Path | None) -> None:
    if weights is not None:
        raise InputError(
            "it begins with pretrained weights, and the method changes the widths or groups of "
            "all layers: allowed: the network without pretrained weights"
        )


def _restructured(backbone: Backbone, structure: Structure, size: tuple[int, int, int]) -> Backbone:
    channels, _, resolution = size
    image = torch.zeros(1, channels, resolution, resolution)
    with _disable_current_modes(), in_mode(backbone, training=False):
        return restructure(backbone, structure, image).train()


@torch.no_grad()
def _compare(
    description: Description, model: nn.Module, backbone: Backbone, size: tuple[int, int, int]
) -> None:
    """Check that the network takes the images, and that its stages compute what it does.

    In evaluation mode, on a random image; it counts as no part of what building takes.
    """
    told = json.dumps([description.record(), size], sort_keys=True, default=str)
    if told in _compared:
        return
    channels, classes, resolution = size
    image = torch.randn(
        1, channels, resolution, resolution, generator=generator("cpu", 0, "compared")
    )
    with _disable_current_modes(), in_mode(model, training=False):
        try:
            expected = model(image.clone())
        except Exception as error:  # Whatever it raises: it does not take them.
            reason = first_line(error)
            raise InputError(
                f"it does not take images of {channels} channels and {resolution} pixels: {reason}"
            ) from None
        if not isinstance(expected, torch.Tensor) or expected.shape != (1, classes):
            raise InputError(f"it does not return logits (batch, {classes})")
        with in_mode(backbone, training=False):
            found = backbone(image.clone())
    largest = float(expected.abs().max())
    if not torch.allclose(expected, found, rtol=0, atol=_TOLERANCE * largest):
        raise InputError("cut into stages it gives other logits: name other stages")
    _compared.add(told)
