"""Every method on every backbone: two steps where unrepeatable operators raise."""

import pytest
import torch
from device import each
from stepping import BATCH, TRAINED, run_of

from nfe.engine.throughput import Meter

# With the image side; VGG16 pools above 64 pixels.
BACKBONES = (
    "wrn-10-1 32",
    "resnet18 32",
    "resnet50 32",
    "resnext50 32",
    "vgg16 32",
    "vgg16 96",
)


def two_steps(method: str, backbone: str) -> int:
    architecture, pixels = backbone.split()
    Meter(run_of(method, "bfloat16", architecture), BATCH, int(pixels), warm_up=2)
    return torch.get_deterministic_debug_mode()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", TRAINED)
def test_two_steps_are_repeatable(method: str, backbone: str) -> None:
    error = 2
    assert each(two_steps, TRAINED, backbone)[method].get() == error
