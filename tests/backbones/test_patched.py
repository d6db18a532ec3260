"""Networks of patches: ConvNeXt and the vision transformer, against torchvision's and timm's."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.convnext import CNBlockConfig

from nfe.backbones import Backbone, architecture
from nfe.backbones.vit import positions
from nfe.common.errors import InputError
from nfe.evaluation import cost
from nfe.method import method_class
from nfe.splitting.layers import pruned_layers
from nfe.splitting.network import fission

NAMES = ("vit-tiny-4", "convnext-atto-2")


def build(name: str, resolution: int = 32, classes: int = 10) -> Backbone:
    torch.manual_seed(0)
    return architecture(name).build(channels=3, classes=classes, resolution=resolution)


@torch.no_grad()
def test_convnext_is_torchvisions_with_the_same_weights() -> None:
    widths = [(40, 80), (80, 160), (160, 320), (320, None)]
    blocks = [
        CNBlockConfig(w, after, n) for (w, after), n in zip(widths, (2, 2, 6, 2), strict=True)
    ]
    theirs = torchvision.models.ConvNeXt(blocks, num_classes=10).eval()
    for module in theirs.modules():
        if hasattr(module, "layer_scale"):
            nn.init.normal_(module.layer_scale)
    ours = build("convnext-atto-4", 64).eval()
    assert cost.parameters(ours) == sum(p.numel() for p in theirs.parameters())
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-4)


def test_atto_is_as_large_as_timms() -> None:
    theirs = timm.create_model("convnext_atto", num_classes=10)
    assert cost.parameters(build("convnext-atto-4", 64)) == cost.parameters(theirs)


@torch.no_grad()
def test_the_transformer_is_timms_with_the_same_weights() -> None:
    theirs = timm.models.VisionTransformer(
        img_size=32,
        patch_size=4,
        embed_dim=192,
        depth=12,
        num_heads=3,
        num_classes=10,
        class_token=False,
        global_pool="avg",
        fc_norm=False,
    ).eval()
    ours = build("vit-tiny-4").eval()
    # Theirs has positions to be trained; ours are not.
    weights = {k: v for k, v in theirs.state_dict().items() if k != "pos_embed"}
    assert cost.parameters(ours) == sum(v.numel() for v in weights.values())
    ours.load_state_dict(dict(zip(ours.state_dict(), weights.values(), strict=True)))
    theirs.pos_embed.copy_(positions(8, 192).flatten(2).transpose(1, 2))
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-4)


def test_positions_are_sines_and_cosines_of_column_and_row() -> None:
    found = positions(5, 16)[0]
    assert found.shape == (16, 5, 5)
    row, column, frequency = 3, 2, 10_000 ** (-1 / 3)
    angles = torch.tensor([column * frequency, row * frequency])
    expected = torch.stack([angles.sin(), angles.cos()], dim=1).flatten()
    torch.testing.assert_close(found[[1, 5, 9, 13], row, column], expected)
    assert len({tuple(place) for place in found.flatten(1).T.tolist()}) == 25


def test_multiply_adds_of_the_transformer_in_closed_form() -> None:
    places, width = 64, 192
    block = places * 12 * width**2 + 2 * places**2 * width
    expected = places * 48 * width + 12 * block + 10 * width
    network = build("vit-tiny-4")
    nonzero, executed = cost.inference_macs(network, torch.zeros(1, 3, 32, 32))
    assert executed == expected
    assert nonzero == expected


def test_multiply_adds_of_convnext_in_closed_form() -> None:
    widths, sides, blocks = (40, 80, 160, 320), (16, 8, 4, 2), (2, 2, 6, 2)
    inner = sum(
        n * s**2 * (49 * w + 8 * w**2) for w, s, n in zip(widths, sides, blocks, strict=True)
    )
    between = sum(s**2 * 4 * a * 2 * a for a, s in zip(widths, sides[1:], strict=False))
    _, executed = cost.inference_macs(build("convnext-atto-2"), torch.zeros(1, 3, 32, 32))
    assert executed == 16**2 * 12 * 40 + inner + between + 10 * 320


def test_attentions_gradient_is_counted() -> None:
    from nfe.common.macs import MacCounter

    q, k, v = (torch.randn(2, 3, 16, 8, requires_grad=True) for _ in range(3))
    once = 2 * 3 * 16 * 16 * 8
    with MacCounter() as counter:
        out = nn.functional.scaled_dot_product_attention(q, k, v)
    assert counter.executed == 2 * once
    with MacCounter() as counter:
        out.sum().backward()
    # The scores again, and the gradients of values, scores, queries and keys.
    assert counter.executed == 5 * once


@pytest.mark.parametrize("name", NAMES)
def test_linear_layers_of_the_stages_are_divided_and_nothing_is_left_whole(name: str) -> None:
    network = build(name)
    divided = pruned_layers(network)
    wanted = {n for n, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    assert set(divided) == {n for n in wanted if not n.startswith("head")}
    fissioned = fission(network, 3, sparsity=0.5, pruning="magnitude")
    images = torch.randn(2, 3, 32, 32)
    assert fissioned(images).shape == (2, 3, 10)
    total = sum(layer.weight.numel() for layer in divided.values())
    kept = sum(int((split.group > 0).sum()) for split in fissioned.weights.values())
    assert kept == round(total / 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_family_is_trained_by_adamw(name: str) -> None:
    assert architecture(name).optimizer == "adamw"
    assert architecture("resnet18").optimizer == "sgd"


@pytest.mark.parametrize(
    ("name", "resolution", "message"),
    [
        ("vit-tiny-5", 32, "architecture 'vit-tiny-5': resolution is 32: allowed: multiples of 5"),
        ("convnext-atto-2", 8, "resolution is 8: allowed: from 16 pixels"),
        ("vit-tiny-0", 32, "the patch must be at least 1 pixel"),
    ],
)
def test_images_that_do_not_fit_are_refused(name: str, resolution: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(name, resolution)


def test_every_method_has_its_settings_for_four_stages() -> None:
    found = architecture("vit-tiny-4")
    assert found.stages == len(build("vit-tiny-4").stages) == 4
    assert method_class("nfe")().resolved(found).exit_stages == (1, 2)
