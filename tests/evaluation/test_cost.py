"""Costs against closed forms and PyTorch's own counter."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nfe import fission
from nfe.backbones import architecture
from nfe.common.macs import MacCounter
from nfe.evaluation import cost


def build(name: str, classes: int, pixels: int = 32) -> nn.Module:
    return architecture(name).build(channels=3, classes=classes, resolution=pixels)


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [("wrn-28-10", 5.24e9, 36.5e6), ("wrn-16-4", 0.39e9, 2.77e6)],
)
def test_wide_resnets_cost_what_the_literature_says(name, macs, parameters):
    network = build(name, 100)
    nonzero, dense = cost.inference_macs(network, torch.randn(1, 3, 32, 32))
    assert dense == pytest.approx(macs, rel=0.01)
    # A normal draw is exactly zero once in some 2^24.
    assert nonzero == pytest.approx(dense, rel=1e-5)
    assert cost.parameters(network) == pytest.approx(parameters, rel=0.01)


def test_nonzero_macs_follow_each_layers_density():
    # 6 of 2·3·9 weights at 8 × 8 places, then 3 of 4·2 linear weights.
    network = nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 4),
    )
    with torch.no_grad():
        for weight, kept in ((network[0].weight, 6), (network[3].weight, 3)):
            weight.flatten()[kept:] = 0
    nonzero, dense = cost.inference_macs(network, torch.randn(1, 3, 8, 8))
    assert dense == 2 * 3 * 9 * 64 + 8
    assert nonzero == 6 * 64 + 3
    assert cost.nonzero_parameters(network) == 6 + 3 + 4


def test_training_macs_agree_with_pytorch():
    network = build("wrn-10-1", 10, 8)
    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    with MacCounter() as ours:
        nn.functional.cross_entropy(network(images), labels).backward()
    with FlopCounterMode(display=False) as theirs:
        nn.functional.cross_entropy(network(images), labels).backward()
    assert 2 * ours.executed == theirs.get_total_flops()


@pytest.mark.parametrize("exits", [2, 3])
def test_fission_keeps_parameters_and_nonzero_macs(exits):
    network = build("wrn-16-4", 100)
    image = torch.randn(1, 3, 32, 32)
    split = fission(network, exits)
    before, after = (cost.inference_macs(n, image)[0] for n in (network, split))
    head_macs = 256 * 100
    assert after == pytest.approx(before + (exits - 1) * head_macs, rel=1e-5)
    grown = cost.parameters(split) / cost.parameters(network)
    assert 1 < grown < 1.03


def test_latency_is_positive_and_ordered():
    network = build("wrn-10-1", 10, 8)
    times = cost.latency(network, torch.randn(1, 3, 8, 8), batch=4, seconds=0.05)
    assert 0 < times["quartile1"] <= times["median"] <= times["quartile3"]
