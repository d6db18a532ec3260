"""Every method on every backbone, two steps where operators without a repeatable algorithm raise."""

import pytest
import torch
from device import each
from stepping import TRAINED, run_of, steps

# VGG16 as digits have it, and on images so large that its classifier pools them.
BACKBONES = ("wrn-10-1", "resnet18", "resnet50", "resnext50-32x4d", "vgg16")


def two_steps(method: str, backbone: str) -> int:
    stepping = steps(run_of(method, "bfloat16", backbone))
    taken = [next(stepping).progress.step for _ in range(2)]
    assert torch.get_deterministic_debug_mode() == 2
    return taken[-1]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", TRAINED)
def test_two_steps_are_deterministic(method: str, backbone: str) -> None:
    assert each(two_steps, TRAINED, backbone)[method].get() == 2
