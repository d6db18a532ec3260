"""Compact fission of torchvision's inverted residuals and ConvNeXt blocks."""

import copy

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig

from nfe import fission
from nfe.evaluation import cost
from nfe.splitting.compact.channel_blocks import Division
from nfe.splitting.compact.library_rules import library_rule
from nfe.splitting.early_exit import predict
from nfe.splitting.live import live_share
from nfe.splitting.path_layers import PathLayer

CLASSES = 5


def convnext():
    widths = [(16, 32), (32, 48), (48, 64), (64, None)]
    blocks = [CNBlockConfig(width, after, 2) for width, after in widths]
    network = models.ConvNeXt(blocks, num_classes=CLASSES)
    for block in network.modules():
        if hasattr(block, "layer_scale"):
            nn.init.normal_(block.layer_scale)
    return network


# Each network, and where its stages begin if fission does not know.
NETWORKS = {
    "mobilenet_v3": (lambda: models.mobilenet_v3_small(num_classes=CLASSES), None),
    "mobilenet_v2": (
        lambda: models.mobilenet_v2(num_classes=CLASSES, width_mult=0.5),
        ["features.1", "features.2", "features.4", "features.7", "features.14..features.18"],
    ),
    "efficientnet": (lambda: models.efficientnet_b0(num_classes=CLASSES), None),
    "efficientnet_v2": (
        lambda: models.efficientnet_v2_s(num_classes=CLASSES),
        ["features.1", "features.2", "features.3", "features.4..features.7"],
    ),
    "convnext": (convnext, None),
}


def build(name):
    torch.manual_seed(0)
    make, stages = NETWORKS[name]
    model = make()
    for layer in model.modules():
        if type(layer).__name__ == "StochasticDepth":
            layer.p = 0.0
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return model.double(), stages


def blocks_of(model):
    """The network's blocks, one of each form."""
    kinds = ("InvertedResidual", "MBConv", "FusedMBConv", "CNBlock")
    found = {}
    for name, block in model.named_modules():
        if type(block).__name__ in kinds:
            layers = tuple(type(m).__name__ for m in block.modules())
            found.setdefault((layers, getattr(block, "use_res_connect", True)), (name, block))
    return list(found.values())


def masked(block, part):
    """A copy of a block that reads no inner channels but some: zero columns instead of rows."""
    mine = copy.deepcopy(block)
    if type(block).__name__ == "CNBlock":
        readers = [mine.block[5]]
    else:
        squeezes = [m for m in mine.modules() if type(m).__name__ == "SqueezeExcitation"]
        inside = [m for s in squeezes for m in s.modules()]
        layers = [m for m in mine.modules() if isinstance(m, nn.Conv2d) and m not in inside]
        readers = [layers[-1], *(s.fc1 for s in squeezes)]
    with torch.no_grad():
        for layer in readers:
            others = torch.ones(layer.weight.shape[1], dtype=torch.bool)
            others[part.start : part.stop] = False
            layer.weight[:, others] = 0
    return mine


@pytest.mark.parametrize("name", NETWORKS)
def test_a_path_s_block_computes_what_the_masked_one_does(name):
    model, _ = build(name)
    division, seen = Division((1, 2, 3), (0.5, 0.25, 0.25), 8), 0
    for place, block in blocks_of(model):
        rule = library_rule(block, place, division)
        if len([m for m in block.modules() if isinstance(m, nn.Conv2d)]) == 1 and (
            type(block).__name__ == "FusedMBConv"
        ):
            continue
        inputs = next(m for m in block.modules() if isinstance(m, nn.Conv2d)).in_channels
        for path in division.paths:
            ours, reference = rule.segment(path), masked(block, rule.inner[path])
            grads = []
            for part in (ours, reference):
                x = torch.randn(4, inputs, 8, 8, dtype=torch.float64, generator=seeded(seen))
                x.requires_grad_()
                out = part.train()(x)
                out.square().sum().backward()
                grads.append((out, x.grad))
            torch.testing.assert_close(grads[0], grads[1])
        seen += 1
    assert seen


def seeded(number):
    return torch.Generator().manual_seed(number)


def test_the_only_convolution_of_a_block_is_divided_in_diagonal_blocks():
    model, _ = build("efficientnet_v2")
    place, block = next((n, b) for n, b in blocks_of(model) if len(b.block) == 1)
    rule = library_rule(block, place, Division((1, 2), (0.5, 0.5), 8))
    conv = block.block[0][0]
    x = torch.randn(2, conv.in_channels, 8, 8, dtype=torch.float64)
    whole = conv(x)
    parts = [rule.segment(path).block[0][0](x) for path in (1, 2)]
    torch.testing.assert_close(sum(parts), whole)


def weights(network, whole):
    """How many weights stand in matrices, but for those that every path has whole."""
    own = [p for n, p in network.named_parameters() if p.dim() > 1 and not whole(n, p)]
    return sum(p.numel() for p in own)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_held_once_executed_once_and_live(name):
    model, stages = build(name)
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    net = fission(model, 3, granularity="alternating", stages=stages).eval()
    # MobileNetV3's head has one hidden layer: no pair.
    assert list(net.unruled) == (["head"] if name == "mobilenet_v3" else [])

    def whole(parameter, values):
        """ConvNeXt's depthwise layers and scales."""
        depthwise = values.dim() == 4 and values.shape[1] == 1
        return name == "convnext" and (parameter.endswith("layer_scale") or depthwise)

    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1].weight.numel()
    assert weights(net, whole) == weights(model, whole) + 2 * last
    # At 224 pixels no map is smaller than a kernel, whose border would be dead.
    assert live_share(net, image.new_zeros(1, 3, 224, 224)) == 1.0
    hidden = sum(split.weight.numel() for split in net.weights.values())
    (_, executed), (_, single) = (cost.inference_macs(n, image) for n in (net, model.eval()))
    assert executed - 2 * (last + hidden) < (1.35 if name == "convnext" else 1.001) * single
    with torch.no_grad():
        logits = net(image)
        for k, member in enumerate(net.members()):
            assert not any(isinstance(m, PathLayer) for m in member.modules())
            torch.testing.assert_close(member(image), logits[:, k])
        torch.testing.assert_close(predict(net, image, 2.0)[0], logits.mean(dim=1))
