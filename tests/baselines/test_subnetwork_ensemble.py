"""Subnetwork Ensembles: what sets children apart, and what they are when they are tuned."""

from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from phases import specified
from rivals import method, network
from torch import Tensor, nn

from baselines.shared.children import Family, masks
from baselines.subnetwork_ensemble import AnnealedFamily, AnnealedMask, part
from nfe import data as datasets
from nfe.engine.trainer import Trainer
from nfe.evaluation import cost
from nfe.method import Step


def trained(children: str, **changes: float) -> Family:
    run = specified("subnetwork_ensemble", children=children, **changes)
    return cast(Family, Trainer(run, datasets.load(run.card)).train().network)


def test_sparse_children_are_prune_and_tunes_to_the_bit() -> None:
    run = specified("prune_and_tune")
    reference = Trainer(run, datasets.load(run.card)).train().network.state_dict()
    # A stochastic child whose weights left out never take part is a sparse one.
    for found in (trained("sparse"), trained("stochastic", chance=0.0)):
        state = found.state_dict()
        assert state.keys() == reference.keys()
        assert all(torch.equal(state[k], v) for k, v in reference.items())


# --- partitioned ------------------------------------------------------------------------


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    members=st.integers(2, 5),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=50, deadline=None)
def test_each_weight_is_in_one_child(shape: list[int], members: int, seed: int) -> None:
    parts = [part(torch.Size(shape), k, "a", seed, members) for k in range(members)]
    assert (torch.stack(parts).sum(0) == 1).all()
    sizes = [int(p.sum()) for p in parts]
    assert max(sizes) - min(sizes) <= 1


def test_partitioned_children_cost_one_network() -> None:
    made = network("subnetwork_ensemble", children="partitioned")
    nonzero, executed = cost.inference_macs(made, torch.randn(1, 3, 32, 32))
    assert nonzero / executed == pytest.approx(1 / 3, rel=0.01)


# --- noisy ------------------------------------------------------------------------------


@torch.no_grad()
def test_noise_is_in_units_of_each_layers_weights() -> None:
    made = cast(Family, network("subnetwork_ensemble", children="noisy", noise=0.25))
    parent = {k: v.clone() for k, v in made.members[0].state_dict().items()}
    made.breed()
    drawn: dict[str, list[Tensor]] = {}
    for child in made.members:
        for name, value in child.state_dict().items():
            if value.dim() > 1:
                scale = 0.25 * parent[name].std(correction=0)
                drawn.setdefault(name, []).append((value - parent[name]) / scale)
            else:
                assert torch.equal(value, parent[name])
    every = torch.cat([torch.cat([d.flatten() for d in three]) for three in drawn.values()])
    assert every.mean().item() == pytest.approx(0, abs=0.01)
    assert every.std().item() == pytest.approx(1, abs=0.01)
    for three in drawn.values():
        assert not torch.allclose(three[0], three[1], atol=0.1)
        assert not torch.allclose(three[1], three[2], atol=0.1)


def test_noisy_children_are_whole_networks_and_tuned_apart() -> None:
    found = trained("noisy")
    first, second = (child.state_dict() for child in found.members[:2])
    assert not any(torch.equal(v, second[k]) for k, v in first.items() if v.dim() > 1)
    image = torch.randn(1, 1, 8, 8)
    nonzero, executed = cost.inference_macs(found, image)
    assert nonzero == executed


# --- stochastic -------------------------------------------------------------------------


def test_the_chance_falls_to_zero_by_hand() -> None:
    chosen = method("subnetwork_ensemble", parent=0.4, chance=0.8, annealing=0.5)
    # 16 steps for the parent, 8 for each of three children, of which 4 with a chance.
    found = [chosen.taking_part(Step(t, 40, 10)) for t in range(40)]  # type: ignore[attr-defined]
    assert found == pytest.approx([0.0] * 16 + 3 * [0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0])


def test_weights_left_out_take_part_by_chance() -> None:
    torch.manual_seed(0)
    kept = torch.rand(200, 100) < 0.5
    mask, weight = AnnealedMask(kept), torch.ones(200, 100, requires_grad=True)
    mask.chance.fill_(0.3)
    one, other = (cast(Tensor, mask(weight)) for _ in range(2))
    assert (one[kept] == 1).all() and (other[kept] == 1).all()
    assert one[~kept].mean().item() == pytest.approx(0.3, abs=0.02)
    # Independent draws: both take part in 9 % of the cases.
    assert (one * other)[~kept].mean().item() == pytest.approx(0.09, abs=0.02)
    one.sum().backward()
    assert torch.equal(cast(Tensor, weight.grad), one.detach())
    assert torch.equal(mask.eval()(weight) != 0, kept)
    mask.train().chance.fill_(0)
    assert torch.equal(mask(weight) != 0, kept)


def test_stochastic_children_keep_what_they_were_to_keep() -> None:
    found = trained("stochastic")
    sparse = trained("sparse")
    moved = 0
    for child, plain in zip(found.members, sparse.members, strict=True):
        ours, theirs = child.state_dict(), plain.state_dict()
        for name, mask in masks(child).items():
            key = f"{name}.parametrizations.weight.original"
            assert torch.equal(mask.mask, masks(plain)[name].mask)
            assert (ours[key][~mask.mask] == 0).all()
            moved += int(not torch.equal(ours[key], theirs[key]))
    assert moved > 0
    nonzero, executed = cost.inference_macs(found, torch.randn(1, 1, 8, 8))
    assert nonzero / executed == pytest.approx(0.5, rel=0.02)


def test_only_the_child_in_turn_has_a_chance() -> None:
    chosen, made = (
        method("subnetwork_ensemble"),
        cast(AnnealedFamily, network("subnetwork_ensemble")),
    )
    chosen.before_step(made, Step(29, 40, 10))  # type: ignore[attr-defined]

    def chances(child: nn.Module) -> set[float]:
        return {float(cast(AnnealedMask, m).chance) for m in masks(child).values()}

    first = chosen.taking_part(Step(29, 40, 10))  # type: ignore[attr-defined]
    assert first > 0
    assert list(chances(made.members[0])) == pytest.approx([first])
    assert chances(made.members[1]) == {0.0}
