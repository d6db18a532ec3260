"""Compact fission computes what masked networks compute, at one network's executed cost."""

import copy

import pytest
import torch
from compact_reference import masked_reference
from dense_reference import dense_loss
from networks import CLASSES, slim
from torch import nn

from nfe import fission
from nfe.backbones import architecture
from nfe.backbones.stages import staged
from nfe.common import macs
from nfe.common.errors import CollapseError, InputError
from nfe.engine.checkpoint import load_weights, save_weights
from nfe.evaluation import cost
from nfe.losses import fission_loss
from nfe.splitting.compact.channels import split, take
from nfe.splitting.compact.network import CompactNetwork
from nfe.splitting.early_exit import exit_macs, predict
from nfe.splitting.export import export_onnx

SGD = {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}


def wide_resnet():
    return slim("wrn-10-2", 8)


BACKBONES = {
    "wide_resnet": (wide_resnet, 8),
    "resnet": (lambda: slim("resnet18"), 16),
    "bottleneck": (lambda: slim("resnet50"), 16),
    "resnext": (lambda: slim("resnext50"), 16),
    "vgg": (lambda: slim("vgg16"), 32),
    "vgg, large head": (lambda: slim("vgg16-imagenet"), 32),
}


def batch(resolution, n=6, dtype=torch.float64, seed=0):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, resolution, resolution, generator=draws, dtype=dtype)
    return images, torch.randint(CLASSES, (n,), generator=draws)


def alternating(model, exits, **options):
    return fission(model, exits, granularity="alternating", **options)


def build(backbone):
    make, resolution = BACKBONES[backbone]
    torch.manual_seed(0)
    return make(), resolution


def sorted_values(tensors):
    return torch.cat([t.detach().flatten() for t in tensors]).sort().values


def weights(part):
    """Weights of convolutions and linear layers that are divided: not the last linear one."""
    linear = [m for m in part.modules() if isinstance(m, nn.Linear)]
    layers = [m for m in part.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    return [m.weight for m in layers if m not in linear[-1:]]


def no_dropout(network):
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


# Only pre-activation networks have a norm to share.
CASES = [*((name, True) for name in BACKBONES), ("wide_resnet", False)]


@pytest.mark.parametrize("leave", [(1,), (2,), (1, 2), (1, 1)])
@pytest.mark.parametrize(("backbone", "shared_norm"), CASES)
def test_parity_with_masked_copies(backbone, leave, shared_norm):
    model, resolution = build(backbone)
    no_dropout(model.double())
    exits = len(leave) + 1
    net = alternating(model, exits, exit_stages=leave, shared_norm=shared_norm)
    dense, groups = masked_reference(staged(copy.deepcopy(model)), leave, shared_norm)
    ours = torch.optim.SGD(net.parameters(), **SGD)
    theirs = torch.optim.SGD(dense.parameters(), **SGD)
    for step in range(3):
        x, y = batch(resolution, seed=step)
        logits, losses = [], []
        for network, loss in ((net, fission_loss), (dense, dense_loss)):
            out = network.train()(x)
            value = loss(out, y)
            network.zero_grad()
            value.backward()
            logits.append(out.detach())
            losses.append(value.detach())
        torch.testing.assert_close(logits[0], logits[1], rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-7, atol=1e-7)
        dense.mask_gradients()
        for stage, part in enumerate(net.stages):
            mine = sorted_values([w.grad for w in weights(part)])
            other = [
                layer.weight.grad[groups[name] == path]
                for (name, path), layer in dense.layers.items()
                if name.startswith(f"stages.{stage}.")
            ]
            torch.testing.assert_close(mine, sorted_values(other), rtol=1e-6, atol=1e-7)
        ours.step()
        theirs.step()
        dense.apply_masks()
    x, _ = batch(resolution, seed=9)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(x), dense.eval()(x), rtol=1e-6, atol=1e-6)


PRUNED = {"sparsity": 0.4, "pruning": "magnitude", "scope": "layer"}


@pytest.mark.parametrize("backbone", ["wide_resnet", "resnet", "bottleneck", "vgg"])
def test_pruned_slices_agree_with_pruned_masked_copies_and_stay_pruned(backbone, tmp_path):
    model, resolution = build(backbone)
    model.double()
    net = alternating(model, 3, **PRUNED)
    single = fission(model, 1, **PRUNED)
    kept = {n.replace("/", "."): split.group > 0 for n, split in single.weights.items()}
    parts = staged(copy.deepcopy(model))
    dense, _ = masked_reference(parts, (1, 2), True, kept)
    ours = torch.optim.SGD(net.parameters(), **SGD)
    theirs = torch.optim.SGD(dense.parameters(), **SGD)
    for step in range(3):
        x, y = batch(resolution, seed=step)
        out, expected = net.train()(x), dense.train()(x)
        torch.testing.assert_close(out, expected, rtol=1e-7, atol=1e-7)
        for network, value in ((net, fission_loss(out, y)), (dense, dense_loss(expected, y))):
            network.zero_grad()
            value.backward()
        dense.mask_gradients()
        ours.step()
        theirs.step()
        dense.apply_masks()
    image = torch.randn(1, 3, resolution, resolution, dtype=torch.float64)
    nonzero, executed = cost.inference_macs(net, image)
    assert nonzero < 0.65 * executed
    assert exit_macs(net, image)[-1] == pytest.approx(nonzero, rel=1e-3)
    total = sum(int(mask.sum()) for mask in kept.values())
    convolutions = [p for p in net.parameters() if p.dim() == 4]
    assert sum(int(torch.count_nonzero(p)) for p in convolutions) == total
    with torch.no_grad():
        logits = net.eval()(x)
        for k, member in enumerate(net.members()):
            assert {type(m) for m in member.modules() if isinstance(m, nn.Conv2d)} == {nn.Conv2d}
            torch.testing.assert_close(member(x), logits[:, k])
        torch.testing.assert_close(net.materialized()(x), logits)
        save_weights(tmp_path / "w.safetensors", net, "run")
        other = alternating(model, 3, **{**PRUNED, "pruning": "random"}).eval()
        load_weights(tmp_path / "w.safetensors", other)
        assert torch.equal(other(x), logits)
        assert torch.equal(copy.deepcopy(net)(x), logits)


def test_a_path_s_part_of_a_layer_that_is_pruned_away_is_refused_by_name():
    model = wide_resnet()
    with torch.no_grad():
        model.get_submodule("stages.2.0.conv2").weight[:, :6] = 1e-9
    with pytest.raises(CollapseError, match=r"stages.2.paths.1.0.tail"):
        alternating(model, 3, sparsity=0.4, pruning="magnitude", scope="layer")


@pytest.mark.parametrize("exits", [2, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_original_weight_is_held_once_and_is_live(backbone, exits):
    model, resolution = build(backbone)
    net = alternating(model.double(), exits).train()
    assert isinstance(net, CompactNetwork)
    parts = staged(model)
    for mine, original in zip(net.stages, parts.stages, strict=True):
        assert torch.equal(sorted_values(weights(mine)), sorted_values(weights(original)))
    hidden = [w for head in net.heads for w in weights(head)]
    if hidden:
        assert torch.equal(sorted_values(hidden), sorted_values(weights(parts.head)))
    no_dropout(net)
    x, y = batch(resolution, n=64)
    fission_loss(net(x), y).backward()
    for name, parameter in net.named_parameters():
        if parameter.dim() == 4:
            dead = (parameter.grad == 0).sum(dim=(2, 3))
            # A border kernel position of a 1×1 map never meets a pixel.
            assert bool((dead < parameter.grad[0, 0].numel()).all()), name


def rectangle(weight, group, path):
    mine = group.flatten(2)[..., 0] == path if group.dim() == 4 else group == path
    outputs, inputs = mine.any(dim=1), mine.any(dim=0)
    return weight[outputs][:, inputs]


@pytest.mark.parametrize("backbone", ["wide_resnet", "resnet", "bottleneck", "resnext"])
def test_initial_weights_are_slices_of_the_original_draw(backbone):
    model, _ = build(backbone)
    net = alternating(model, 3)
    parts = staged(copy.deepcopy(model))
    _, groups = masked_reference(parts, (1, 2), shared_norm=False)
    for path, member in enumerate(net.members(), start=1):
        for number, stage in enumerate(member.stages):
            on = net.in_stage(path, number)
            expected = [
                rectangle(parts.get_submodule(name).weight, group, on)
                for name, group in groups.items()
                if name.startswith(f"stages.{number}.")
            ]
            expected = sorted((w.shape, w.flatten().tolist()) for w in expected)
            found = sorted((w.shape, w.detach().flatten().tolist()) for w in weights(stage))
            assert found == expected


@pytest.mark.parametrize("exits", [2, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_executed_macs_and_parameters_are_one_network_s_and_the_heads(backbone, exits):
    model, resolution = build(backbone)
    image = torch.randn(1, 3, resolution, resolution)
    net = alternating(model, exits)
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1].weight.numel()
    nonzero, executed = cost.inference_macs(net, image)
    assert executed == cost.inference_macs(model, image)[1] + (exits - 1) * last
    assert nonzero == executed
    assert exit_macs(net, image)[-1] == executed
    assert sum(w.numel() for w in net.parameters() if w.dim() > 1) == (
        sum(w.numel() for w in model.parameters() if w.dim() > 1) + (exits - 1) * last
    )


@pytest.mark.parametrize("exits", [2, 3])
def test_training_costs_one_network_s_multiply_adds(exits):
    torch.manual_seed(0)
    model = architecture("wrn-10-2").build(channels=3, classes=CLASSES, resolution=32)
    x, _ = batch(16, dtype=torch.float32)
    spent = []
    for network in (model, alternating(model, exits)):
        with macs.MacCounter() as counter:
            network.train()(x).sum().backward()
        spent.append(counter.executed)
    assert spent[0] < spent[1] < 1.001 * spent[0]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_members_copies_and_files_compute_the_same(backbone, tmp_path):
    model, resolution = build(backbone)
    net = alternating(model, 3).eval()
    x, _ = batch(resolution, dtype=torch.float32)
    with torch.no_grad():
        logits = net(x)
        members = net.members()
        for k, member in enumerate(members):
            torch.testing.assert_close(member(x), logits[:, k], rtol=0, atol=1e-6)
        torch.testing.assert_close(net.materialized()(x), logits, rtol=0, atol=0)
        torch.testing.assert_close(net.ensemble(x), logits.mean(dim=1))
        stopped, exits = predict(net, x, 2.0)
        assert bool((exits == 3).all())
        torch.testing.assert_close(stopped, logits.mean(dim=1), rtol=1e-5, atol=1e-6)
        save_weights(tmp_path / "w.safetensors", net, "run")
        torch.manual_seed(1)
        other = alternating(BACKBONES[backbone][0](), 3).eval()
        load_weights(tmp_path / "w.safetensors", other)
        assert torch.equal(other(x), logits)
        twin = copy.deepcopy(net)
        for part in (*members, other):
            for parameter in part.parameters():
                parameter.zero_()
        assert torch.equal(twin(x), net(x))
        assert torch.equal(net(x), logits)


GROUPED = [("wide_resnet", True), ("wide_resnet", False), ("resnet", True)]


@pytest.mark.parametrize("leave", [(1,), (1, 2), (1, 1), (2,)])
@pytest.mark.parametrize(("backbone", "shared_norm"), GROUPED)
def test_paths_side_by_side_have_the_same_logits(backbone, shared_norm, leave):
    model, resolution = build(backbone)
    x, _ = batch(resolution)
    exits = len(leave) + 1
    ratio = [0.5, *[0.5 / (exits - 1)] * (exits - 1)]
    for options in ({}, {"ratio": ratio}, PRUNED):
        chosen = {"exit_stages": leave, "shared_norm": shared_norm, **options}
        try:
            net = alternating(model.double(), exits, **chosen)
        except CollapseError:
            continue
        # Statistics of their own in every norm.
        net.train()(x)
        net.eval()
        convolutions = len([m for m in net.modules() if isinstance(m, nn.Conv2d)])
        grouped = net.grouped()
        assert len([m for m in grouped.modules() if isinstance(m, nn.Conv2d)]) < convolutions
        with torch.no_grad():
            torch.testing.assert_close(grouped(x), net(x))
            torch.testing.assert_close(grouped.ensemble(x), net.ensemble(x))


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_grouped_weights_keep_the_memory_format(memory):
    net = alternating(wide_resnet().to(memory_format=memory), 3).to(memory_format=memory)
    weights = [m.weight for m in net.grouped().modules() if isinstance(m, nn.Conv2d)]
    assert len(weights) > 5
    assert all(w.is_contiguous(memory_format=memory) for w in weights)


@pytest.mark.parametrize("backbone", ["bottleneck", "resnext", "vgg"])
def test_what_cannot_be_grouped_is_refused_in_one_line(backbone):
    model, _ = build(backbone)
    with pytest.raises(InputError, match=r"cannot be grouped: .*: allowed: compacted") as error:
        alternating(model, 2).grouped()
    assert "\n" not in str(error.value)


def test_a_path_taken_alone_in_training_mode_agrees_with_all_together():
    torch.manual_seed(0)
    net = alternating(wide_resnet().double(), 3).train()
    x, _ = batch(8)
    alone, together = copy.deepcopy(net), net(x)
    trunk, done = alone.stem(x), 0
    for path in (1, 2, 3):
        trunk = alone.along(3, trunk, done, alone.leaves(path))
        done = alone.leaves(path)
        torch.testing.assert_close(copy.deepcopy(alone).branch(path, trunk), together[:, path - 1])


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_gradients_of_channel_slices_keep_the_memory_format(memory):
    formats, gradients = [], []
    for cut in (
        lambda x: [take(x, 2, 3, stride=2)],
        lambda x: [x[:, 2:5, ::2, ::2]],
        lambda x: split(x, [2, 5])[1:],
        lambda x: [x[:, 2:]],
    ):
        x = torch.arange(2 * 7 * 5 * 4.0).view(2, 7, 5, 4).contiguous(memory_format=memory)
        x = x.requires_grad_() * 1
        x.register_hook(lambda g: formats.append(g.is_contiguous(memory_format=memory)))
        x.retain_grad()
        sum((part**2).sum() for part in cut(x)).backward()
        gradients.append(x.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[2], gradients[3])
    assert formats[0]
    assert formats[2]
    # What a plain slice does: the reason for the functions.
    assert formats[1] == (memory is torch.contiguous_format)


@pytest.mark.parametrize("backbone", ["wide_resnet", "resnet"])
def test_gradients_stay_channels_last_through_the_network(backbone):
    model, resolution = build(backbone)
    net = alternating(model, 3).to(memory_format=torch.channels_last)
    kept = []

    def watch(_module, inputs):
        if inputs[0].requires_grad:
            inputs[0].register_hook(
                lambda g: kept.append(g.is_contiguous(memory_format=torch.channels_last))
            )

    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
            module.register_forward_pre_hook(watch)
    x, y = batch(4 * resolution, dtype=torch.float32)
    fission_loss(net(x.contiguous(memory_format=torch.channels_last)), y).backward()
    assert len(kept) > 20
    assert all(kept)


def test_nothing_is_drawn_and_the_model_is_left_alone():
    model = wide_resnet()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    alternating(model, 3)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_one_exit_is_the_network_itself():
    model = wide_resnet().eval()
    x, _ = batch(8, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(alternating(model, 1).eval()(x)[:, 0], model(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exits": 2, "whole": ["pointwise"]}, "whole"),
        ({"exits": 2, "grouping": "stage"}, "grouping 'stage'"),
        ({"exits": 2, "unit": 0}, "unit is 0"),
        ({"exits": 2, "ratio": [0.99, 0.01]}, "layer 'stages.1.0.conv1'"),
        ({"exits": 6, "exit_stages": [1, 1, 1, 1, 1]}, "fewer exits"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_one_line(options, message):
    with pytest.raises(InputError) as error:
        alternating(wide_resnet(), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_it_compiles_without_a_break():
    torch.manual_seed(0)
    net = alternating(wide_resnet(), 3).eval()
    x, _ = batch(8, dtype=torch.float32)
    whole = torch.compile(net, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(whole(x), net(x))


def test_onnx_holds_the_ensemble_without_zeros(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, resolution = build("vgg, large head")
    net = alternating(model, 3).eval()
    x, _ = batch(resolution, dtype=torch.float32)
    export_onnx(net, tmp_path / "net.onnx", x[:1])
    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    assert (tmp_path / "net.onnx").stat().st_size < 1.1 * weights
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    for count in (1, 6):
        (logits,) = session.run(None, {"images": x[:count].numpy()})
        expected = net.ensemble(x[:count]).detach()
        torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-4)


def test_pruned_layers_that_are_no_plane_convolutions_are_refused_by_name():
    """Their masks would have been dropped, and the network left denser than asked for."""
    model = wide_resnet()
    model.stages[0] = nn.Sequential(model.stages[0], Rows(model.stages[0][0].conv2.out_channels))
    with pytest.raises(InputError, match=r"layer 'stages\.0\.1\.inner' is a Linear"):
        fission(model, 2, granularity="alternating", unit=1, sparsity=0.5, pruning="magnitude")
    assert fission(model, 2, granularity="alternating", unit=1).exits == 2


class Rows(nn.Module):
    """A linear layer over channels."""

    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x):
        return self.inner(x.movedim(1, -1)).movedim(-1, 1)
