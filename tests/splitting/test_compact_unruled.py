"""Parts that no rule of compact fission divides have their weights divided one by one."""

import copy

import pytest
import torch
from networks import CLASSES, Slim, slim
from torch import nn

from nfe import fission
from nfe.backbones import Backbone, architecture
from nfe.engine.checkpoint import load_weights, save_weights
from nfe.losses import fission_loss
from nfe.splitting.compact.network import CompactNetwork
from nfe.splitting.early_exit import predict
from nfe.splitting.live import live_share
from nfe.splitting.path_layers import PathLayer


def conv(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


# A stage that a part of the channels cannot pass, by what the report says of it.
UNRULED = {
    "Softmax2d at 'stages.1.2'": [conv(16, 16), nn.ReLU(), nn.Softmax2d(), conv(16, 16)],
    "PixelShuffle at 'stages.1.1'": [conv(16, 64), nn.PixelShuffle(2), conv(16, 16)],
    "GroupNorm at 'stages.1.1'": [conv(16, 16), nn.GroupNorm(4, 16, affine=False), conv(16, 16)],
    "layer 'stages.1.0' of a chain has 2 groups": [conv(16, 16, groups=2), conv(16, 16)],
}


def head():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES))


def network(reason):
    torch.manual_seed(0)
    layers = copy.deepcopy(UNRULED[reason])
    return Backbone(conv(3, 16), [conv(16, 16), nn.Sequential(*layers)], head()).double()


def images(n=4, resolution=8, dtype=torch.float64):
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, resolution, resolution, generator=draws, dtype=dtype)
    return x, torch.randint(CLASSES, (n,), generator=draws)


@pytest.mark.parametrize("reason", UNRULED)
def test_a_network_without_any_ruled_part_is_the_one_divided_weight_by_weight(reason):
    model, (x, y) = network(reason), images()
    options = {"sparsity": 0.3, "pruning": "magnitude", "scope": "layer", "seed": 3}
    for chosen in ({"seed": 3}, options):
        ours = fission(model, 2, granularity="alternating", **chosen)
        theirs = fission(model, 2, **chosen)
        assert ours.unruled == {"stages.1": reason}
        sgd = [torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9) for net in (ours, theirs)]
        for _ in range(3):
            logits = [net.train()(x) for net in (ours, theirs)]
            torch.testing.assert_close(*logits, rtol=1e-10, atol=1e-10)
            for optimizer, out in zip(sgd, logits, strict=True):
                optimizer.zero_grad()
                fission_loss(out, y).backward()
                optimizer.step()


@pytest.mark.parametrize("where", ["", "0."])
def test_a_block_without_a_rule_stands_between_others(where, tmp_path):
    """A grouped conv1: rows would read their own groups, and columns leave the rest unread."""
    torch.manual_seed(0)
    model = slim("resnet18", 16).double()
    block = model.stages[2][1]
    block.conv1 = conv(32, 32, groups=2, bias=False).double()
    net = fission(model, 3, granularity="alternating")
    name = "stages.2.1"
    assert net.unruled == {name: f"layer '{name}.conv1' has 2 groups"}
    assert sorted(net.weights) == [f"{name}.{n}".replace(".", "/") for n in ("conv1", "conv2")]
    divided = [m.weight for m in model.stages.modules() if isinstance(m, nn.Conv2d)]
    held = [s.weight for s in net.weights.values()]
    held += [
        m.weight
        for m in net.stages.modules()
        if isinstance(m, nn.Conv2d) and not isinstance(m, PathLayer)
    ]
    assert torch.equal(*(torch.cat([w.flatten() for w in ws]).sort()[0] for ws in (divided, held)))
    x, y = images(resolution=32)
    assert live_share(net, x[:1]) == 1.0
    fission_loss(net.train()(x), y).backward()
    assert all(bool(p.grad.any()) for p in net.parameters() if p.dim() == 4)
    net.eval()
    with torch.no_grad():
        logits = net(x)
        for k, member in enumerate(net.members()):
            assert not any(isinstance(m, PathLayer) for m in member.modules())
            torch.testing.assert_close(member(x), logits[:, k])
        torch.testing.assert_close(net.materialized()(x), logits)
        torch.testing.assert_close(copy.deepcopy(net)(x), logits)
        stopped, _ = predict(net, x, 2.0)
        torch.testing.assert_close(stopped, logits.mean(dim=1))
        save_weights(tmp_path / "w.safetensors", net, "run")
        other = fission(model, 3, granularity="alternating", seed=1).eval()
        assert not torch.equal(other(x), logits)
        load_weights(tmp_path / "w.safetensors", other)
        torch.testing.assert_close(other(x), logits)


class Grouped(Slim):
    """Two groups in every block."""

    def groups(self, stage, inputs, plain, shortcut):
        return plain if shortcut or stage == 0 else 2


@pytest.mark.parametrize("name", ["wrn-10-2", "resnet18", "resnet50"])
def test_no_weight_is_dead_where_groups_would_leave_channels_unread(name):
    build = architecture(name).build
    model = build(channels=3, classes=CLASSES, resolution=32, structure=Grouped())
    net = fission(model, 2, granularity="alternating")
    assert isinstance(net, CompactNetwork)
    assert "stages.1.0" in net.unruled
    assert "2 groups" in net.unruled["stages.1.0"]
    assert live_share(net, torch.randn(1, 3, 32, 32)) == 1.0


def test_an_odd_hidden_layer_of_the_head_is_divided_weight_by_weight():
    torch.manual_seed(0)
    layers = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 32), nn.ReLU()]
    ends = nn.Sequential(*layers, nn.Linear(32, CLASSES))
    stages = [conv(16, 16), nn.Sequential(conv(16, 32), nn.ReLU(), conv(32, 16))]
    net = fission(Backbone(conv(3, 16), stages, ends), 2, granularity="alternating")
    assert list(net.weights) == ["head/2"]
    assert list(net.unruled) == ["head"]
    x, _ = images(dtype=torch.float32)
    with torch.no_grad():
        for k, member in enumerate(net.eval().members()):
            torch.testing.assert_close(member(x), net(x)[:, k])
