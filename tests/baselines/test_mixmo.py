"""MixMo: mixing, loss weights and prediction, against values computed by hand."""

import copy
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from rivals import method, network, unsettle_norms
from torch import Tensor

from baselines import mixmo
from baselines.mixmo import MixMo, Mixture, TwoInputs, draw_mixture, edges, weights
from nfe.method import Step

TIGHT = {"atol": 1e-5, "rtol": 1e-5}


def made() -> TwoInputs:
    network_ = network("mixmo", "resnet18").eval()
    unsettle_norms(network_)
    return cast(TwoInputs, network_)


def test_boxes_by_hand() -> None:
    # Sides 8 · √(1/4) = 4 and 6 · √(1/4) = 3, of which 2 and 1 lie on either side of the centre.
    shares = torch.tensor([0.25, 0.25, 0.0])
    centres = torch.tensor([[4, 3], [0, 5], [4, 3]])
    found = edges(shares, centres, (8, 6))
    assert found.tolist() == [[2, 6, 2, 4], [-2, 2, 4, 6], [4, 4, 3, 3]]
    inside_around = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.25, 0.5]])
    maps = Mixture(torch.cat([found, inside_around], dim=1)).maps((8, 6))
    expected = torch.zeros(3, 1, 8, 6)
    expected[0, 0, 2:6, 2:4] = 1
    expected[1] = 1
    expected[1, 0, 0:2, 4:6] = 0
    expected[2] = 0.5
    assert torch.equal(maps, expected)


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_ratios_are_boxes_with_the_same_inside_and_around(seed: int) -> None:
    """As a GPU makes them, which cannot choose once a step is recorded."""
    torch.manual_seed(seed)
    drawn = draw_mixture(5, (8, 6), 0.0, 2.0)
    assert drawn.linear
    assert torch.equal(Mixture(drawn.rows).maps((8, 6)), drawn.maps((8, 6)))


def draw_maps(rows: int, size: tuple[int, int], patch: float, alpha: float) -> Tensor:
    return draw_mixture(rows, size, patch, alpha).maps(size)


def test_weights_by_hand() -> None:
    # λ = 8/9: cube roots as 2 to 1. λ = 1/2: even. λ = 1: the other member counts nothing.
    maps = torch.ones(3, 1, 3, 6)
    maps[0, 0, 0, :2] = 0
    maps[1, 0, :, :3] = 0
    expected = torch.tensor([[4 / 3, 2 / 3], [1, 1], [2, 0]])
    torch.testing.assert_close(weights(maps, 3.0), expected)
    torch.testing.assert_close(weights(maps, 1.0)[0], torch.tensor([16 / 9, 2 / 9]))


@given(st.integers(0, 2**31), st.sampled_from([0.0, 1.0]))
@settings(max_examples=20, deadline=None)
def test_maps_are_ratios_or_boxes(seed: int, patch: float) -> None:
    torch.manual_seed(seed)
    maps = draw_maps(5, (8, 8), patch, 2.0)
    assert maps.shape == (5, 1, 8, 8)
    flat = maps.flatten(1)
    if patch:
        assert set(flat.unique().tolist()) <= {0.0, 1.0}
    else:
        assert (flat == flat[:, :1]).all()
        assert len(flat[:, 0].unique()) == 5
    assert ((weights(maps, 3.0).sum(1) - 2).abs() < 1e-5).all()


def test_ratios_follow_beta_and_patches_their_probability() -> None:
    torch.manual_seed(0)
    ratios = draw_maps(20000, (1, 1), 0.0, 2.0).flatten()
    # Beta(2, 2): mean 1/2, variance 1/20.
    assert ratios.mean().item() == pytest.approx(0.5, abs=0.01)
    assert ratios.var().item() == pytest.approx(0.05, abs=0.002)
    kinds = [draw_maps(1, (16, 16), 0.25, 2.0).unique() for _ in range(1000)]
    by_patch = sum(set(kind.tolist()) <= {0.0, 1.0} for kind in kinds) / len(kinds)
    assert by_patch == pytest.approx(0.25, abs=0.04)
    # The box is the first input's as often as the second's, so on average both have half.
    means = [draw_maps(1, (16, 16), 1.0, 2.0).mean().item() for _ in range(1500)]
    assert sum(means) / len(means) == pytest.approx(0.5, abs=0.02)


@torch.no_grad()
def test_features_are_mixed_by_hand() -> None:
    net = made()
    first, second = torch.randn(2, 2, 3, 16, 16)
    maps = torch.rand(2, 1, 16, 16)
    features = 2 * (maps * net.stems[0](first) + (1 - maps) * net.stems[1](second))
    for stage in net.stages:
        features = stage(features)
    expected = net.head(features)
    logits = net(torch.cat([first, second], dim=1), maps)
    torch.testing.assert_close(logits[:, 0], expected[:, :5], **TIGHT)
    torch.testing.assert_close(logits[:, 1], expected[:, 5:], **TIGHT)


@torch.no_grad()
def test_prediction_shows_both_inputs_the_same_image() -> None:
    net = made()
    images = torch.randn(3, 3, 16, 16)
    both = net(images.repeat(1, 2, 1, 1), torch.full((3, 1, 16, 16), 0.5))
    torch.testing.assert_close(net(images), both, **TIGHT)
    other = net(torch.cat([images, images.flip(0)], 1), torch.full((3, 1, 16, 16), 0.5))
    assert (other - both).abs().max() > 1e-3


def test_exchanged_stems_and_heads_are_exchanged_members() -> None:
    net = made()
    swapped = copy.deepcopy(net)
    swapped.stems = torch.nn.ModuleList([swapped.stems[1], swapped.stems[0]])
    linear = swapped.head[-1]
    with torch.no_grad():
        for value in (linear.weight, linear.bias):
            value.copy_(torch.cat([value[5:], value[:5]]))
    first, second = torch.randn(2, 2, 3, 16, 16)
    maps = torch.rand(2, 1, 16, 16)
    one = net(torch.cat([first, second], 1), maps)
    other = swapped(torch.cat([second, first], 1), 1 - maps)
    torch.testing.assert_close(other, one.flip(1), **TIGHT)


def test_the_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # λ = 1/8: cube roots as 1/2 to 0.9565.
    rows = torch.tensor([[0, 2, 0, 16, 1, 0], [0, 0, 0, 0, 0.5, 0.5]])
    monkeypatch.setattr(mixmo, "draw_mixture", lambda *_: Mixture(rows))
    net, chosen = made(), method("mixmo")
    inputs, targets = torch.randn(2, 6, 16, 16), torch.tensor([[1, 4], [0, 0]])
    chosen.draw(net, inputs)
    loss, logits = chosen.loss(net, inputs, targets)
    low, high = 0.5, (7 / 8) ** (1 / 3)
    by_row = [2 * low / (low + high), 2 * high / (low + high)], [1.0, 1.0]
    expected = sum(
        by_row[row][i] * F.cross_entropy(logits[row, i], targets[row, i]) / 2
        for row in range(2)
        for i in range(2)
    )
    torch.testing.assert_close(loss, torch.as_tensor(expected))


def test_patches_fade_over_the_last_twelfth() -> None:
    net, chosen = made(), method("mixmo")
    found = []
    for step in range(240):
        chosen.before_step(net, Step(step, 240, 10))
        found.append(net.patch)
    assert found[:221] == [0.5] * 221
    expected: list[float] = [0.5 * (240 - step) / 20 for step in range(220, 240)]
    assert found[220:] == pytest.approx(expected)


def test_rows_are_two_independent_shuffles() -> None:
    images = torch.arange(8).float().view(8, 1, 1, 1)
    draws = torch.Generator().manual_seed(0)
    inputs, targets = MixMo(repetition=3).training_batch(images, torch.arange(8), draws)
    assert inputs.shape == (24, 2, 1, 1)
    assert torch.equal(inputs[:, :, 0, 0], targets.float())
    each: Tensor = targets.sort(0).values
    assert (each == torch.arange(8).repeat_interleave(3)[:, None]).all()
    assert (targets[:, 0] == targets[:, 1]).float().mean() < 0.5


@torch.no_grad()
def test_maps_have_the_size_of_the_stems_features() -> None:
    net = cast(TwoInputs, network("mixmo", "resnet18-imagenet"))
    assert net.training
    assert net.size == (4, 4)
    chosen, inputs = method("mixmo"), torch.randn(2, 6, 16, 16)
    chosen.draw(net, inputs)
    loss, _ = chosen.loss(net, inputs, torch.tensor([[1, 4], [0, 0]]))
    assert loss.isfinite()
