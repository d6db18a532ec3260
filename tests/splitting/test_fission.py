"""A fissioned network computes what separate masked networks compute, at one network's size."""

import copy

import pytest
import torch
from dense_reference import DenseFission, dense_loss
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from networks import CLASSES, PLAIN_STAGES, Plain, convnext, slim, wide_resnet
from torch import nn

from nfe import fission
from nfe.backbones.stages import staged
from nfe.common.errors import CollapseError, InputError
from nfe.engine.checkpoint import load_weights, save_weights
from nfe.evaluation import cost
from nfe.losses import fission_loss
from nfe.splitting.choices import GRANULARITIES

SGD = {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}

BACKBONES = {
    "wide_resnet": (wide_resnet, 8),
    "resnet": (lambda: slim("resnet18"), 16),
    "resnext": (lambda: slim("resnext50"), 16),
    "vgg": (lambda: slim("vgg16"), 32),
    "convnext": (convnext, 32),
}


def groups_of(net):
    return {name.replace("/", "."): split.group for name, split in net.weights.items()}


def batch(resolution, n=6, dtype=torch.float64, seed=0):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, resolution, resolution, generator=draws, dtype=dtype)
    return images, torch.randint(CLASSES, (n,), generator=draws)


def exit_stages(exits, stages):
    """Default ones; where there are too few stages, the last that can be left is repeated."""
    return [min(k, stages - 1) for k in range(1, exits)]


@pytest.mark.parametrize("exits", [2, 3, 4])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_parity_with_separate_masked_copies(backbone, exits):
    build, resolution = BACKBONES[backbone]
    torch.manual_seed(exits)
    model = build().double()
    parts = staged(copy.deepcopy(model))
    leave = exit_stages(exits, len(parts.stages))
    net = fission(model, exits, sparsity=0.3, pruning="magnitude", exit_stages=leave)
    dense = DenseFission(parts, groups_of(net), leave)
    ours = torch.optim.SGD(net.parameters(), **SGD)
    theirs = torch.optim.SGD(dense.parameters(), **SGD)
    for step in range(3):
        x, y = batch(resolution, seed=step)
        logits, losses = [], []
        for network, loss in ((net, fission_loss), (dense, dense_loss)):
            torch.manual_seed(step)
            out = network.train()(x)
            value = loss(out, y)
            network.zero_grad()
            value.backward()
            logits.append(out.detach())
            losses.append(value.detach())
        torch.testing.assert_close(logits[0], logits[1], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-8, atol=1e-8)
        dense.mask_gradients()
        ours.step()
        theirs.step()
        dense.apply_masks()
    for (name, path), layer in dense.layers.items():
        split = net.weights[name.replace(".", "/")]
        torch.testing.assert_close(split.select(path), layer.weight, rtol=0, atol=1e-5)
    x, _ = batch(resolution, seed=9)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(x), dense.eval()(x), rtol=1e-5, atol=1e-5)


def test_a_named_module_list_and_in_place_activations_keep_parity():
    torch.manual_seed(0)
    model = Plain().double()
    parts = staged(copy.deepcopy(model), PLAIN_STAGES)
    net = fission(model, 3, stages=PLAIN_STAGES).train()
    assert "head/hidden" in net.weights
    assert "head/last" not in net.weights
    dense = DenseFission(parts, groups_of(net), (1, 2)).train()
    x, _ = batch(8)
    torch.manual_seed(1)
    ours = net(x)
    torch.manual_seed(1)
    torch.testing.assert_close(ours, dense(x))


def test_one_exit_without_pruning_is_the_network_itself():
    model = wide_resnet().eval()
    x, _ = batch(8, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(fission(model, 1).eval()(x)[:, 0], model(x), rtol=0, atol=0)


def test_nothing_is_drawn_anew_and_the_model_is_left_alone():
    model = wide_resnet()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    net = fission(model, 3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for name, split in net.weights.items():
        assert torch.equal(split.weight, before[f"{name.replace('/', '.')}.weight"])


@settings(max_examples=12, deadline=None)
@given(
    exits=st.integers(2, 4),
    sparsity=st.floats(0, 0.8),
    pruning=st.sampled_from(["random", "magnitude", "erk"]),
    grouping=st.sampled_from(["tensor", "stage"]),
    seed=st.integers(0, 10_000),
)
def test_weights_of_others_stay_exactly_zero_through_training(
    exits, sparsity, pruning, grouping, seed
):
    torch.manual_seed(seed)
    model = slim("resnet18")
    options = {"sparsity": sparsity, "pruning": pruning, "grouping": grouping, "seed": seed}
    try:
        net = fission(model, exits, **options)
    except CollapseError:
        reject()
    optimizer = torch.optim.SGD(net.parameters(), **SGD)
    for step in range(10):
        x, y = batch(8, dtype=torch.float32, seed=step)
        optimizer.zero_grad()
        fission_loss(net.train()(x), y).backward()
        optimizer.step()
    kept = total = 0
    for split in net.weights.values():
        assert not split.weight[split.group == 0].any()
        together = torch.zeros_like(split.weight)
        for path in range(1, exits + 1):
            own = split.select(path)
            assert not own[split.group != path].any()
            together += own
        assert torch.equal(together, split.weight)
        kept += int((split.group > 0).sum())
        total += split.group.numel()
    assert kept == round((1 - sparsity) * total)


@settings(max_examples=10, deadline=None)
@given(
    exits=st.integers(2, 5),
    width=st.sampled_from([4, 8, 12]),
    sparsity=st.floats(0, 0.5),
    seed=st.integers(0, 10_000),
)
def test_gradients_reach_only_a_path_s_own_group_and_the_shared_part(exits, width, sparsity, seed):
    torch.manual_seed(seed)
    leave = exit_stages(exits, 3)
    net = fission(
        Plain(width),
        exits,
        sparsity=sparsity,
        pruning="random",
        exit_stages=leave,
        stages=PLAIN_STAGES,
        seed=seed,
    ).eval()
    x, _ = batch(6, dtype=torch.float32)
    for path in range(1, exits + 1):
        net.zero_grad()
        net(x)[:, path - 1].square().sum().backward()
        crossed = {"stem": exits, "head": path} | {
            f"stages/{i}": exits if i < net.leaves(path) else path for i in range(3)
        }
        for name, split in net.weights.items():
            section = next(s for s in crossed if f"{name}/".startswith(f"{s}/"))
            reached = (
                torch.zeros_like(split.weight) if split.weight.grad is None else split.weight.grad
            )
            assert not reached[split.group != crossed[section]].any()
        for other in range(1, exits + 1):
            linear = net.heads[other - 1].get_submodule("last")
            reached = linear.weight.grad is not None and bool(linear.weight.grad.any())
            assert reached == (other == path)


@pytest.mark.parametrize("exits", [2, 3])
@pytest.mark.parametrize("pruning", ["none", "magnitude"])
def test_macs_on_nonzero_weights_equal_the_single_network_s(exits, pruning):
    torch.manual_seed(0)
    model = slim("resnet18")
    sparsity = 0.6 if pruning == "magnitude" else 0.0
    image = torch.randn(1, 3, 16, 16)
    options = {"sparsity": sparsity, "pruning": pruning}
    single, _ = cost.inference_macs(fission(model, 1, **options), image)
    divided, executed = cost.inference_macs(fission(model, exits, **options), image)
    head = model.head.get_submodule("2").weight.numel()
    assert divided - single == pytest.approx((exits - 1) * head, abs=40)  # one rounding per layer
    assert executed > divided


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("exits", [2, 3])
def test_parameters_stay_at_one_network_s_size(backbone, exits):
    model = BACKBONES[backbone][0]()
    net = fission(model, exits)
    weights = sum(split.weight.numel() for split in net.weights.values())
    plain = {
        id(m.weight): m.weight.numel()
        for m in model.modules()
        if isinstance(m, (nn.Conv2d, nn.Linear))
    }
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    assert weights == sum(plain.values()) - last.weight.numel()


def test_members_are_ordinary_networks_with_the_same_logits():
    torch.manual_seed(0)
    net = fission(convnext(), 3, sparsity=0.4, pruning="random").eval()
    x, _ = batch(32, dtype=torch.float32)
    with torch.no_grad():
        logits = net(x)
        for k, member in enumerate(net.members()):
            assert {type(m).__name__ for m in member.modules() if isinstance(m, nn.Conv2d)} == {
                "Conv2d"
            }
            torch.testing.assert_close(member(x), logits[:, k], rtol=0, atol=1e-6)
        torch.testing.assert_close(net.materialized()(x), logits, rtol=0, atol=1e-6)
        torch.testing.assert_close(net.ensemble(x), logits.mean(dim=1))


def test_members_do_not_share_memory_with_the_network():
    net = fission(wide_resnet(), 2)
    with torch.no_grad():
        for parameter in net.members()[0].parameters():
            parameter.fill_(7)
    assert not any(bool((p == 7).any()) for p in net.parameters())


def test_a_deep_copy_is_independent_and_computes_the_same():
    net = fission(wide_resnet(), 3).eval()
    x, _ = batch(8, dtype=torch.float32)
    twin = copy.deepcopy(net)
    assert torch.equal(twin(x), net(x))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert net(x).any()


def test_weights_and_groups_survive_a_file(tmp_path):
    torch.manual_seed(0)
    net = fission(wide_resnet(), 3, sparsity=0.5, pruning="random", seed=1).eval()
    save_weights(tmp_path / "w.safetensors", net, "run")
    other = fission(wide_resnet(), 3, seed=2).eval()
    load_weights(tmp_path / "w.safetensors", other)
    x, _ = batch(8, dtype=torch.float32)
    assert torch.equal(other(x), net(x))


@pytest.mark.parametrize("kind", ["pointwise", "grouped", "depthwise", "linear", "head"])
def test_layers_kept_whole_are_neither_pruned_nor_divided(kind):
    torch.manual_seed(0)
    model = Plain() if kind in ("grouped", "head") else convnext()
    stages = PLAIN_STAGES if kind in ("grouped", "head") else None
    if kind == "pointwise":
        model, stages = slim("resnet18"), None
    all_split = fission(model, 3, sparsity=0.5, pruning="random", stages=stages)
    net = fission(model, 3, sparsity=0.5, pruning="random", stages=stages, whole=[kind])
    missing = set(all_split.weights) - set(net.weights)
    assert missing
    parts = staged(model, stages)
    for member in net.members():
        for name in missing:
            layer = name.replace("/", ".")
            assert torch.equal(
                member.get_submodule(layer).weight, parts.get_submodule(layer).weight
            )


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_every_granularity_trains(granularity):
    torch.manual_seed(0)
    net = fission(wide_resnet(), 2, granularity=granularity)
    x, y = batch(8, dtype=torch.float32)
    loss = fission_loss(net(x), y)
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exits": 4}, "exits is 4: allowed: 1 to 3"),
        ({"exits": 0}, "exits is 0"),
        ({"exits": 2, "exit_stages": [3]}, "stages 1 to 2"),
        ({"exits": 3, "exit_stages": [2, 1]}, "ascending"),
        ({"exits": 2, "ratio": [0.5, 0.6]}, "sum"),
        ({"exits": 2, "grouping": "tensr"}, "did you mean 'tensor'"),
        ({"exits": 2, "granularity": "kernels"}, "did you mean 'kernel'"),
        ({"exits": 3, "granularity": "2:4"}, "2:4"),
        ({"exits": 2, "whole": ["pointwize"]}, "did you mean 'pointwise'"),
        ({"exits": 2, "sparsity": 0.5}, "pruning 'none'"),
        ({"exits": 2, "scope": "layers", "pruning": "random", "sparsity": 0.5}, "'layer'"),
        ({"exits": 2, "pruning": "snip", "sparsity": 0.5}, "needs example"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(options, message):
    with pytest.raises(InputError) as error:
        fission(wide_resnet(), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_path_is_refused_by_layer_and_path():
    with pytest.raises(CollapseError, match=r"layer 'stem' is left without a weight"):
        model = wide_resnet()
        nn.init.zeros_(model.stem.weight)
        fission(model, 2, sparsity=0.5, pruning="magnitude")
    with pytest.raises(CollapseError, match=r"layer 'stages.*path 2 is left without a weight"):
        fission(Plain(4), 3, sparsity=0.95, pruning="random", scope="layer", stages=PLAIN_STAGES)
