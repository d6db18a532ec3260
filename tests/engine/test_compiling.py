"""Compiled networks answer as they do uncompiled; members that are built alike share a graph."""

import functools

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from nfe.engine.compiling import compiled
from nfe.method import SequentialMembers


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def member(width: int, parametrized: bool) -> nn.Module:
    first = nn.Linear(4, width)
    if parametrized:
        parametrize.register_parametrization(first, "weight", Doubled())
    return nn.Sequential(first, nn.BatchNorm1d(width), nn.Linear(width, 2))


@pytest.fixture
def graphs(monkeypatch):
    """Compile without code generation; return how many graphs there were."""
    from torch._dynamo.utils import counters  # Imports the compiler.

    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    return lambda: counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("parametrized", [False, True])
@pytest.mark.parametrize(("widths", "expected"), [((3, 3, 3), 1), ((3, 5, 3), 2)])
def test_members_answer_by_as_few_graphs_as_there_are_kinds(graphs, widths, expected, parametrized):
    network = SequentialMembers([member(width, parametrized) for width in widths])
    fast, x = compiled(network), torch.randn(6, 4)
    for number in range(len(widths)):
        network.active = number
        answers = [call(x) for call in (network, fast)]
        torch.testing.assert_close(*answers, rtol=0, atol=0)
        assert fast.active == network.active
        trained = list(network.members[network.active].parameters())
        wanted, found = (torch.autograd.grad(a.square().sum(), trained) for a in answers)
        torch.testing.assert_close(wanted, found, rtol=0, atol=0)
    assert graphs() == expected


def test_a_network_that_overrides_forward_is_compiled_as_it_is(graphs):
    class Last(SequentialMembers):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 3 * super().forward(x)

    network, x = Last([member(3, False), member(3, False)]), torch.randn(6, 4)
    torch.testing.assert_close(network(x), compiled(network)(x), rtol=0, atol=0)
    assert graphs() == 1
