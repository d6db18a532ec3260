"""Slimmable networks and MutualNet: networks of the first channels, and what they learn."""

import copy

import pytest
import torch
import torch.nn.functional as F
from rivals import context, method, network, unsettle_norms
from torch import Tensor, nn

from baselines.mutualnet import resized
from baselines.shared.slim import SlicedNorm, Slim, SlimStructure
from nfe.backbones import Backbone
from nfe.common.errors import InputError
from nfe.common.precision import InPrecision

TIGHT = {"atol": 1e-5, "rtol": 1e-5}
IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(8) % 5
BOTH = ("slimmable", "mutualnet")


@torch.no_grad()
def dense(made: Slim, member: int, share: float, backbone: str) -> Backbone:
    """A network of its own, of a member's width, with copies of the first channels' weights."""
    alone = context(backbone).backbone(structure=SlimStructure(share))
    found = dict(made.whole.named_modules())
    own = dict(made.narrow[member].named_modules())
    for name, layer in alone.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            rows, columns = layer.weight.shape[:2]
            layer.weight.copy_(found[name].weight[:rows, :columns])
            if layer.bias is not None:
                layer.bias.copy_(found[name].bias[:rows])
        if isinstance(layer, nn.BatchNorm2d):
            source = own[name]
            if isinstance(source, SlicedNorm):
                layer.weight.copy_(found[name].weight[: layer.num_features])
                layer.bias.copy_(found[name].bias[: layer.num_features])
                source = source.own
                layer.running_mean.copy_(source.running_mean)
                layer.running_var.copy_(source.running_var)
            else:
                layer.load_state_dict(source.state_dict())
    return alone


def unsettled(name: str, backbone: str, **settings: object) -> Slim:
    made = network(name, backbone, **settings)
    assert isinstance(made, Slim)
    unsettle_norms(made.whole)
    for layer in made.narrow.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            if layer.affine:
                nn.init.normal_(layer.weight, 1, 0.1)
    return made


@pytest.mark.parametrize("backbone", ["wrn-10-2", "resnet50", "torchvision:mobilenet_v3_small"])
@pytest.mark.parametrize("name", BOTH)
@torch.no_grad()
def test_each_width_is_a_dense_network(name: str, backbone: str) -> None:
    widths = [0.5, 0.75, 1.0]
    made = unsettled(name, backbone, widths=widths).eval()
    logits = made(IMAGES)
    for member, share in enumerate(widths[:-1]):
        alone = dense(made, member, share, backbone).eval()
        torch.testing.assert_close(logits[:, member], alone(IMAGES), **TIGHT)
    torch.testing.assert_close(logits[:, -1], made.whole(IMAGES), **TIGHT)


@pytest.mark.parametrize("name", BOTH)
def test_weights_get_the_gradients_of_every_width(name: str) -> None:
    made = unsettled(name, "wrn-10-2", widths=[0.5, 1.0]).train()
    alone = dense(made, 0, 0.5, "wrn-10-2").train()
    whole = copy.deepcopy(made.whole)
    sum(F.cross_entropy(z, LABELS) for z in made(IMAGES).unbind(1)).backward()
    F.cross_entropy(alone(IMAGES), LABELS).backward()
    F.cross_entropy(whole(IMAGES), LABELS).backward()
    own = dict(alone.named_parameters())
    for key, parameter in whole.named_parameters():
        expected = parameter.grad.clone()
        if parameter.dim() > 1 or name == "mutualnet" or key == "head.4.bias":
            slices = tuple(slice(size) for size in own[key].shape)
            expected[slices] += own[key].grad
        found = made.whole.get_parameter(key).grad
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4, msg=key)


@pytest.mark.parametrize("name", BOTH)
def test_weights_are_there_once(name: str) -> None:
    made = network(name)
    names = [key for key, p in made.named_parameters(remove_duplicate=False) if p.dim() > 1]
    assert all(key.startswith("whole.") for key in names)
    plain = sum(p.numel() for p in context("wrn-10-2").backbone().parameters())
    found = sum(p.numel() for p in made.parameters())
    assert found == plain if name == "mutualnet" else plain < found < 1.02 * plain


@torch.no_grad()
def test_a_copy_computes_with_its_own_weights() -> None:
    made = network("slimmable").eval()
    before = made(IMAGES)
    copied = copy.deepcopy(made)
    for parameter in made.whole.parameters():
        parameter.zero_()
    torch.testing.assert_close(copied(IMAGES), before, rtol=0, atol=0)
    assert (made(IMAGES) != before).any()


def test_widths_are_rounded_down() -> None:
    # As the code's int(C · w); 0.29 × 100 is 28.999… in floating point.
    assert [SlimStructure(w).width(1, 16) for w in (0.25, 0.3, 0.9, 1.0)] == [4, 4, 14, 16]
    assert SlimStructure(0.29).width(1, 100) == 29
    assert SlimStructure(0.4).width(1, 128, groups=32) == 32


def test_slimmable_loss_by_hand() -> None:
    for inplace in (False, True):
        chosen = method("slimmable", inplace=inplace)
        made = network("slimmable").eval()
        loss, logits = chosen.loss(InPrecision(made, "float32"), IMAGES, LABELS)
        expected = F.cross_entropy(logits[:, 3], LABELS)
        p = logits[:, 3].softmax(-1)
        for z in logits[:, :3].unbind(1):
            soft = (p * (p.log() - z.log_softmax(-1))).sum(-1).mean()
            expected = expected + (soft if inplace else F.cross_entropy(z, LABELS))
        torch.testing.assert_close(loss, expected)


def test_the_widest_learns_from_the_labels_alone() -> None:
    """Its own head's bias is the narrow widths', too: their part of the gradient is added."""
    for name, settings in (("slimmable", {"inplace": True}), ("mutualnet", {})):
        chosen = method(name, widths=[0.5, 1.0], **settings)
        made = network(name, widths=[0.5, 1.0]).eval()
        loss, _ = chosen.loss(made, IMAGES, LABELS)
        loss.backward()
        whole = copy.deepcopy(made.whole)
        whole.zero_grad()
        F.cross_entropy(whole(IMAGES), LABELS).backward()
        # Columns of the classifier that no narrower width has.
        found, expected = (m.head[-1].weight.grad[:, 64:] for m in (made.whole, whole))
        torch.testing.assert_close(found, expected, **TIGHT)


def test_mutualnet_loss_by_hand() -> None:
    """Two images to each part, each width's parts at scales of their own."""
    chosen = method("mutualnet", distillation=0.5)
    made = unsettled("mutualnet", "wrn-10-2").eval()
    loss, logits = chosen.loss(InPrecision(made, "float32"), IMAGES, LABELS)
    whole = made(IMAGES)[:, 2]
    expected = F.cross_entropy(whole, LABELS)
    sides = [[16, 14, 12, 10], [14, 12, 10, 16]]
    for width in range(2):
        for part in range(4):
            images = IMAGES[2 * part : 2 * part + 2]
            side = sides[width][part]
            smaller = F.interpolate(images, (side, side), mode="bilinear", align_corners=True)
            z = made.narrow[width](smaller)
            p = whole[2 * part : 2 * part + 2].softmax(-1).detach()
            expected = expected + 0.5 * (p * (p.log() - z.log_softmax(-1))).sum() / 8
            torch.testing.assert_close(logits[2 * part : 2 * part + 2, width], z, **TIGHT)
    torch.testing.assert_close(loss, expected)


def test_images_are_resized_between_their_corners() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert resized(ramp, 1.0) is ramp
    # 5 places from 0 to 7.
    torch.testing.assert_close(resized(ramp, 0.625)[0, 0, 0], torch.linspace(0, 7, 5))


def statistics(layer: nn.BatchNorm2d, inputs: Tensor) -> Tensor:
    return 0.9 * layer.running_mean + 0.1 * inputs.mean(dim=(0, 2, 3))


def test_statistics_are_those_of_full_size_images() -> None:
    """The first norm behind the stem, of each width: one update, by the part at scale 1."""
    chosen, made = method("mutualnet"), unsettled("mutualnet", "wrn-10-2").train()
    expected = []
    for width, part in ((0, IMAGES[:2]), (1, IMAGES[6:])):
        norm = made.narrow[width].stages[0][0].bn1
        expected.append(statistics(norm.own, made.narrow[width].stem(part)))
    whole = statistics(made.whole.stages[0][0].bn1, made.whole.stem(IMAGES))
    chosen.loss(made, IMAGES, LABELS)
    for width in range(2):
        found = made.narrow[width].stages[0][0].bn1.own.running_mean
        torch.testing.assert_close(found, expected[width], **TIGHT)
    torch.testing.assert_close(made.whole.stages[0][0].bn1.running_mean, whole, **TIGHT)


@pytest.mark.parametrize(("rows", "sides"), [(1, [16]), (5, [16, 14]), (12, [16, 14, 12, 10])])
def test_small_batches_have_fewer_parts(rows: int, sides: list[int]) -> None:
    seen = []

    class Spy(nn.Module):
        def forward(self, x: Tensor, width: int, tracking: bool = True) -> Tensor:
            seen.append((len(x), x.shape[-1], tracking))
            return x.mean(dim=(1, 2, 3))[:, None]

    method("mutualnet").narrow(Spy(), torch.randn(rows, 3, 16, 16), 0)
    assert [side for _, side, _ in seen] == sides
    assert [tracking for *_, tracking in seen] == [side == 16 for side in sides]
    assert sum(count for count, *_ in seen) == rows


def test_too_narrow_and_too_small_are_refused() -> None:
    with pytest.raises(InputError, match=r"widths: 0\.05 of 16 channels in stage 0 leaves none"):
        network("slimmable", widths=[0.05, 1.0])
    with pytest.raises(InputError, match=r"scales: 0\.625 makes images of 20 pixels, too small"):
        chosen = method("mutualnet", "vgg16")
        chosen.network(context("vgg16", resolution=32))
