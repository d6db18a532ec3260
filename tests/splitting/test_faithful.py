"""Nothing is left out without a word: a fissioned network is the given one, or it is refused."""

import copy

import pytest
import torch
from networks import CLASSES, PLAIN_STAGES, Plain, wide_resnet
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils import prune as old_prune

from nfe import fission, prune
from nfe.backbones import Backbone
from nfe.common.errors import InputError
from nfe.splitting.export import export_onnx

BATCH = (torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 5)


class Parts(nn.Module):
    """Stem, stages and head, one after the other: what timm's networks look like."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.stages = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()) for _ in range(3))
        )
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.Hardswish(inplace=True)
        self.wide = nn.Conv2d(width, 2 * width, 1)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stages(self.stem(x)))


class NormBehind(Parts):
    """As coatnet_nano_rw_224."""

    def forward(self, x):
        return self.head(self.norm(self.stages(self.stem(x))))


class DropoutBehind(Parts):
    """Shows in training only."""

    def forward(self, x):
        return self.head(self.drop(self.stages(self.stem(x))))


class ConvolutionBehind(Parts):
    """As nfnet_l0: the head takes what only the module left out gives."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES))

    def forward(self, x):
        return self.head(self.act(self.wide(self.stages(self.stem(x)))))


class ZeroHead(NormBehind):
    """Logits alone would not tell."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.head[2].weight)
        nn.init.zeros_(self.head[2].bias)


class InPlaceBehind(Parts):
    def forward(self, x):
        return self.head(torch.sin_(self.stages(self.stem(x))))


class PoolingBetween(Parts):
    def forward(self, x):
        x = self.stages[0](self.stem(x))
        return self.head(self.stages[2](self.stages[1](nn.functional.avg_pool2d(x, 2))))


class ScaledBefore(Parts):
    def forward(self, x):
        return super().forward(2 * x)


class BehindTheHead(Parts):
    def forward(self, x):
        return super().forward(x) / 3


class HeadInPieces(Parts):
    def forward(self, x):
        x = self.stages(self.stem(x))
        for layer in self.head:
            x = layer(x)
        return x


def copies(network: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())


@pytest.mark.parametrize("example", [None, BATCH], ids=["random", "example"])
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (NormBehind, "module 'norm' (BatchNorm2d) between 'stages.2' and 'head'"),
        (DropoutBehind, "module 'drop' (Dropout) between 'stages.2' and 'head'"),
        (ConvolutionBehind, "module 'wide' (Conv2d), 'act' (Hardswish) between 'stages.2' and"),
        (ZeroHead, "module 'norm' (BatchNorm2d) between 'stages.2' and 'head'"),
        (InPlaceBehind, "code without a module between 'stages.2' and 'head'"),
        (PoolingBetween, "code without a module between 'stages.0' and 'stages.1'"),
        (ScaledBefore, "code without a module before 'stem'"),
        (BehindTheHead, "code without a module behind 'head'"),
        (HeadInPieces, "'head' is not called as a whole"),
    ],
)
def test_what_stem_stages_and_head_leave_out_is_refused_by_name(build, message, example):
    with pytest.raises(InputError) as error:
        fission(build(), 2, example=example)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_same_networks_are_taken_by_the_names_of_their_stages():
    torch.manual_seed(0)
    model = NormBehind().eval()
    net = fission(model, 1, stages=["stages.0", "stages.1", "stages.2"]).eval()
    with torch.no_grad():
        torch.testing.assert_close(net(BATCH[0])[:, 0], model(BATCH[0]), rtol=0, atol=0)


class Standardized(nn.Conv2d):
    """As in nfnets: the layer computes with another weight than the one it holds."""

    def forward(self, x):
        weight = (self.weight - self.weight.mean()) / (self.weight.std() + 1e-3)
        return self._conv_forward(x, weight, self.bias)


def test_a_layer_class_of_its_own_is_computed_as_it_is_or_refused():
    torch.manual_seed(0)
    model = Parts()
    model.stages[1][0] = Standardized(8, 8, 3, padding=1)
    with torch.no_grad():
        expected = model.eval()(BATCH[0])
    try:
        net = fission(model, 1)
    except InputError as error:
        assert "other logits" in str(error)
    else:
        with torch.no_grad():
            torch.testing.assert_close(net.eval()(BATCH[0])[:, 0], expected)


def count(module: nn.Module, _inputs: object, _output: object) -> None:
    module.calls.add_(1)


@pytest.mark.parametrize("example", [None, BATCH], ids=["random", "example"])
@pytest.mark.parametrize(
    ("build", "stages"), [(Parts, None), (Plain, PLAIN_STAGES)], ids=["parts", "traced"]
)
def test_the_check_leaves_modes_buffers_and_random_streams_alone(build, stages, example):
    model = build().train()
    model.register_buffer("calls", torch.zeros(()))
    model.register_forward_hook(count)
    before, modes = copies(model), [m.training for m in model.modules()]
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    fission(model, 2, stages=stages, example=example)
    assert torch.equal(torch.rand(4), expected)
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())


def test_a_network_that_no_random_image_fits_needs_an_example():
    class Fixed(Parts):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 8, CLASSES))

    with pytest.raises(InputError, match=r"give example=\(images, labels\)"):
        fission(Fixed(), 2)
    assert fission(Fixed(), 2, example=BATCH).exits == 2


def test_our_own_backbones_are_not_run(monkeypatch):
    model = wide_resnet()
    monkeypatch.setattr(Backbone, "forward", lambda *_: pytest.fail("a forward pass"))
    fission(model, 2)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("axes", [1, 3])
def test_convolutions_over_one_and_three_axes_are_pruned_and_divided(axes):
    torch.manual_seed(0)
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[axes]
    pool = {1: nn.AdaptiveAvgPool1d, 3: nn.AdaptiveAvgPool3d}[axes]
    stages = [nn.Sequential(conv(8, 8, 3, padding=1), nn.ReLU()) for _ in range(3)]
    model = Backbone(
        conv(2, 8, 3, padding=1), stages, nn.Sequential(pool(1), nn.Flatten(), nn.Linear(8, 4))
    ).eval()
    x = torch.randn(2, 2, *[6] * axes)
    with torch.no_grad():
        torch.testing.assert_close(fission(model, 1).eval()(x)[:, 0], model(x), rtol=0, atol=0)
    net = fission(model, 3, sparsity=0.5, pruning="magnitude", example=(x, torch.zeros(2).int()))
    assert set(net.weights) == {"stem", "stages/0/0", "stages/1/0", "stages/2/0"}
    kept = [int((split.group > 0).sum()) for split in net.weights.values()]
    assert sum(kept) == round(0.5 * sum(s.group.numel() for s in net.weights.values()))
    assert parameters(net) < 1.5 * parameters(model)
    net.train()(x).sum().backward()
    plain = [member.eval()(x) for member in net.eval().members()]
    torch.testing.assert_close(torch.stack(plain, dim=1), net(x))


def weight_normed() -> nn.Module:
    torch.manual_seed(0)
    model = Plain()
    for layer in [model.first, model.one[1], model.hidden]:
        parametrizations.weight_norm(layer)
        with torch.no_grad():
            layer.parametrizations.weight.original0.mul_(1.5)
    parametrizations.spectral_norm(model.three[1])
    model.three[1].weight.sum().backward()
    return model


@pytest.mark.parametrize("granularity", ["weight", "kernel"])
def test_parametrized_layers_are_made_plain_and_divided(granularity):
    model = weight_normed()
    before = copies(model)
    with torch.no_grad():
        expected = model.eval()(BATCH[0])
    options = {"stages": PLAIN_STAGES, "granularity": granularity}
    with torch.no_grad():
        found = fission(model, 1, **options).eval()(BATCH[0])[:, 0]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    net = fission(model, 3, **options)
    assert set(net.weights) == set(fission(Plain(), 3, **options).weights)
    assert not any(parametrize.is_parametrized(m) for m in net.modules())
    # The given network stays parametrized: classes are shared with its copies.
    assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())
    assert parametrize.is_parametrized(model.first, "weight")
    with torch.no_grad():
        torch.testing.assert_close(model(BATCH[0]), expected, rtol=0, atol=0)


@pytest.mark.parametrize("granularity", ["weight", "alternating"])
def test_a_pruned_network_stays_pruned_when_it_is_divided(granularity):
    torch.manual_seed(0)
    model = prune(wide_resnet(), "magnitude", 0.5)
    net = fission(model, 2, granularity=granularity, unit=1).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        net(BATCH[0]).square().sum().backward()
        optimizer.step()
    convolutions = [m for m in net.materialized().stem.modules() if isinstance(m, nn.Conv2d)]
    kept = int((model.stem.weight != 0).sum())
    assert kept < model.stem.weight.numel()
    assert [int((m.weight != 0).sum()) for m in convolutions] == [kept]
    with pytest.raises(InputError, match="already pruned: allowed: 0"):
        fission(model, 2, sparsity=0.5, pruning="magnitude")
    with pytest.raises(InputError, match=r"pruned layer .* is not divided"):
        fission(prune(wide_resnet(), "magnitude", 0.5, layers=["head.4"]), 2)


def with_stage(layer: nn.Module) -> nn.Module:
    model = Parts()
    model.stages[1] = nn.Sequential(layer)
    return model


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        rows = x.flatten(2).transpose(1, 2)
        return self.inner(rows, rows, rows)[0].transpose(1, 2).view_as(x)


def used_old_tools(tool) -> nn.Module:
    model = Parts()
    tool(model.stages[1][0])
    model(BATCH[0])
    return model


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: with_stage(nn.ConvTranspose2d(8, 8, 1)), "'stages.1.0' (ConvTranspose2d)"),
        (lambda: with_stage(Attention()), "'stages.1.0.inner' (MultiheadAttention): its in_proj_w"),
        (lambda: used_old_tools(nn.utils.weight_norm), "remove_weight_norm(layer, 'weight') first"),
        (lambda: used_old_tools(nn.utils.spectral_norm), "remove_spectral_norm(layer, 'weight')"),
        (
            lambda: used_old_tools(lambda m: old_prune.l1_unstructured(m, "weight", 0.5)),
            "'stages.1.0' (Conv2d): its weight is computed before every forward pass",
        ),
        (lambda: with_stage(nn.LazyConv2d(8, 1)), "'stages.1.0' (LazyConv2d) is lazy"),
        (lambda: Parts().to("meta"), "'stem' (Conv2d) is on the meta device"),
        (lambda: "resnet18", "the network is a str: allowed: an nn.Module"),
        (
            lambda: Backbone(nn.Identity(), [nn.ReLU(), nn.ReLU()], nn.Flatten()),
            "nothing to divide over exits",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused_by_layer_and_reason(build, message):
    with pytest.raises(InputError) as error:
        fission(build(), 2)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_layers_that_cannot_be_divided_are_copied_when_asked_for():
    model = with_stage(Attention())
    net = fission(model, 3, whole=["other"])
    assert "stages/1/0/inner/out_proj" in net.weights
    assert len(net.stages[1]) == 2
    assert net(BATCH[0]).shape == (6, 3, CLASSES)


def test_boolean_buffers_are_no_obstacle():
    torch.manual_seed(0)
    model = Parts()
    model.stages[0].register_buffer("window", torch.ones(3, dtype=torch.bool))
    for pruning in ("snip", "synflow", "grasp"):
        net = fission(model, 2, sparsity=0.3, pruning=pruning, example=BATCH)
        assert net.stages[1]["1"][0] is not None


def convolutional() -> nn.Module:
    """As SqueezeNet and other fully convolutional classifiers end."""
    model = Parts()
    model.head = nn.Sequential(
        nn.Conv2d(8, 12, 1), nn.ReLU(), nn.Conv2d(12, CLASSES, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )  # fmt: skip
    return model


def test_a_convolutional_classifier_is_kept_whole():
    net = fission(convolutional(), 3)
    assert "head/0" in net.weights
    assert "head/2" not in net.weights
    assert all(head[2].weight.all() for head in net.heads)


class Optional(Plain):
    def forward(self, x, return_features=False, *, scale=None, **more):
        if return_features:
            return x
        return super().forward(x if scale is None else scale * x)


def test_optional_arguments_of_a_forward_pass_have_their_defaults():
    torch.manual_seed(0)
    model = Optional().eval()
    net = fission(model, 1, stages=PLAIN_STAGES).eval()
    with torch.no_grad():
        torch.testing.assert_close(net(BATCH[0])[:, 0], model(BATCH[0]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"example": BATCH[0]}, "example is one tensor (6, 3, 8, 8): allowed: (images, labels)"),
        ({"example": (BATCH[0], [1, 2])}, "example is (Tensor, list)"),
        ({"example": (BATCH[0], BATCH[1].float())}, "example labels (6,) torch.float32"),
        ({"exits": 256, "exit_stages": [1] * 255}, "exits is 256: allowed: whole numbers from 1"),
        ({"exits": 2.0}, "exits is 2.0: allowed: whole numbers from 1 to 255"),
        ({"exit_stages": [1.0]}, "exit_stages is [1.0]"),
    ],
)
def test_arguments_of_another_kind_are_refused_in_one_line(options, message):
    with pytest.raises(InputError) as error:
        fission(wide_resnet(), **{"exits": 2, **options})
    assert message in str(error.value)


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8])
def test_labels_may_be_whole_numbers_of_any_kind(kind):
    options = {"sparsity": 0.4, "pruning": "snip"}
    images, labels = BATCH
    found = fission(wide_resnet().eval(), 2, example=(images, labels.to(kind)), **options)
    assert found.exits == 2


def test_onnx_refuses_in_a_sentence_and_takes_text_as_a_path(tmp_path):
    net = fission(wide_resnet(), 2)
    with pytest.raises(InputError, match=r"not a Backbone: .*torch\.onnx\.export"):
        export_onnx(wide_resnet(), tmp_path / "a.onnx", BATCH[0][:1])
    with pytest.raises(InputError, match=r"image is \(6, 3, 8, 8\): allowed: one image"):
        export_onnx(net, tmp_path / "a.onnx", BATCH[0])
    pytest.importorskip("onnxscript")
    export_onnx(net, str(tmp_path / "a.onnx"), BATCH[0][:1])
    assert (tmp_path / "a.onnx").stat().st_size > 1000
