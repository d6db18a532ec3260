"""Widths and groups of networks that were not written for it, against those that were."""

import pytest
import torch
from torch import nn

from baselines.narrow_ensemble import NarrowStructure
from baselines.packed_ensemble import Packed
from baselines.sembg import BranchStructure
from nfe.backbones import architecture
from nfe.common.errors import InputError
from nfe.method import Context, method_class

SIZE = {"channels": 3, "classes": 6, "resolution": 32}
STRUCTURES = {
    "narrow": NarrowStructure(3),
    "packed": Packed(3, 2.0, 2),
    # Its stage 1 keeps the stem's 64 channels, so that no shortcut needs another layer.
    "branch": BranchStructure(2, (1, 2, 4)),
}


def built(name, structure):
    torch.manual_seed(0)
    return architecture(name).build(**SIZE, structure=structure).eval()


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
@pytest.mark.parametrize("theirs", ["torchvision:resnet18", "timm:resnet18"])
def test_a_library_s_resnet_becomes_what_the_suite_s_own_is(theirs, structure):
    own, other = built("resnet18-imagenet", structure), built(theirs, structure)
    # The same layers in the same order, so that one's weights make the other compute the same.
    mine, its = list(own.parameters()), list(other.parameters())
    assert [p.shape for p in mine] == [p.shape for p in its]
    groups = [[m.groups for m in n.modules() if isinstance(m, nn.Conv2d)] for n in (own, other)]
    assert groups[0] == groups[1]
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        for ours, given in zip(its, mine, strict=True):
            ours.copy_(given)
        torch.testing.assert_close(own(image), other(image))


def test_the_weights_are_drawn_as_the_suite_s_own_are():
    for layer in built("torchvision:resnet18", Packed(3, 2.0, 2)).modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 10_000:
            fan_out = layer.weight[:, 0].numel()
            assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


def test_depthwise_convolutions_stay_depthwise_and_gates_fit():
    network = built("torchvision:mobilenet_v3_small", NarrowStructure(3))
    plain = architecture("torchvision:mobilenet_v3_small").build(**SIZE)
    pairs = zip(network.modules(), plain.modules(), strict=True)
    depthwise = [(a, b) for a, b in pairs if isinstance(b, nn.Conv2d) and b.groups > 1]
    assert len(depthwise) == 11
    assert all(a.groups == a.in_channels == a.out_channels < b.groups for a, b in depthwise)


def no_example(_):
    raise AssertionError("these methods look at no data")


def made(method, name, **settings):
    found = architecture(name)
    context = Context(found, 3, 5, 32, 0, no_example)
    torch.manual_seed(0)
    return method_class(method).from_settings(settings).resolved(found).network(context)


def test_packed_members_of_a_mobilenet_do_not_see_one_another():
    network = made("packed_ensemble", "torchvision:mobilenet_v3_small").eval()
    backbone = network.backbone
    stem = backbone.stem(torch.randn(2, 3, 32, 32)).detach().requires_grad_()
    features = stem
    for stage in backbone.stages:
        features = stage(features)
    logits = backbone.head(features).unflatten(1, (3, -1))
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), stem)
    by_member = gradient.unflatten(1, (3, -1)).abs().amax((0, 2, 3, 4))
    assert by_member[1] > 0
    assert by_member[[0, 2]].max() == 0


def test_concatenations_would_mix_packed_members_and_are_refused():
    with pytest.raises(InputError, match="mixes the packed members"):
        made("packed_ensemble", "torchvision:densenet121")


def test_sembg_works_where_no_shortcut_changes_its_width():
    logits = made("sembg", "torchvision:mobilenet_v3_small", groups="1/2/4")(
        torch.randn(2, 3, 32, 32)
    )
    assert logits.shape == (2, 3, 5)
    with pytest.raises(InputError, match="its layers do not fit one another"):
        made("sembg", "torchvision:mobilenet_v3_small")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:convnext_atto", "'stem.1' is a LayerNorm2d"),
        ("timm:vit_tiny_patch16_224", "'cls_token' is neither"),
        ("torchvision:resnext50_32x4d", "a convolution of 32 groups"),
    ],
)
def test_what_is_not_defined_is_refused(name, said):
    with pytest.raises(InputError, match=said):
        built(name, NarrowStructure(2))
