"""Shares that are selected at once are those that each layer computes for itself."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from networks import PLAIN_STAGES, Plain, convnext, wide_resnet
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nfe import fission
from nfe.splitting import selection
from nfe.splitting.network import FissionNetwork
from nfe.splitting.path_layers import SplitWeight

NETWORKS: dict[str, Callable[[], FissionNetwork]] = {
    "three exits": lambda: fission(wide_resnet(), 3, sparsity=0.5, pruning="random", seed=1),
    "late exits": lambda: fission(wide_resnet(), 3, exit_stages=(2, 2)),
    "uneven by stage": lambda: fission(wide_resnet(), 2, ratio=(0.3, 0.7), grouping="stage"),
    "grouped, divided head": lambda: fission(Plain(), 3, stages=PLAIN_STAGES),
    "linear layers": lambda: fission(convnext(), 2),
}
Found = tuple[Tensor, list[Tensor | None]]


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> FissionNetwork:
    torch.manual_seed(0)
    return NETWORKS[request.param]().to(memory_format=torch.channels_last)


@pytest.fixture
def x() -> Tensor:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return images.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def selects(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that lets the shares be selected at once or layer by layer."""

    real = SplitWeight.select

    def refused(split: SplitWeight, path: int) -> Tensor:
        raise AssertionError("a layer computed its share")

    def choose(how: str) -> None:
        at_once = how == "at once"
        monkeypatch.setattr(selection, "WHERE", frozenset({"cpu"} if at_once else ()))
        monkeypatch.setattr(SplitWeight, "select", refused if at_once else real)

    return choose


def step(network: nn.Module, x: Tensor) -> Found:
    network.zero_grad()
    torch.manual_seed(1)
    logits = network(x)
    logits.float().square().sum().backward()
    return logits.detach(), [p.grad for p in network.parameters()]


def same(first: Found, second: Found) -> None:
    assert torch.equal(first[0], second[0])
    for one, other in zip(first[1], second[1], strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_and_gradients_are_the_same_numbers(network, x, dtype, selects) -> None:
    network.train()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        found = []
        for how in ("at once", "by layer"):
            selects(how)
            found.append(step(copy.deepcopy(network), x))
    same(*found)
    assert any(g is not None and g.any() for g in found[0][1])


def test_networks_in_another_type(network, x, selects) -> None:
    network.train().double()
    found = []
    for how in ("at once", "by layer"):
        selects(how)
        found.append(step(copy.deepcopy(network), x.double()))
    same(*found)


def test_nothing_is_left_behind(network, x, selects) -> None:
    selects("at once")
    step(network.train(), x)
    assert all(split.selected is None for split in network.weights.values())
    selects("by layer")
    loaded = pickle.loads(pickle.dumps(network.eval()))
    assert torch.equal(loaded(x), network(x))


def test_what_fails_leaves_nothing_behind(network, x, selects) -> None:
    selects("at once")
    with pytest.raises(RuntimeError, match=r"size|shape|channels"):
        network(x[:, :2])
    assert all(split.selected is None for split in network.weights.values())


def weights_of(network: FissionNetwork) -> list[nn.Parameter]:
    return [split.weight for split in network.weights.values()]


def test_gradients_have_gradients(x, selects) -> None:
    torch.manual_seed(0)
    network, found = NETWORKS["three exits"]().eval(), []
    for how in ("at once", "by layer"):
        selects(how)
        first = torch.autograd.grad(
            network(x).square().sum(), weights_of(network), create_graph=True
        )
        penalty = sum(g.square().sum() for g in first)
        found.append(torch.autograd.grad(penalty, weights_of(network)))
    torch.testing.assert_close(*found)


@pytest.fixture
def three_exits(monkeypatch: pytest.MonkeyPatch) -> FissionNetwork:
    monkeypatch.setattr(selection, "WHERE", frozenset({"cpu"}))
    torch.manual_seed(0)
    return NETWORKS["three exits"]().eval()


def by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "WHERE", frozenset())


def test_a_weight_that_nothing_uses_has_no_gradient(three_exits, x) -> None:
    for path in three_exits.stages[2]:
        three_exits.stages[2][path] = nn.Identity()
    three_exits.heads = nn.ModuleList(nn.Flatten() for _ in range(3))
    three_exits(x).sum().backward()
    unused = [n for n, s in three_exits.weights.items() if s.weight.grad is None]
    assert unused == [n for n in three_exits.weights if n.startswith("stages/2")] != []


def test_a_frozen_weight_is_left_alone(three_exits, x) -> None:
    frozen = weights_of(three_exits)[0].requires_grad_(False)
    three_exits(x).sum().backward()
    assert frozen.grad is None
    assert all(weight.grad is not None for weight in weights_of(three_exits)[1:])


@pytest.mark.parametrize("how", ["function", "vmap"])
def test_transformations_see_single_layers(three_exits, x, how, monkeypatch) -> None:
    parameters = dict(three_exits.named_parameters())

    def total(values: dict[str, Tensor], images: Tensor) -> Tensor:
        return torch.func.functional_call(three_exits, values, (images,)).square().sum()

    def gradients() -> dict[str, Tensor]:
        if how == "function":
            return torch.func.grad(total)(parameters, x)
        return torch.vmap(torch.func.grad(total), (None, 0))(parameters, x[:, None])

    found = gradients()
    by_layer(monkeypatch)
    torch.testing.assert_close(found, gradients(), rtol=0, atol=0)


class Lifted(nn.Module):
    """A part that computes in float32 whatever is around it."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return self.part(x.float())


class Checkpointed(nn.Module):
    """A part that is computed anew in the backward pass."""

    def __init__(self, part: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.part, self.reentrant = part, reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.part, x, use_reentrant=self.reentrant)


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "float32": Lifted,
    "checkpointed": lambda part: Checkpointed(part, False),
    "checkpointed, reentrant": lambda part: Checkpointed(part, True),
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_parts_that_compute_their_own_way(three_exits, x, wrapped, monkeypatch) -> None:
    three_exits.stages[1]["1"] = WRAPPED[wrapped](three_exits.stages[1]["1"])
    with torch.autocast("cpu", torch.bfloat16):
        found = step(three_exits, x)
        by_layer(monkeypatch)
        same(found, step(three_exits, x))


def test_a_compiled_network_has_no_break(three_exits, x) -> None:
    found = step(three_exits, x)
    torch._dynamo.reset()
    compiled = torch.compile(three_exits, backend="eager", fullgraph=True)
    same(found, step(compiled, x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_exported_network_has_ordinary_operations(three_exits, x) -> None:
    exported = torch.export.export(three_exits, (x,))
    assert torch.equal(exported.module()(x), three_exits(x))
    traced = torch.jit.trace(three_exits, x)
    assert "PythonOp" not in str(traced.inlined_graph)
