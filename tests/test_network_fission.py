"""Network fission as a method of the benchmark: settings → network and loss."""

import dataclasses

import pytest
import torch
from networks import CLASSES, slim
from torch import nn

from nfe.backbones import Architecture, architecture
from nfe.common.errors import InputError
from nfe.engine.checkpoint import load_weights, save_weights
from nfe.method import Context
from nfe.network_fission import NetworkFission
from nfe.pruning import PRUNERS
from nfe.splitting.compact.network import CompactNetwork

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


def last_layers(net):
    return [[m for m in head.modules() if isinstance(m, nn.Linear)][-1] for head in net.heads]


@pytest.mark.parametrize("pruning", ["none", "snip"])
def test_each_exit_s_head_has_a_draw_of_its_own_and_the_final_one_the_backbone_s(pruning):
    sparsity = 0.0 if pruning == "none" else 0.5
    _, net, _ = build(exits=3, pruning=pruning, sparsity=sparsity)
    torch.manual_seed(0)
    backbone = context([]).backbone()
    heads = [layer.weight for layer in last_layers(net)]
    assert torch.equal(heads[2], last_layers_of_backbone(backbone))
    bound = heads[0].shape[1] ** -0.5  # PyTorch's own draw: uniform within 1 / sqrt(inputs)
    for k, weight in enumerate(heads):
        assert 0.9 * bound < weight.abs().max() <= bound
        assert not any(torch.equal(weight, other) for other in heads[:k])
    assert not any(layer.bias.any() for layer in last_layers(net))
    for name, split in net.weights.items():
        drawn = backbone.get_submodule(name.replace("/", ".")).weight
        assert torch.equal(split.weight, drawn * (split.group > 0))


def last_layers_of_backbone(backbone):
    return [m for m in backbone.head.modules() if isinstance(m, nn.Linear)][-1].weight


def test_the_heads_draws_depend_on_the_seed_and_the_exit_alone():
    _, few, _ = build(exits=2)
    _, many, _ = build(exits=3, granularity="kernel")
    assert torch.equal(last_layers(few)[0].weight, last_layers(many)[0].weight)
    method = NetworkFission(exits=2).resolved(WRN)
    torch.manual_seed(0)
    other = method.network(dataclasses.replace(context([]), seed=1))
    assert not torch.equal(last_layers(few)[0].weight, last_layers(other)[0].weight)


@pytest.mark.parametrize("whole", [(), ("head",)])
def test_hidden_layers_of_a_head_are_drawn_anew_only_where_each_exit_has_its_own(whole):
    name = "vgg16-imagenet"
    vgg = Architecture(name, 5, lambda **options: slim(name, options["resolution"]))
    method = NetworkFission(exits=2, whole=whole).resolved(vgg)
    net = method.network(dataclasses.replace(context([]), architecture=vgg, resolution=32))
    hidden = [head[2] for head in net.heads]
    assert ("head/2" in net.weights) == (not whole)
    if whole:
        assert not torch.equal(hidden[0].weight, hidden[1].weight)


@pytest.mark.parametrize("name", ["wrn-10-1", "wrn-10-2", "resnet18", "vgg16"])
def test_alternating_by_name_on_full_size_backbones(name):
    backbone = architecture(name)
    at = dataclasses.replace(context([]), architecture=backbone, resolution=32)
    method = NetworkFission(granularity="alternating").resolved(backbone)
    torch.manual_seed(0)
    net = method.network(at)
    assert isinstance(net, CompactNetwork)
    plain = sum(p.numel() for p in at.backbone().parameters())
    assert sum(p.numel() for p in net.parameters()) < 1.02 * plain


def test_a_pruned_compact_network_s_weights_load_into_the_skeleton(tmp_path):
    settings = {"granularity": "alternating", "pruning": "snip", "sparsity": 0.5}
    method, net, _ = build(**settings)
    kept = sum(int(torch.count_nonzero(p)) for p in net.parameters() if p.dim() == 4)
    total = sum(p.numel() for p in net.parameters() if p.dim() == 4)
    assert kept == round(0.5 * total)
    save_weights(tmp_path / "w.safetensors", net, "run")
    torch.manual_seed(1)
    skeleton = method.skeleton(context([]))
    load_weights(tmp_path / "w.safetensors", skeleton)
    x, _ = context([]).example(1)
    assert torch.equal(skeleton.eval()(x), net.eval()(x))


def test_the_settings_of_alternating_stand_in_its_identity_alone():
    plain = NetworkFission(unit=8, shared_norm=False).resolved(WRN)
    assert plain == NetworkFission().resolved(WRN)
    assert "unit" not in plain.settings()
    assert "shared_norm" not in plain.settings()
    compact = NetworkFission(granularity="alternating").resolved(WRN)
    assert compact.settings()["unit"] == 16
    assert compact.settings()["shared_norm"] is True
    assert NetworkFission.from_settings(compact.settings()) == compact


CHANNELS = {"granularity": "alternating", "scope": "layer", "prune_channels": True}


def test_weights_of_a_network_with_pruned_channels_load_into_the_skeleton(tmp_path):
    method, net, _ = build(**CHANNELS, pruning="snip", sparsity=0.5)
    save_weights(tmp_path / "w.safetensors", net, "run")
    torch.manual_seed(1)
    skeleton = method.skeleton(context([]))
    load_weights(tmp_path / "w.safetensors", skeleton)
    x, _ = context([]).example(1)
    assert torch.equal(skeleton.eval()(x), net.eval()(x))


def test_pruned_channels_stand_in_the_identity_where_there_are_some():
    alternating = NetworkFission(granularity="alternating")
    assert "prune_channels" not in alternating.resolved(WRN).settings()
    unpruned = NetworkFission(**CHANNELS).resolved(WRN)
    assert unpruned == alternating.resolved(WRN)
    pruned = NetworkFission(**CHANNELS, pruning="snip", sparsity=0.5).resolved(WRN)
    assert pruned.settings()["prune_channels"] is True
    assert NetworkFission.from_settings(pruned.settings()) == pruned
    # What is left decides what a run takes.
    assert "sparsity" not in pruned.changes_nothing()
    assert "sparsity" in alternating.changes_nothing()
    for wrong in ({"pruning": "erk"}, {"scope": "global"}, {"granularity": "weight"}):
        given = {"pruning": "snip", "sparsity": 0.5, **CHANNELS, **wrong}
        with pytest.raises(InputError, match="prune_channels"):
            NetworkFission(**given).resolved(WRN)


def test_settings_that_change_nothing_are_spelled_out_alike():
    plain = NetworkFission(exits=2).resolved(WRN)
    unused = NetworkFission(exits=2, pruning="snip", scope="layer", pruning_images=5).resolved(WRN)
    assert unused == plain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"granularity": "2:4"}, "2:4"),
        ({"scope": "stage"}, "unknown scope 'stage'"),
        ({"whole": "pointwize"}, "did you mean 'pointwise'"),
        ({"pruning_images": 0}, "pruning_images is 0"),
        ({"exits": 4}, "exits is 4: allowed: 1 to 3"),
        ({"granularity": "alternating", "whole": "pointwise"}, "whole"),
        ({"granularity": "alternating", "grouping": "stage"}, "grouping 'stage'"),
        ({"granularity": "alternating", "unit": 0}, "unit is 0"),
    ],
)
def test_bad_settings_are_refused_before_any_network_is_built(settings, message):
    with pytest.raises(InputError, match=message):
        NetworkFission.from_settings(settings).resolved(WRN)
