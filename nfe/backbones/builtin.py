"""The suite's own architectures, by name."""

from __future__ import annotations

import re
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nfe.backbones.architecture import Architecture
from nfe.common.errors import InputError

if TYPE_CHECKING:
    from nfe.backbones.backbone import Backbone

IMAGENET = "-imagenet"


def _made(module: str, function: str, *arguments: Any, **how: Any) -> Backbone:
    """Return what a file of this package makes; it is imported when the first network is made."""
    made: Backbone = getattr(import_module(f"nfe.backbones.{module}"), function)(*arguments, **how)
    return made


def _wide_resnet(depth: int, width: int) -> Architecture:
    name = f"wrn-{depth}-{width}"
    if depth < 10 or (depth - 4) % 6:
        raise InputError(f"architecture {name!r}: depth must be 6n + 4, n at least 1")
    if width < 1:
        raise InputError(f"architecture {name!r}: width must be at least 1")
    return Architecture(name, 3, partial(_made, "wide_resnet", "wide_resnet", depth, width))


def _residual(name: str, imagenet: bool) -> Architecture:
    factory = partial(_made, "resnet", "resnet", name, imagenet)
    return Architecture(f"{name}{IMAGENET * imagenet}", 4, factory)


def _vgg(imagenet: bool) -> Architecture:
    return Architecture(f"vgg16{IMAGENET * imagenet}", 5, partial(_made, "vgg", "vgg16", imagenet))


def _patched(family: str, patch: int) -> Architecture:
    name, (module, function) = f"{family}-{patch}", _PATCHED[family]
    if patch < 1:
        raise InputError(f"architecture {name!r}: the patch must be at least 1 pixel")
    factory = partial(_made, module, function, patch)
    return Architecture(name, 4, factory, optimizer="adamw")


# Networks of patches, with the file and the function that makes each.
_PATCHED = {
    "vit-tiny": ("vit", "vit_tiny"),
    "convnext-atto": ("convnext", "convnext_atto"),
}
_RESIDUAL = ("resnet18", "resnet34", "resnet50", "resnext50")


def names() -> list[str]:
    """Return the names of the suite's own architectures; D, K and P stand for numbers.

    ``-imagenet`` asks for ImageNet's form (7×7 stem with pooling; VGG's large head) where the
    images are small; above 64 pixels it is the form in any case. P is the side of a patch.
    """
    plain = [*_RESIDUAL, "vgg16"]
    patched = [f"{family}-P" for family in _PATCHED]
    return ["wrn-D-K", *plain, *(f"{name}{IMAGENET}" for name in plain), *patched]


def find(name: str) -> Architecture | None:
    """Return the suite's own architecture called ``name``; None where there is none.

    Raises:
        InputError: its numbers make no network.
    """
    if match := re.fullmatch(r"wrn-(\d+)-(\d+)", name):
        return _wide_resnet(int(match[1]), int(match[2]))
    if match := re.fullmatch(rf"({'|'.join(_PATCHED)})-(\d+)", name):
        return _patched(match[1], int(match[2]))
    imagenet, plain = name.endswith(IMAGENET), name.removesuffix(IMAGENET)
    if plain in _RESIDUAL:
        return _residual(plain, imagenet)
    return _vgg(imagenet) if plain == "vgg16" else None
