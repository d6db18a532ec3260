"""The share of live weights of every granularity."""

import pytest
import torch
from networks import CLASSES, slim
from torch.nn import functional

from nfe import fission
from nfe.backbones import architecture
from nfe.splitting.choices import GRANULARITIES
from nfe.splitting.live import live_share

IMAGE = torch.randn(1, 3, 32, 32)


def network(name, exits, granularity, **options):
    torch.manual_seed(0)
    model = architecture(name).build(channels=3, classes=CLASSES, resolution=32)
    return fission(model, exits, granularity=granularity, **options)


def share(name, exits, granularity, **options):
    net = network(name, exits, granularity, **options)
    before = {n: v.clone() for n, v in net.state_dict().items()}
    found = live_share(net, IMAGE)
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())
    assert not any(p.grad is not None for p in net.parameters())
    return found


# WRN-10-2: measured with a prototype, N = 2 and 3.
DEAD = {"input_channel": (0.82, 0.77), "output_filter": (0.63, 0.55)}


# 2:4 is for two paths.
CASES = [(g, exits) for g in GRANULARITIES for exits in (2, 3) if (g, exits) != ("2:4", 3)]


@pytest.mark.parametrize(("granularity", "exits"), CASES)
def test_share_of_live_weights(granularity, exits):
    found = share("wrn-10-2", exits, granularity)
    if granularity in DEAD:
        assert found == pytest.approx(DEAD[granularity][exits - 2], abs=0.006)
    else:
        assert found == 1


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_live_weights_are_those_with_a_gradient_in_training(granularity):
    net = network("wrn-10-2", 2, granularity)
    images, labels = torch.randn(32, 3, 32, 32), torch.arange(32) % CLASSES
    found = live_share(net, IMAGE)
    logits = net.train()(images)
    functional.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(2)).backward()
    divided = [p for n, p in net.named_parameters() if p.dim() == 4 and "heads" not in n]
    live = sum(int((p.grad != 0).sum()) for p in divided)
    assert live / sum(p.numel() for p in divided) == pytest.approx(found, abs=0.001)


BACKBONES = ("wrn-10-1", "resnet18", "resnet50", "resnext50", "vgg16", "vgg16-imagenet")


@pytest.mark.parametrize("exits", [2, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_compact_fission_leaves_no_weight_dead(name, exits):
    torch.manual_seed(0)
    # Images so large that the last maps have more than one pixel, where kernels have no border.
    net = fission(slim(name, 64), exits, granularity="alternating")
    assert live_share(net, torch.zeros(1, 3, 64, 64)) == 1


@pytest.mark.parametrize("granularity", ["alternating", *DEAD])
def test_a_trained_network_has_the_share_that_it_had_before(granularity):
    net = network("wrn-10-2", 2, granularity, sparsity=0.3, pruning="random", scope="layer")
    before = live_share(net, IMAGE)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(3):
        optimizer.zero_grad()
        logits = net.train()(torch.randn(8, 3, 32, 32))
        functional.cross_entropy(logits.flatten(0, 1), torch.arange(16) % CLASSES).backward()
        optimizer.step()
    assert live_share(net, IMAGE) == before


def test_pruned_weights_count_neither_as_live_nor_as_dead():
    options = {"sparsity": 0.5, "pruning": "magnitude", "scope": "layer"}
    for granularity in ("weight", "alternating"):
        assert share("wrn-10-2", 2, granularity, **options) == 1


def resnet18(stream, width=64):
    """Live weights of ResNet18 with N = 2 in closed form: expected shares of random halves.

    ``stream``: (conv1, conv2, shortcut, conv1, conv2) live shares of stages 2, 3, 4.
    """
    stem = width * 27 + 4 * width * width * 9
    live = total = stem
    for number, shares in enumerate(stream, start=1):
        outputs = width * 2**number
        square = outputs * outputs * 9
        sizes = (square / 2, square, outputs * outputs / 2, square, square)
        live += sum(size * part for size, part in zip(sizes, shares, strict=True))
        total += sum(sizes)
    return live / total


def test_live_share_in_closed_form():
    # Filters: a path's stream has the channels that one of its blocks so far has written: half
    # behind each of shortcut and conv2. Half of what conv2 reads was never computed.
    one, two = 1 - 0.5**2, 1 - 0.5**3
    first, later = (1, 0.5, 1, one, 0.5), (two, 0.5, two, one, 0.5)
    assert share("resnet18", 2, "output_filter") == pytest.approx(
        resnet18([first, later, later]), abs=0.006
    )
    # Channels: half of what conv1 computes is never read; the stream is read by what follows.
    inner, last = (0.5, two, two, 0.5, one), (0.5, 1, 1, 0.5, 1)
    assert share("resnet18", 2, "input_channel") == pytest.approx(
        resnet18([inner, inner, last]), abs=0.006
    )
