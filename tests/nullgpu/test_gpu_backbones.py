"""Every method on every backbone: two steps where unrepeatable operators raise."""

import pytest
import torch
from device import each
from stepping import TRAINED, Stepping, run_of

BACKBONES = ("wrn-10-1", "resnet18", "resnet50", "resnext50-32x4d", "vgg16")


def two_steps(method: str, backbone: str) -> int:
    stepping = Stepping(run_of(method, "bfloat16", backbone))
    stepping.take(2)
    return torch.get_deterministic_debug_mode()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", TRAINED)
def test_two_steps_are_repeatable(method: str, backbone: str) -> None:
    error = 2
    assert each(two_steps, TRAINED, backbone)[method].get() == error
