"""Groups are disjoint, cover the survivors, and meet the ratio exactly, in every unit."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nfe.common.errors import InputError
from nfe.common.ranking import counts, lowest
from nfe.splitting.choices import GRANULARITIES, check_grouping
from nfe.splitting.grouping import (
    Plan,
    alive,
    shares,
    split,
    split_together,
    split_two_of_four,
    units,
)

UNITS = [g for g in GRANULARITIES if g not in ("weight", "2:4", "alternating")]


def draws(seed):
    return torch.Generator().manual_seed(seed)


def random_mask(shape, density, seed):
    return torch.rand(shape, generator=draws(seed)) < density


shapes = st.tuples(st.integers(2, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3))
ratios = st.lists(st.floats(0.05, 1), min_size=1, max_size=5).map(
    lambda parts: [part / sum(parts) for part in parts]
)


@given(survivors=st.integers(0, 1000), share=ratios)
def test_counts_add_up_and_are_within_one_of_the_share(survivors, share):
    got = counts(survivors, share)
    assert sum(got) == survivors
    assert all(abs(n - survivors * part) < 1 + 1e-6 for n, part in zip(got, share, strict=True))


@settings(deadline=None)
@given(shape=shapes, density=st.floats(0, 1), share=ratios, seed=st.integers(0, 999))
def test_split_is_disjoint_covers_the_survivors_and_meets_the_ratio(shape, density, share, seed):
    mask = random_mask(shape, density, seed)
    paths = list(range(1, len(share) + 1))
    group = split(mask, paths, share, draws(seed))
    assert torch.equal(group > 0, mask)
    sizes = [int((group == path).sum()) for path in paths]
    assert sizes == counts(int(mask.sum()), share)


@settings(deadline=None)
@given(
    shape=shapes,
    density=st.floats(0.2, 1),
    share=ratios,
    granularity=st.sampled_from(UNITS),
    seed=st.integers(0, 999),
)
def test_units_stay_together(shape, density, share, granularity, seed):
    mask = random_mask(shape, density, seed)
    paths = list(range(1, len(share) + 1))
    unit = units(shape, granularity)
    group = split(mask, paths, share, draws(seed), unit)
    assert torch.equal(group > 0, mask)
    owners = {int(u): set(group[(unit == u) & mask].tolist()) for u in unit[mask].unique()}
    assert all(len(owner) == 1 for owner in owners.values())
    sizes = [sum(owner == {path} for owner in owners.values()) for path in paths]
    assert sizes == counts(len(owners), share)


@pytest.mark.parametrize(
    ("granularity", "conv_groups", "expected"),
    [
        ("kernel", 1, [[0, 1], [2, 3], [4, 5], [6, 7]]),
        ("input_channel", 1, [[0, 1], [0, 1], [0, 1], [0, 1]]),
        ("input_channel", 2, [[0, 1], [0, 1], [2, 3], [2, 3]]),
        ("output_filter", 1, [[0, 0], [1, 1], [2, 2], [3, 3]]),
    ],
)
def test_units_number_what_they_say(granularity, conv_groups, expected):
    unit = units((4, 2, 3, 3), granularity, conv_groups)
    assert unit.shape == (4, 2, 3, 3)
    assert torch.equal(unit, torch.tensor(expected)[:, :, None, None].expand(4, 2, 3, 3))


@pytest.mark.parametrize("granularity", UNITS)
def test_depthwise_units_are_channels(granularity):
    assert torch.equal(units((5, 1, 3, 3), granularity, 5)[:, 0, 0, 0], torch.arange(5))


@settings(deadline=None)
@given(
    outputs=st.integers(1, 6),
    blocks=st.integers(1, 4),
    kernel=st.integers(1, 3),
    density=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_two_of_four_holds_on_both_paths(outputs, blocks, kernel, density, seed):
    mask = random_mask((outputs, 4 * blocks, kernel, kernel), density, seed)
    group = split_two_of_four(mask, [1, 2], draws(seed))
    assert torch.equal(group > 0, mask)
    for path in (1, 2):
        for start in range(0, 4 * blocks, 4):
            used = (group[:, start : start + 4] == path).sum(dim=1)
            assert int(used.max()) <= 2
    assert [int((group == path).sum()) for path in (1, 2)] == counts(int(mask.sum()), [0.5, 0.5])


def test_layers_that_cannot_be_two_of_four_are_split_by_weight():
    plan = Plan((0.5, 0.5), granularity="2:4")
    masks = {"depthwise": torch.ones(8, 1, 3, 3, dtype=torch.bool)}
    group = plan.divide("stages.1", masks, [1, 2], {"depthwise": 8})["depthwise"]
    by_weight = Plan((0.5, 0.5)).divide("stages.1", masks, [1, 2], {"depthwise": 8})["depthwise"]
    assert torch.equal(group, by_weight)


def test_a_stage_is_divided_as_one():
    masks = [random_mask((7, 5, 3, 3), 0.5, 0), random_mask((4, 7, 1, 1), 0.5, 1)]
    share = [0.2, 0.3, 0.5]
    groups = split_together(masks, [1, 2, 3], share, draws(0), [None, None])
    total = sum(int(mask.sum()) for mask in masks)
    sizes = [sum(int((g == path).sum()) for g in groups) for path in (1, 2, 3)]
    assert sizes == counts(total, share)
    assert all(torch.equal(g > 0, m) for g, m in zip(groups, masks, strict=True))


def test_positions_are_random_and_follow_the_seed():
    mask = torch.ones(64, 64, 3, 3, dtype=torch.bool)
    one, again, other = (split(mask, [1, 2], [0.5, 0.5], draws(s)) for s in (0, 0, 1))
    assert torch.equal(one, again)
    # Independent halves agree on half of the positions: ± 5 standard deviations.
    assert abs(float((one == other).float().mean()) - 0.5) < 5 * 0.5 / math.sqrt(mask.numel())
    per_filter = (one == 1).float().mean(dim=(1, 2, 3))
    assert float(per_filter.std()) < 2 * 0.5 / math.sqrt(64 * 9)


@given(values=st.lists(st.integers(0, 3), min_size=1, max_size=20), data=st.data())
def test_lowest_breaks_ties_by_index(values, data):
    count = data.draw(st.integers(0, len(values)))
    expected = sorted(range(len(values)), key=lambda i: (values[i], i))[:count]
    mask = lowest(torch.tensor(values, dtype=torch.float64), count)
    assert mask.nonzero().flatten().tolist() == sorted(expected)


def test_paths_alive_and_their_shares():
    assert [alive(stage, (1, 2)) for stage in (1, 2, 3)] == [[3], [1, 3], [1, 2, 3]]
    assert [alive(stage, (2, 2)) for stage in (1, 2, 3)] == [[3], [3], [1, 2, 3]]
    assert shares([1, 3], (0.2, 0.5, 0.3)) == pytest.approx([0.4, 0.6])


@pytest.mark.parametrize(
    ("grouping", "granularity", "ratio"),
    [
        ("stage", "alternating", (0.5, 0.5)),
        ("tensor", "2:4", (0.4, 0.6)),
        ("stage", "2:4", (0.5, 0.5)),
        ("tensor", "2:4", (1 / 3,) * 3),
        ("stages", "weight", (1.0,)),
        ("tensor", "filter", (1.0,)),
    ],
)
def test_choices_that_cannot_be_met_are_refused(grouping, granularity, ratio):
    with pytest.raises(InputError):
        check_grouping(grouping, granularity, ratio)
