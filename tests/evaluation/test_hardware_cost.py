"""Multiply-adds against pencil and paper, for dense and for 2:4 hardware."""

import pytest
import torch
from networks import wide_resnet
from torch import nn

from nfe import fission
from nfe.backbones import architecture
from nfe.evaluation.cost import hardware_macs, inference_macs, nonzero_parameters

IMAGE = torch.randn(1, 8, 6, 6)
FULL = 16 * 8 * 9 * 36


def conv(**changes):
    layer = nn.Conv2d(8, 16, 3, padding=1, bias=False)
    nn.init.ones_(layer.weight)
    with torch.no_grad():
        for index in changes.get("zero", []):
            layer.weight[index] = 0
    return layer


@pytest.mark.parametrize(
    ("zero", "nonzero", "compact", "sparse24"),
    [
        ([], 1, 1, 1),
        ([slice(0, 4)], 3 / 4, 3 / 4, 3 / 4),
        ([(slice(None), slice(0, 2))], 3 / 4, 3 / 4, 3 / 4),
        ([slice(0, 8), (slice(None), slice(0, 4))], 1 / 4, 1 / 4, 1 / 4),
        ([(slice(None), slice(None), 0)], 2 / 3, 1, 1),
        (
            [
                (slice(None), [0, 1, 4, 5], 0),
                (slice(None), [2, 3, 6, 7], 1),
                (slice(None), [0, 2, 5, 7], 2),
            ],
            1 / 2,
            1,
            1 / 2,
        ),
    ],
    ids=["full", "filters", "channels", "both", "row of the kernel", "2:4"],
)
def test_what_zeros_save(zero, nonzero, compact, sparse24):
    macs = hardware_macs(conv(zero=zero), IMAGE)
    assert macs["executed"] == FULL
    assert macs["nonzero"] == pytest.approx(nonzero * FULL, abs=1)
    assert macs["compact"] == pytest.approx(compact * FULL, abs=1)
    assert macs["sparse24"] == pytest.approx(sparse24 * FULL, abs=1)


def test_linear_layers_keep_the_pattern_along_their_inputs():
    layer = nn.Linear(8, 6)
    nn.init.ones_(layer.weight)
    with torch.no_grad():
        layer.weight[:3, [0, 1, 6, 7]] = 0
        layer.weight[3:, [2, 3, 4, 5]] = 0
    macs = hardware_macs(layer, torch.randn(1, 8))
    assert macs == {"nonzero": 24, "executed": 48, "compact": 48, "sparse24": 24}


def test_linear_layers_lose_empty_inputs_and_outputs():
    layer = nn.Linear(8, 4)
    nn.init.ones_(layer.weight)
    with torch.no_grad():
        layer.weight[:, :2] = 0
        layer.weight[0] = 0
    macs = hardware_macs(layer, torch.randn(1, 8))
    assert macs == {"nonzero": 18, "executed": 32, "compact": 18, "sparse24": 18}


@pytest.mark.parametrize(
    "granularity", ["weight", "kernel", "input_channel", "output_filter", "2:4"]
)
def test_each_granularity_saves_where_it_says(granularity):
    torch.manual_seed(0)
    model = architecture("wrn-10-1").build(channels=3, classes=5, resolution=8)
    image = torch.randn(1, 3, 8, 8)
    single, _ = inference_macs(model, image)
    macs = hardware_macs(fission(model, 2, granularity=granularity), image)
    head = model.head.get_submodule("4").weight.numel()
    assert macs["nonzero"] == pytest.approx(single + head, rel=0.01)
    structured = granularity in ("input_channel", "output_filter")
    assert (macs["compact"] == pytest.approx(macs["nonzero"], rel=0.03)) == structured
    assert (macs["sparse24"] < 0.7 * macs["executed"]) == (structured or granularity == "2:4")
    assert macs["sparse24"] <= macs["compact"] <= macs["executed"]


def test_pruned_weights_are_not_counted_as_parameters():
    net = fission(wide_resnet(), 2, sparsity=0.5, pruning="magnitude")
    kept = sum(int((s.group > 0).sum()) for s in net.weights.values())
    rest = sum(p.numel() for n, p in net.named_parameters() if not n.startswith("weights."))
    assert nonzero_parameters(net) == kept + rest
