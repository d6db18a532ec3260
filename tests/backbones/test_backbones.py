"""Backbones: published sizes, and torchvision's networks with the same weights."""

import re
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from nfe.backbones import Backbone, Structure, architecture, names
from nfe.common.errors import InputError
from nfe.evaluation import cost

PLAIN = ["wrn-10-2", "resnet18", "resnet34", "resnet50", "resnext50", "vgg16"]


def build(name: str, resolution: int = 32, classes: int = 100) -> Backbone:
    return architecture(name).build(channels=3, classes=classes, resolution=resolution)


@pytest.mark.parametrize(
    ("name", "gmacs", "millions"),
    [
        ("wrn-28-10", 5.24, 36.5),
        ("wrn-16-4", 0.39, 2.77),
        ("resnet18", 0.56, 11.2),
        ("resnet34", 1.16, 21.3),
        ("resnet50", 1.30, 23.7),
        ("vgg16", 0.313, 14.8),
    ],
)
def test_cost_at_32_pixels(name: str, gmacs: float, millions: float) -> None:
    network = build(name)
    _, executed = cost.inference_macs(network, torch.zeros(1, 3, 32, 32))
    assert executed / 1e9 == pytest.approx(gmacs, rel=0.01)
    assert cost.parameters(network) / 1e6 == pytest.approx(millions, rel=0.01)


def torchvision_tensors(theirs: nn.Module) -> list[torch.Tensor]:
    """Their tensors in our order: a VGG convolution's bias goes into the running mean."""
    tensors: list[torch.Tensor] = []
    bias = None
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            mean = module.running_mean if bias is None else module.running_mean - bias
            tensors += [module.weight, module.bias, mean, module.running_var]
            tensors.append(module.num_batches_tracked)
        elif isinstance(module, nn.Conv2d):
            tensors.append(module.weight)
            bias = module.bias
        elif isinstance(module, nn.Linear):
            tensors += [module.weight, module.bias]
    return tensors


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("resnet18-imagenet", torchvision.models.resnet18),
        ("resnet34-imagenet", torchvision.models.resnet34),
        ("resnet50-imagenet", torchvision.models.resnet50),
        ("resnext50-imagenet", torchvision.models.resnext50_32x4d),
        ("vgg16-imagenet", torchvision.models.vgg16_bn),
    ],
)
def test_imagenet_form_is_torchvisions(name: str, theirs: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    reference = theirs(num_classes=7).eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.normal_(std=0.1)
    ours = build(name, 64, 7).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), torchvision_tensors(reference), strict=True)))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), reference(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PLAIN)
def test_parts_make_the_whole(name: str) -> None:
    network = build(name, 32, 5).eval()
    assert len(network.stages) == architecture(name).stages
    images = torch.randn(2, 3, 32, 32)
    assert network(images).shape == (2, 5)
    torch.testing.assert_close(network(images)[:1], network(images[:1]), atol=1e-5, rtol=1e-4)


def test_the_stem_follows_resolution_and_name() -> None:
    def kernel(name: str, resolution: int) -> tuple[int, ...]:
        return build(name, resolution).stem[0].kernel_size

    assert kernel("resnet18", 64) == (3, 3)
    assert kernel("resnet18", 224) == (7, 7)
    assert kernel("resnet18-imagenet", 64) == (7, 7)


class Halved(Structure):
    """Half the width, and twice the plain groups in the stages, shortcuts left out."""

    def width(self, stage: int, plain: int, groups: int = 1) -> int:
        return plain // 2

    def groups(self, stage: int, inputs: int, plain: int, shortcut: bool) -> int:
        return 2 * plain if stage and not shortcut else plain


@pytest.mark.parametrize("name", PLAIN)
def test_structure_reaches_every_convolution(name: str) -> None:
    size = {"channels": 3, "classes": 5, "resolution": 32}
    plain = architecture(name).build(**size)
    halved = architecture(name).build(**size, structure=Halved())
    for (layer, a), b in zip(plain.named_modules(), halved.modules(), strict=True):
        if isinstance(a, nn.Conv2d):
            once = layer.startswith("stem") or "shortcut" in layer
            assert b.out_channels == a.out_channels // 2
            assert b.groups == a.groups * (1 if once else 2)
    assert halved(torch.randn(2, 3, 32, 32)).shape == (2, 5)


class Thirds(Structure):
    def groups(self, stage: int, inputs: int, plain: int, shortcut: bool) -> int:
        return 3


def test_groups_that_do_not_divide_are_refused() -> None:
    message = "groups is 3 in a convolution of stage 0 with 3 input and 64 output channels"
    with pytest.raises(InputError, match=message):
        architecture("resnet18").build(channels=3, classes=5, resolution=32, structure=Thirds())


def test_names() -> None:
    for name in names():
        concrete = re.sub("D-K", "16-4", re.sub("NAME", "resnet18", name))
        concrete = re.sub("-P$", "-4", concrete)
        assert architecture(concrete).name == concrete
    with pytest.raises(InputError, match=r"unknown architecture 'resnet19'.*'resnet18'"):
        architecture("resnet19")
    with pytest.raises(InputError, match="unknown architecture 'wrn-28-10-imagenet'"):
        architecture("wrn-28-10-imagenet")


def test_images_too_small_for_vgg_are_refused() -> None:
    with pytest.raises(InputError, match="resolution is 8: allowed: from 32 pixels"):
        build("vgg16", 8)
