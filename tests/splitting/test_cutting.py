"""Networks without their zero rows and columns compute what they computed with them."""

import pytest
import torch
from networks import CLASSES, PLAIN_STAGES, Plain, convnext, slim
from torch import nn
from torchvision import models

from nfe import fission
from nfe.evaluation import cost
from nfe.splitting.early_exit import predict
from nfe.splitting.export import export_onnx

NETWORKS = {
    "pre-activation": lambda: slim("wrn-10-2", 16),
    "basic": lambda: slim("resnet18", 32),
    "bottleneck": lambda: slim("resnet50", 32),
    "grouped": lambda: slim("resnext50", 32),
    "chain": lambda: slim("vgg16", 32),
    "chain, large head": lambda: slim("vgg16-imagenet", 32),
    "linear and depthwise": convnext,
    "any": Plain,
    "torchvision's": lambda: models.resnet18(num_classes=CLASSES),
}
DIVISIONS = ("weight", "kernel", "input_channel", "output_filter", "alternating")
COMPACT = [name for name in NETWORKS if name not in ("linear and depthwise", "any")]
CASES = [
    (name, division)
    for name in NETWORKS
    for division in DIVISIONS
    if division != "alternating" or name in COMPACT
]


def images(count=4):
    draws = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 32, 32, generator=draws, dtype=torch.float64)


def used(name, division, exits=3, **options):
    """A fissioned network whose norms have seen images and have shifts."""
    torch.manual_seed(0)
    stages = PLAIN_STAGES if name == "any" else None
    model = NETWORKS[name]().double()
    net = fission(model, exits, granularity=division, stages=stages, **options).train()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
        net(images(8))
    return net.eval()


def check(net):
    x = images()
    before = {n: v.clone() for n, v in net.state_dict().items()}
    with torch.no_grad():
        cut = net.compacted()
        torch.testing.assert_close(cut(x), net(x), rtol=1e-9, atol=1e-9)
        for ours, theirs in zip(predict(cut, x, 0.5), predict(net, x, 0.5), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())
    return [cost.inference_macs(n, x[:1])[1] for n in (net, cut)]


@pytest.mark.parametrize(("name", "division"), CASES)
def test_a_network_without_zero_rows_and_columns_computes_the_same(name, division):
    whole, cut = check(used(name, division))
    assert cut <= whole
    if division == "alternating":
        assert cut == whole
    elif division in ("input_channel", "output_filter"):
        assert cut < (1 if name in ("any", "linear and depthwise") else 0.75) * whole


@pytest.mark.parametrize("name", NETWORKS)
def test_pruned_rows_and_columns_are_cut_whatever_the_division(name):
    torch.manual_seed(0)
    options = {"pruning": "magnitude", "sparsity": 0.3, "scope": "layer"}
    for division in ("weight", "alternating") if name in COMPACT else ("weight",):
        check(used(name, division, 2, **options))


@pytest.mark.parametrize("name", ["pre-activation", "basic", "bottleneck", "chain"])
@pytest.mark.parametrize("exits", [2, 3])
def test_inner_channels_that_are_pruned_away_are_not_computed(name, exits):
    """Half of every inner channel's readers and makers are next to nothing, and pruned."""
    torch.manual_seed(0)
    model = NETWORKS[name]().double()
    for block in model.modules():
        if hasattr(block, "conv2"):
            with torch.no_grad():
                block.conv1.weight[::2] *= 1e-6
                block.conv2.weight[:, ::2] *= 1e-6
    options = {"granularity": "alternating", "pruning": "magnitude", "sparsity": 0.5}
    net = fission(model, exits, scope="layer", **options)
    whole, cut = check(net.eval())
    if name in ("pre-activation", "basic"):
        assert cut < 0.7 * whole


def test_onnx_of_a_cut_network(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    net = used("pre-activation", "output_filter").float().compacted()
    x = images().float()
    export_onnx(net, tmp_path / "net.onnx", x[:1])
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (logits,) = session.run(None, {"images": x.numpy()})
    torch.testing.assert_close(
        torch.from_numpy(logits), net.ensemble(x).detach(), rtol=1e-4, atol=1e-4
    )


def test_channels_last_maps_stay_so():
    net = used("pre-activation", "input_channel").float().to(memory_format=torch.channels_last)
    kept = []
    cut = net.compacted()
    for module in cut.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.register_forward_pre_hook(
                lambda _, x: kept.append(x[0].is_contiguous(memory_format=torch.channels_last))
            )
    with torch.no_grad():
        cut(images().float().contiguous(memory_format=torch.channels_last))
    assert len(kept) > 10
    assert all(kept)
