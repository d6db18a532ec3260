"""Every method on every backbone: two steps where unrepeatable operators raise."""

from typing import Any

import pytest
import torch
from device import each
from stepping import BATCH, TRAINED, run_of

from nfe.common.errors import InputError
from nfe.engine.throughput import Meter

# With the image side. ResNeXt50 has ResNet50's blocks, in groups besides.
BACKBONES = (
    "wrn-10-1 32",
    "resnet18 32",
    "resnext50 32",
    "vgg16 32",
    "vit-tiny-4 32",
    "convnext-atto-2 32",
)
# VGG16 pools above 64 pixels, and its head then holds 100 million weights.
LARGE, LARGE_OF = "vgg16 96", ("single", "nfe")
# Instead of the defaults: VGG16 pools images of 32 pixels five times, and smaller ones to nothing.
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {("mutualnet", "vgg16 32"): {"scales": [1.0]}}
# Defined for convolutions with batch norms.
REFUSED = {
    (method, backbone): "convolutions with batch norms"
    for method in ("mutualnet", "narrow_ensemble", "packed_ensemble", "sembg", "slimmable")
    for backbone in ("vit-tiny-4 32", "convnext-atto-2 32")
} | {("stochastic_depth", "vgg16 32"): "no residual block is known"}


def two_steps(method: str, backbone: str) -> int | str:
    architecture, pixels = backbone.split()
    try:
        run = run_of(method, "bfloat16", architecture, **SETTINGS.get((method, backbone), {}))
        Meter(run, BATCH, int(pixels), warm_up=2)
    except InputError as error:
        return str(error)
    return torch.get_deterministic_debug_mode()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", TRAINED)
def test_two_steps_are_repeatable(method: str, backbone: str) -> None:
    error = 2
    found = each(two_steps, TRAINED, backbone)[method].get()
    if (method, backbone) in REFUSED:
        assert REFUSED[method, backbone] in found
    else:
        assert found == error


@pytest.mark.parametrize("method", LARGE_OF)
def test_so_they_are_above_64_pixels(method: str) -> None:
    assert each(two_steps, LARGE_OF, LARGE)[method].get() == 2
