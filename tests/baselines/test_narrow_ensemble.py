"""Narrow ensembles: one network's cost, and members that know nothing of one another."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from cards import costs, unit
from rivals import context, method, network, unsettle_norms
from torch import Tensor, nn

from baselines.narrow_ensemble import NarrowStructure
from nfe.backbones import architecture
from nfe.method import SGD, Context

IMAGES = torch.randn(3, 8, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()
LABELS = torch.arange(8) % 5


@pytest.mark.parametrize("members", [2, 3])
@pytest.mark.parametrize("backbone", ["wrn-10-1", "wrn-10-2", "wrn-10-4", "wrn-28-10", "resnet50"])
def test_the_members_together_cost_one_network(backbone: str, members: int) -> None:
    measured = costs(method("narrow_ensemble", backbone, members=members), backbone)
    for column, value in measured.items():
        assert value / unit(backbone)[column] == pytest.approx(1, abs=0.02), column


def test_one_member_is_the_single_network() -> None:
    alone = network("narrow_ensemble", members=1).networks[0]
    plain = context("wrn-10-2").backbone()
    assert [p.shape for p in alone.parameters()] == [p.shape for p in plain.parameters()]


def test_widths_are_the_nearest_multiples() -> None:
    # 16, 160, 320, 640 over √3: 9.24, 92.4, 184.8, 369.5.
    for unit_, widths in ((1, [9, 92, 185, 370]), (8, [8, 96, 184, 368])):
        structure = NarrowStructure(3, unit_)
        assert [structure.width(s, c) for s, c in enumerate([16, 160, 320, 640])] == widths
    assert NarrowStructure(3).width(1, 128, groups=32) == 64
    assert NarrowStructure(9).width(0, 1) == 1


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def test_each_member_has_a_stream_of_its_own() -> None:
    chosen = method("narrow_ensemble", members=3)
    torch.manual_seed(5)
    made = chosen.network(context("wrn-10-2"))
    drawn = [weights(member) for member in made.networks]
    assert not any(torch.equal(a[0], b[0]) for a, b in pairwise(drawn))
    torch.manual_seed(6)
    alone = weights(chosen.member(context("wrn-10-2"), 2))
    assert all(torch.equal(a, b) for a, b in zip(alone, drawn[2], strict=True))
    other = Context(architecture("wrn-10-2"), 3, 5, 16, 1, context("wrn-10-2").example)
    assert not torch.equal(weights(chosen.member(other, 2))[0], drawn[2][0])


def test_members_train_as_if_alone() -> None:
    """Some steps with momentum and decay, side by side and each by itself."""
    chosen = method("narrow_ensemble", members=3)
    made = chosen.network(context("wrn-10-2")).double()
    alone = [chosen.member(context("wrn-10-2"), index).double() for index in range(3)]
    rates = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    together = SGD([{"params": list(made.parameters())}], **rates)
    for images in IMAGES:
        together.zero_grad()
        loss, _ = chosen.loss(made, images, LABELS)
        loss.backward()
        together.step()
    for index, member in enumerate(alone):
        optimizer = SGD([{"params": list(member.parameters())}], **rates)
        for images in IMAGES:
            optimizer.zero_grad()
            F.cross_entropy(member(images), LABELS).backward()
            optimizer.step()
        trained = made.networks[index].state_dict()
        for name, value in member.state_dict().items():
            torch.testing.assert_close(trained[name], value, rtol=1e-9, atol=1e-9, msg=name)


def gradients(made: nn.Module) -> list[Tensor]:
    made.zero_grad()
    method("narrow_ensemble").loss(made, IMAGES[0], LABELS)[0].backward()
    return [p.grad.clone() for p in made.networks[0].parameters()]


def test_a_members_gradients_do_not_depend_on_the_others() -> None:
    made = network("narrow_ensemble").double().train()
    before = gradients(made)
    for other in made.networks[1:]:
        unsettle_norms(other)
        for parameter in other.parameters():
            nn.init.normal_(parameter)
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(made), strict=True))
