"""Parity with torch-uncertainty: single layers, and whole ResNets where the blocks agree."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from rivals import context, method, unsettle_norms
from torch import Tensor, nn

from baselines.batch_ensemble import RankOne
from baselines.packed_ensemble import Packed, PackedLinear
from nfe.evaluation.cost import parameters

TIGHT = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def theirs() -> Iterator[ModuleType]:
    """torch-uncertainty's layers and networks without its trainers, which need Lightning."""
    found = importlib.util.find_spec("torch_uncertainty")
    assert found is not None and found.submodule_search_locations is not None
    package, utils = ModuleType(found.name), ModuleType(f"{found.name}.utils")
    package.__path__ = list(found.submodule_search_locations)
    utils.load_hf = None  # type: ignore[attr-defined]
    before = set(sys.modules)
    sys.modules |= {found.name: package, utils.__name__: utils}
    package.layers = importlib.import_module(f"{found.name}.layers")  # type: ignore[attr-defined]
    package.resnet = importlib.import_module(  # type: ignore[attr-defined]
        f"{found.name}.models.classification.resnet"
    )
    yield package
    for name in set(sys.modules) - before:
        del sys.modules[name]


def give(source: nn.Module, target: nn.Module) -> None:
    """Copy the source's tensors in order of definition; shapes may differ by a leading axis."""
    ours, given = target.state_dict(), list(source.state_dict().values())
    assert len(ours) == len(given)
    pairs = zip(ours.items(), given, strict=True)
    target.load_state_dict({name: t.reshape(own.shape) for (name, own), t in pairs})


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"groups": 2}])
def test_batch_ensemble_convolution(theirs: Any, options: dict[str, int]) -> None:
    torch.manual_seed(0)
    reference = theirs.layers.BatchConv2d(4, 6, 3, 3, bias=False, **options)
    ours = RankOne(nn.Conv2d(4, 6, 3, bias=False, **options), members=3, init=-0.5)
    ours.load_state_dict(
        {
            "r": reference.r_group,
            "s": reference.s_group,
            "layer.weight": reference.conv.weight,
        }
    )
    rows = torch.randn(3 * 2, 4, 8, 8)
    torch.testing.assert_close(ours(rows), reference(rows), **TIGHT)


def test_batch_ensemble_linear(theirs: Any) -> None:
    torch.manual_seed(0)
    reference = theirs.layers.BatchLinear(7, 5, 4)
    ours = RankOne(nn.Linear(7, 5), members=4, init=-0.5)
    ours.load_state_dict(
        {
            "r": reference.r_group,
            "s": reference.s_group,
            "bias": reference.bias,
            "layer.weight": reference.linear.weight,
        }
    )
    rows = torch.randn(4 * 3, 7)
    torch.testing.assert_close(ours(rows), reference(rows), **TIGHT)


@pytest.mark.parametrize("gamma", [1, 2, 4])
@pytest.mark.parametrize("inputs", [64, 128, 256, 512])
def test_packed_convolution(theirs: Any, inputs: int, gamma: int) -> None:
    torch.manual_seed(0)
    structure = Packed(members=4, alpha=2, gamma=gamma)
    widths = structure.width(1, inputs), structure.width(1, 32)
    ours = structure.conv(1, *widths, 3)
    reference = theirs.layers.PackedConv2d(inputs, 32, 3, 2, 4, gamma, padding=1, bias=False)
    assert ours.groups == reference.conv.groups
    ours.load_state_dict({"weight": reference.weight})
    images = torch.randn(2, 2 * inputs, 5, 5)
    torch.testing.assert_close(ours(images), reference(images), **TIGHT)


def test_packed_linear(theirs: Any) -> None:
    torch.manual_seed(0)
    reference = theirs.layers.PackedLinear(16, 5, alpha=2, num_estimators=4, last=True)
    ours = PackedLinear(32, 20, members=4)
    give(reference, ours)
    features = torch.randn(3, 32)
    expected = reference(features).unflatten(0, (4, 3)).transpose(0, 1).flatten(1)
    torch.testing.assert_close(ours(features), expected, **TIGHT)


def members_first(rows: Tensor, members: int) -> Tensor:
    """Their (members × batch, classes) as our (batch, members, classes)."""
    return rows.unflatten(0, (members, -1)).transpose(0, 1)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "theirs_name", "depth", "settings", "arguments"),
    [
        ("mimo", "mimo_resnet", 18, {}, {}),
        ("mimo", "mimo_resnet", 50, {}, {}),
        # Their basic blocks leave the shortcut out of BatchEnsemble; bottlenecks have it.
        ("batch_ensemble", "batched_resnet", 50, {}, {}),
        ("packed_ensemble", "packed_resnet", 18, {"gamma": 1}, {"alpha": 2, "gamma": 1}),
        ("packed_ensemble", "packed_resnet", 18, {"gamma": 2}, {"alpha": 2, "gamma": 2}),
        ("packed_ensemble", "packed_resnet", 50, {"gamma": 2}, {"alpha": 2, "gamma": 2}),
    ],
)
@pytest.mark.parametrize("style", ["cifar", "imagenet"])
def test_whole_resnet(
    theirs: Any,
    name: str,
    theirs_name: str,
    depth: int,
    settings: dict[str, int],
    arguments: dict[str, int],
    style: str,
) -> None:
    torch.manual_seed(0)
    members = 4
    make: Callable[..., nn.Module] = getattr(theirs.resnet, theirs_name)
    styles = sys.modules["torch_uncertainty.models.classification.resnet.utils"].ResNetStyle
    reference = make(
        in_channels=3,
        num_classes=5,
        arch=depth,
        num_estimators=members,
        conv_bias=False,
        style=styles(style),
        **arguments,
    )
    unsettle_norms(reference)
    backbone = f"resnet{depth}{'-imagenet' if style == 'imagenet' else ''}"
    chosen = method(name, backbone, members=members, **settings)
    ours = chosen.network(context(backbone))
    ours.load_state_dict(mapped(name, reference, ours))
    images = torch.randn(2, 3, 32, 32)
    expected = members_first(reference.eval()(images), members)
    scale = expected.abs().max()
    torch.testing.assert_close(ours.eval()(images) / scale, expected / scale, **TIGHT)


@pytest.mark.parametrize("gamma", [1, 2, 4])
@pytest.mark.parametrize(
    ("backbone", "theirs_name", "depth"),
    [("resnet18", "packed_resnet", 18), ("resnet34", "packed_resnet", 34)],
)
def test_packed_resnets_have_the_authors_parameters(
    theirs: Any, backbone: str, theirs_name: str, depth: int, gamma: int
) -> None:
    styles = sys.modules["torch_uncertainty.models.classification.resnet.utils"].ResNetStyle
    common = {"in_channels": 3, "num_classes": 10, "num_estimators": 4, "alpha": 2}
    reference = getattr(theirs.resnet, theirs_name)(
        arch=depth, gamma=gamma, conv_bias=False, style=styles("cifar"), **common
    )
    ours = method("packed_ensemble", backbone, members=4, gamma=gamma).network(
        context(backbone, classes=10)
    )
    assert parameters(ours) == sum(p.numel() for p in reference.parameters())
    if (backbone, gamma) == ("resnet18", 2):
        assert parameters(ours) == 8_175_784


@pytest.mark.parametrize("gamma", [1, 2])
def test_packed_wide_resnets_have_the_authors_groups_and_parameters(
    theirs: Any, gamma: int
) -> None:
    """γ in both convolutions of a block; their last norm stands in the blocks, as their others."""
    module = importlib.import_module("torch_uncertainty.models.classification.wideresnet.packed")
    styles = sys.modules["torch_uncertainty.models.classification.resnet.utils"].ResNetStyle
    reference = module._PackedWideResNet(
        depth=10, widen_factor=8, in_channels=3, num_classes=10, conv_bias=False,
        dropout_rate=0.0, num_estimators=4, alpha=2, gamma=gamma, style=styles("cifar"),
    )  # fmt: skip
    ours = method("packed_ensemble", "wrn-10-8", members=4, gamma=gamma).network(
        context("wrn-10-8", classes=10)
    )

    def shapes(network: nn.Module) -> list[tuple[tuple[int, ...], int]]:
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        return sorted((tuple(c.weight.shape), c.groups) for c in convolutions)

    assert shapes(ours) == shapes(reference)


def mapped(name: str, reference: nn.Module, ours: nn.Module) -> dict[str, Tensor]:
    """Their tensors under our names: layers in order, our factors r, s and bias first."""
    given = reference.state_dict()
    keys = list(given)
    if name == "batch_ensemble":
        keys = [key for layer in factor_layers(keys) for key in layer]
    own = ours.state_dict()
    assert len(own) == len(keys)
    return {mine: given[key].reshape(own[mine].shape) for mine, key in zip(own, keys, strict=True)}


def factor_layers(keys: list[str]) -> Iterator[list[str]]:
    """Group their keys by layer, each with r_group, s_group, bias, weight in that order."""
    order = ["r_group", "s_group", "bias", "conv.weight", "linear.weight"]
    layers: dict[str, list[str]] = {}
    for key in keys:
        suffix = next((s for s in order if key.endswith(f".{s}")), None)
        owner = key.removesuffix(f".{suffix}") if suffix else key.rpartition(".")[0]
        layers.setdefault(owner, []).append(key)
    for owner, members in layers.items():
        if f"{owner}.r_group" in members:
            members.sort(key=lambda k: next(i for i, s in enumerate(order) if k.endswith(s)))
        yield members
