"""Parametrized tensors become ordinary ones with the same values, in one copy alone."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nfe.common.parametrized import make_plain


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def layer() -> nn.Module:
    made = nn.Linear(3, 2)
    made.bias.requires_grad_(False)
    made.register_buffer("scale", torch.ones(2))
    for name in ("weight", "bias", "scale"):
        parametrize.register_parametrization(made, name, Doubled())
    return made


def test_tensors_are_ordinary_and_have_the_same_values() -> None:
    made = layer()
    expected = {name: getattr(made, name).clone() for name in ("weight", "bias", "scale")}
    make_plain(made)
    assert type(made) is nn.Linear
    assert all(torch.equal(getattr(made, name), value) for name, value in expected.items())
    assert {name: p.requires_grad for name, p in made.named_parameters()} == {
        "weight": True,
        "bias": False,
    }
    assert [name for name, _ in made.named_buffers()] == ["scale"]


def test_what_it_is_a_copy_of_stays_as_it_is() -> None:
    original = layer()
    make_plain(copy.deepcopy(original))
    assert parametrize.is_parametrized(original)
    assert torch.equal(original.weight, 2 * original.parametrizations.weight.original)
