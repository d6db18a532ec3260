"""Network fission as a method of the benchmark: settings → network and loss."""

import pytest
import torch
from networks import CLASSES

from nfe.engine.backbones import architecture
from nfe.engine.errors import InputError
from nfe.engine.method import Context
from nfe.method import NetworkFission
from nfe.pruning import PRUNERS

WRN = architecture("wrn-10-1")


def context(asked):
    def example(per_class):
        asked.append(per_class)
        labels = torch.arange(CLASSES).repeat_interleave(per_class)
        draws = torch.Generator().manual_seed(0)
        return torch.randn(len(labels), 3, 8, 8, generator=draws), labels

    return Context(
        architecture=WRN, channels=3, classes=CLASSES, resolution=8, seed=0, example=example
    )


def build(**settings):
    asked = []
    method = NetworkFission.from_settings(settings).resolved(WRN)
    torch.manual_seed(0)
    return method, method.network(context(asked)), asked


@pytest.mark.parametrize("pruning", PRUNERS)
def test_every_pruner_by_name(pruning):
    method, net, asked = build(exits=2, pruning=pruning, sparsity="0.5", pruning_images=3)
    kept = sum(int((split.group > 0).sum()) for split in net.weights.values())
    total = sum(split.group.numel() for split in net.weights.values())
    assert kept == round(0.5 * total)
    assert asked == ([3] if pruning in ("snip", "grasp", "synflow") else [])
    x, y = context([]).example(2)
    loss, logits = method.loss(net, x, y)
    assert logits.shape == (2 * CLASSES, 2, CLASSES)
    assert torch.isfinite(loss)


def test_settings_reach_the_network():
    _, net, _ = build(exits="2", granularity="output_filter", whole="pointwise/head")
    assert not any(name.endswith("shortcut") for name in net.weights)
    group = net.weights["stages/2/0/conv1"].group
    assert torch.equal(group, group[:, :1, :1, :1].expand_as(group))


def test_settings_that_change_nothing_are_spelled_out_alike():
    plain = NetworkFission(exits=2).resolved(WRN)
    unused = NetworkFission(exits=2, pruning="snip", scope="layer", pruning_images=5).resolved(WRN)
    assert unused == plain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"granularity": "2:4"}, "2:4"),
        ({"scope": "stage"}, "pruning scope"),
        ({"whole": "pointwize"}, "did you mean 'pointwise'"),
        ({"pruning_images": 0}, "pruning_images is 0"),
        ({"exits": 4}, "exits is 4: allowed: 1 to 3"),
    ],
)
def test_bad_settings_are_refused_before_any_network_is_built(settings, message):
    with pytest.raises(InputError, match=message):
        NetworkFission.from_settings(settings).resolved(WRN)
