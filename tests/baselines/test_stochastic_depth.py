"""Stochastic depth: which branches there are, what is left without them, and who is drawn."""

from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from rivals import context, method, network, unsettle_norms
from torch import Tensor, nn

from baselines.shared.passes import Passes
from baselines.stochastic_depth import Gate, branches, survivals
from nfe.backbones import architecture
from nfe.common.errors import InputError
from nfe.method import method_class


def gates(made: nn.Module) -> list[Gate]:
    return [module for module in made.modules() if isinstance(module, Gate)]


def test_survival_falls_in_a_line() -> None:
    assert survivals(4, 0.5) == pytest.approx([0.875, 0.75, 0.625, 0.5])
    made = network("stochastic_depth", "resnet18", survival=0.2)
    assert [gate.survival for gate in gates(made)] == pytest.approx(
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    )


# --- branches ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("wrn-10-1", 3, "2.0.conv2"),
        ("wrn-28-10", 12, "2.3.conv2"),
        ("resnet18", 8, "3.1.bn2"),
        ("resnet50", 16, "3.2.bn3"),
        ("resnext50", 16, "3.2.bn3"),
        ("vit-tiny-4", 24, "3.3.mlp"),
        ("convnext-atto-2", 12, "3.3.stochastic_depth"),
    ],
)
def test_our_networks_branches(name: str, count: int, last: str) -> None:
    found = branches(context(name, resolution=32).backbone().stages)
    assert len(found) == len(set(found)) == count
    assert found[-1] == last


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("torchvision:resnet18", 8),
        # Those of its 17 and 11 blocks that keep the shape.
        ("torchvision:mobilenet_v2", 10),
        ("torchvision:mobilenet_v3_small", 6),
        ("torchvision:efficientnet_b0", 9),
        ("timm:resnet18", 8),
        ("timm:convnext_atto", 12),
        ("timm:vit_tiny_patch16_224", 24),
    ],
)
@torch.no_grad()
def test_without_its_branches_a_network_is_its_shortcuts(name: str, count: int) -> None:
    """Each known branch is one: with all left out no block does anything but by its shortcut."""
    made = cast(Passes, network_of(name)).eval()
    assert len(gates(made)) == count
    for gate in gates(made):
        gate.there.zero_()
    images = torch.randn(2, 3, 32, 32)
    silent = made(images)
    for gate in gates(made):
        for parameter in gate.parameters():
            parameter.normal_()
    torch.testing.assert_close(made(images), silent)


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    chosen = method_class("stochastic_depth")().resolved(architecture(name))
    return chosen.network(context(name, resolution=32))


def test_a_network_without_residual_blocks_is_refused() -> None:
    with pytest.raises(InputError, match="'vgg16': no residual block is known in it: allowed"):
        network_of("vgg16")


# --- members ----------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["wrn-16-1", "resnet18"])
def test_members_are_the_networks_of_the_blocks_that_are_there(backbone: str) -> None:
    """Against the plain network whose blocks are written out."""
    made = cast(Passes, network("stochastic_depth", backbone, members=5)).eval()
    unsettle_norms(made)
    images = torch.randn(2, 3, 16, 16)
    logits = made(images)
    assert logits.shape == (2, 5, 5)
    for member in range(5):
        x = made.backbone.stem(images)
        for block in (block for stage in made.backbone.stages for block in stage):
            x = written_out(block, x, bool(gates(block)[0].there[member]))
        torch.testing.assert_close(logits[:, member], made.backbone.head(x), atol=1e-5, rtol=1e-5)
    assert len({tuple(gate.there.tolist()) for gate in gates(made)}) > 1


def written_out(block: Any, x: Tensor, there: bool) -> Tensor:
    if hasattr(block, "conv2") and not isinstance(block.conv2, Gate):
        out = block.bn2.layer(block.conv2(F.relu(block.bn1(block.conv1(x)))))
        return F.relu(block.shortcut(x) + (out if there else 0))
    pre = F.relu(block.bn1(x))
    out = block.conv2.layer(F.relu(block.bn2(block.conv1(pre))))
    return (x if block.shortcut is None else block.shortcut(pre)) + (out if there else 0)


def test_draws_follow_the_seed_and_the_probability() -> None:
    made = network("stochastic_depth", "resnet18", members=4000)
    shares = [gate.there.float().mean().item() for gate in gates(made)]
    assert shares == pytest.approx(survivals(8, 0.5), abs=0.03)
    again = network("stochastic_depth", "resnet18", members=4000)
    for one, other in zip(gates(made), gates(again), strict=True):
        assert torch.equal(one.there, other.there)
    assert not torch.equal(gates(made)[6].there, gates(made)[7].there)


def test_a_step_leaves_branches_out_for_all_of_its_images() -> None:
    gate = Gate(nn.Identity(), 0.7, 3, torch.Generator()).train()
    torch.manual_seed(0)
    seen = [gate(torch.ones(4, 2)) for _ in range(2000)]
    assert all(x.unique().numel() == 1 for x in seen)
    assert torch.stack(seen).mean().item() == pytest.approx(0.7, abs=0.03)


def test_a_branch_that_is_left_out_learns_nothing() -> None:
    made = cast(Passes, network("stochastic_depth", "wrn-10-1")).train()
    for gate in gates(made):
        gate.survival = 0.0
    loss, _ = method("stochastic_depth").loss(made, torch.randn(4, 3, 16, 16), torch.arange(4))
    loss.backward()
    inside = [p for n, p in made.named_parameters() if ".conv2." in n or ".conv1." in n]
    assert inside
    assert all(p.grad is not None and not p.grad.any() for p in inside)
    assert any(p.grad is not None and p.grad.any() for p in made.backbone.head.parameters())
