"""The share of live weights of every granularity."""

import pytest
import torch
from networks import CLASSES

from nfe import fission
from nfe.backbones import architecture
from nfe.splitting.choices import GRANULARITIES
from nfe.splitting.live import live_share


def share(name, exits, granularity, **options):
    torch.manual_seed(0)
    model = architecture(name).build(channels=3, classes=CLASSES, resolution=32)
    net = fission(model, exits, granularity=granularity, **options)
    before = {n: v.clone() for n, v in net.state_dict().items()}
    found = live_share(net, torch.randn(16, 3, 32, 32), torch.arange(16) % CLASSES)
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())
    return found


# WRN-10-2: measured with a prototype, N = 2 and 3.
DEAD = {"input_channel": (0.82, 0.77), "output_filter": (0.63, 0.55)}


# 2:4 is for two paths.
CASES = [(g, exits) for g in GRANULARITIES for exits in (2, 3) if (g, exits) != ("2:4", 3)]


@pytest.mark.parametrize(("granularity", "exits"), CASES)
def test_share_of_live_weights(granularity, exits):
    expected = DEAD.get(granularity, (1.0, 1.0))[exits - 2]
    assert share("wrn-10-2", exits, granularity) == pytest.approx(expected, abs=0.006)


def test_pruned_weights_count_neither_as_live_nor_as_dead():
    options = {"sparsity": 0.5, "pruning": "magnitude", "scope": "layer"}
    for granularity in ("weight", "alternating"):
        assert share("wrn-10-2", 2, granularity, **options) == pytest.approx(1, abs=0.001)


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
