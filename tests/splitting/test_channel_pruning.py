"""Pruning of whole inner channels: narrower blocks, the channels of the highest summed scores."""

import copy

import pytest
import torch
from networks import CLASSES, slim
from torch import nn
from torchvision import models

from nfe import fission, pruning
from nfe.backbones import architecture
from nfe.backbones.wide_resnet import WideBlock
from nfe.common.errors import InputError
from nfe.evaluation import cost
from nfe.splitting.compact.channel_pruning import kept_channels, without_channels
from nfe.splitting.compact.network import CompactNetwork

OPTIONS = {"granularity": "alternating", "scope": "layer", "prune_channels": True}


def wide():
    torch.manual_seed(0)
    return architecture("wrn-10-2").build(channels=3, classes=CLASSES, resolution=32)


def images(dtype=torch.float64):
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=dtype)


def silenced(model, channels):
    """The same network, the channels between its blocks' convolutions made zero by masks."""
    masked = copy.deepcopy(model)
    for name, gone in channels.items():
        block = masked.get_submodule(name)
        norm = block.bn2 if isinstance(block, WideBlock) else block.bn1
        with torch.no_grad():
            block.conv1.weight[gone] = 0
            block.conv2.weight[:, gone] = 0
            norm.bias[gone] = 0
    return masked


@pytest.mark.parametrize("make", [wide, lambda: slim("resnet18", 32)], ids=["pre", "post"])
@pytest.mark.parametrize("sparsity", [0.5, 0.8])
def test_what_is_left_computes_what_the_network_with_those_channels_at_zero_does(make, sparsity):
    model = make().double().eval()
    scores = pruning.weight_scores(model, "magnitude")
    narrow = without_channels(model, scores, sparsity, paths=2)
    gone = {}
    for name, block in model.named_modules():
        if hasattr(block, "conv2"):
            # Written out: the sum over a channel's row and column.
            total = block.conv1.weight.abs().sum((1, 2, 3)) + block.conv2.weight.abs().sum(
                (0, 2, 3)
            )
            kept = kept_channels(len(total), sparsity, 2)
            gone[name] = total.argsort(descending=True)[kept:]
            assert narrow.get_submodule(name).conv1.out_channels == kept
    with torch.no_grad():
        torch.testing.assert_close(narrow(images()), silenced(model, gone)(images()))


@pytest.mark.parametrize("make", [wide, lambda: slim("resnet50", 32), models.resnet18])
@pytest.mark.parametrize("exits", [2, 3])
def test_sparsity_is_speed(make, exits):
    macs = []
    for sparsity in (0.0, 0.5, 0.9):
        net = fission(make(), exits, pruning="magnitude", sparsity=sparsity, **OPTIONS)
        assert isinstance(net, CompactNetwork)
        assert {type(m) for m in net.modules() if isinstance(m, nn.Conv2d)} == {nn.Conv2d}
        nonzero, executed = cost.inference_macs(net, images(torch.float32)[:1])
        # A drawn weight may be zero.
        assert nonzero == pytest.approx(executed, rel=1e-6)
        macs.append(executed)
    assert macs[0] > 1.5 * macs[1] > 2 * macs[2]


def test_widths_depend_on_no_score():
    shapes = [
        {
            n: v.shape
            for n, v in fission(wide(), 3, pruning=p, sparsity=0.7, **OPTIONS).state_dict().items()
        }
        for p in ("random", "magnitude")
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("channels", "sparsity", "paths", "kept"),
    [(64, 0.5, 2, 32), (64, 0.55, 2, 32), (64, 0.9, 2, 6), (20, 0.5, 2, 10), (16, 0.95, 3, 3)],
)
def test_channels_are_kept_in_eights_where_every_path_has_as_many(channels, sparsity, paths, kept):
    assert kept_channels(channels, sparsity, paths) == kept


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (wide, {"granularity": "weight"}, "granularity 'weight'"),
        (wide, {"scope": "global"}, "scope 'global'"),
        (wide, {"pruning": "erk"}, "'erk' has no scores"),
        (lambda: slim("vgg16", 32), {}, "no rule for layer 'stages.0.0'"),
        (lambda: slim("resnext50", 32), {}, "no rule for layer 'stages.0.0.conv2'"),
    ],
)
def test_what_cannot_be_pruned_so_is_refused_in_one_line(model, options, message):
    given = {"pruning": "magnitude", "sparsity": 0.5, **OPTIONS, **options}
    with pytest.raises(InputError) as error:
        fission(model(), 2, **given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
