"""Any staged network: torchvision's classifiers unchanged, others by the names of their stages."""

import copy

import pytest
import torch
import torchvision
from networks import CLASSES, PLAIN_STAGES, Plain, convnext, wide_resnet
from torch import nn

from nfe import fission
from nfe.backbones.stages import staged
from nfe.common.errors import InputError
from nfe.engine.checkpoint import load_weights, save_weights
from nfe.losses import fission_loss
from nfe.splitting.export import export_onnx

# Name, number of stages.
TORCHVISION = {
    "resnet18": 4,
    "resnet50": 4,
    "resnext50_32x4d": 4,
    "wide_resnet50_2": 4,
    "vgg16_bn": 5,
    "densenet121": 4,
    "mobilenet_v3_small": 4,
    "efficientnet_b0": 5,
    "convnext_tiny": 4,
}


def last_linear(network: nn.Module) -> nn.Linear:
    return [m for m in network.modules() if isinstance(m, nn.Linear)][-1]


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_stages_have_one_resolution_each(name):
    """The trace, cut and put together again, is the network; stages halve the image."""
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(num_classes=CLASSES).eval()
        parts = staged(model)
        assert len(parts.stages) == TORCHVISION[name]
        assert {id(p) for p in parts.parameters()} == {id(p) for p in model.parameters()}
        x = parts.stem(torch.zeros(1, 3, 224, 224))
        sides = []
        for stage in parts.stages:
            x = stage(x)
            sides.append(x.shape[-1])
        assert sorted(set(sides), reverse=True) == sides
        assert parts.head(x).shape == (1, CLASSES)


def quick_first(*quick):
    """The torchvision networks, all but some of them marked as slow."""
    slow = [n for n in TORCHVISION if n not in quick]
    return [*quick, *(pytest.param(n, marks=pytest.mark.slow) for n in slow)]


@pytest.mark.parametrize("name", quick_first("mobilenet_v3_small"))
def test_torchvision_networks_fission_train_export_and_reload(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(num_classes=CLASSES)
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(4, 3, 64, 64, generator=draws), torch.arange(4) % CLASSES
    with torch.no_grad():
        plain = copy.deepcopy(model).eval()
        torch.testing.assert_close(staged(plain)(x), plain(x), rtol=0, atol=0)
    net = fission(
        model, 2, sparsity=0.5, pruning="magnitude", scope="layer", example=(x, y)
    ).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    trained: set[str] = set()
    for _ in range(3):
        optimizer.zero_grad()
        fission_loss(net(x), y).backward()
        # Gradients, not changed weights: ConvNeXt's layer scale of 1e-6 makes steps that float32
        # may round away.
        trained |= {n for n, p in net.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
    assert trained == {n for n, _ in net.named_parameters()}
    with torch.no_grad():
        expected = net.eval().ensemble(x)
    save_weights(tmp_path / "w.safetensors", net, "run")
    again = fission(getattr(torchvision.models, name)(num_classes=CLASSES), 2).eval()
    load_weights(tmp_path / "w.safetensors", again)
    with torch.no_grad():
        assert torch.equal(again.ensemble(x), expected)
    export_onnx(net, tmp_path / "net.onnx", x[:1])
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    for count in (1, 4):
        (logits,) = session.run(None, {"images": x[:count].numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), expected[:count], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name", quick_first("resnet18", "densenet121", "mobilenet_v3_small", "efficientnet_b0")
)
def test_parameters_stay_within_15_percent_at_every_number_of_exits(name):
    """Last linear layers not counted; the most exits are the largest."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(num_classes=CLASSES)
    exits = TORCHVISION[name]
    net = fission(model, exits)
    last = last_linear(model)
    plain = size(model) - size(last)
    assert size(net) - exits * size(last) <= 1.15 * plain


def test_the_hidden_layers_of_a_large_head_are_divided():
    torch.manual_seed(0)
    model = torchvision.models.vgg16_bn(num_classes=CLASSES)
    model.classifier = nn.Sequential(
        nn.Linear(512 * 49, 256),
        nn.ReLU(True),
        nn.Dropout(),
        nn.Linear(256, 32),
        nn.Linear(32, CLASSES),
    )
    net = fission(model, 5)
    assert {"head/classifier/0", "head/classifier/3"} <= set(net.weights)
    assert "head/classifier/4" not in net.weights
    last = last_linear(model)
    assert size(net) - 5 * size(last) <= 1.15 * (size(model) - size(last))
    whole = fission(model, 5, whole=["head"])
    assert size(whole) > 1.15 * size(model)


def test_what_lies_between_two_stages_belongs_to_the_former():
    model = nn.Sequential(*(nn.Conv2d(2, 2, 1) for _ in range(6)), nn.Flatten(), nn.Linear(2, 2))
    parts = staged(model, ["1", "3..4"])
    convolutions = [
        sum(isinstance(m, nn.Conv2d) for m in p.modules())
        for p in [parts.stem, *parts.stages, parts.head]
    ]
    assert convolutions == [1, 2, 2, 1]


def test_a_trained_mode_of_each_module_survives_staging():
    model = Plain()
    model.two.eval()
    modes = {n: m.training for n, m in model.named_modules()}
    staged(model, PLAIN_STAGES)
    assert modes == {n: m.training for n, m in model.named_modules()}


class Twice(Plain):
    def forward(self, x):
        x = self.one(self.one(self.first(x)))
        return self.last(torch.relu(self.hidden(self.three(self.two(x)).mean(dim=(2, 3)))))


class TwiceInside(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return self.conv(self.conv(x))


class Skips(Plain):
    def forward(self, x):
        first = self.first(x)
        x = self.three(self.two(self.one(first))) + first
        return self.last(torch.relu(self.hidden(x.mean(dim=(2, 3)))))


class Branches(Plain):
    def forward(self, x):
        if x.sum() > 0:
            x = -x
        return super().forward(x)


class ModeDependent(Plain):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.5, self.training)


class Auxiliary(Plain):
    def forward(self, x):
        logits = super().forward(x)
        return logits, logits


def tied():
    model = Plain()
    model.three[1] = model.one[1]
    return model


def inside():
    model = Plain()
    model.two = TwiceInside()
    return model


def images(channels=3, count=4):
    return torch.randn(count, channels, 8, 8), torch.zeros(count, dtype=torch.int64)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Plain(), {}, "Plain has no stem, stages and head"),
        (Plain(), {"stages": ["one", "tow"]}, "'tow': did you mean 'two'"),
        (Plain(), {"stages": ["two", "one"]}, "order of execution"),
        (Plain(), {"stages": ["one", "one"]}, "order of execution"),
        (Plain(), {"stages": []}, "names of modules"),
        (Twice(), {"stages": PLAIN_STAGES}, "module 'one' is used twice"),
        (tied(), {"stages": PLAIN_STAGES}, "'one.1' is used twice, again as 'three.1'"),
        (
            inside(),
            {"stages": PLAIN_STAGES, "example": images()},
            "module 'two.conv' is used twice",
        ),
        (Skips(), {"stages": PLAIN_STAGES}, "more than one tensor"),
        (Branches(), {"stages": PLAIN_STAGES}, "cannot be traced"),
        (Auxiliary(), {"stages": PLAIN_STAGES}, "take one tensor and return one"),
        (ModeDependent(), {"stages": PLAIN_STAGES}, "training and evaluation"),
        (Plain(), {"stages": PLAIN_STAGES, "example": images(1)}, "module 'first' (Conv2d)"),
        (Plain(), {"stages": PLAIN_STAGES, "exits": 4}, "exits is 4: allowed: 1 to 3"),
        (convnext(), {"example": (images()[0][:, :, :4], images()[1])}, "module 'features"),
        (wide_resnet(), {"example": (images()[0][0], images()[1])}, "module 'stem' (Conv2d)"),
        (wide_resnet(), {"example": (images()[0], images()[1][:2])}, "example labels"),
        (wide_resnet(), {"example": (images()[0], images()[1] + CLASSES)}, "from 0 to 4"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_split_is_refused_by_module(model, options, message):
    with pytest.raises(InputError) as error:
        fission(model, **{"exits": 2, **options})
    assert message in str(error.value)
    assert "\n" not in str(error.value)
