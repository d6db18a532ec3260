"""Intervals, differences and p-values: against closed forms, and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nfe.report.statistics import Contrast, Sample, compare, holm, image_weights, mcnemar, summarize

TRIALS = 2000
IMAGES = 100
# Four standard errors of a share of TRIALS.
ERROR = 4 * math.sqrt(0.05 * 0.95 / TRIALS)
# Standard deviations between seeds, between images and of their interaction.
SHARES = [(0.3, 0, 1), (0, 0, 1), (0.05, 1, 1), (0.2, 1, 1), (0.1, 1, 0.3)]


@pytest.fixture(scope="module")
def weights():
    return image_weights(IMAGES, 150)


def sample(draws, weights, seeds, shares, effect=None):
    """Return a sample of TRIALS repetitions; ``effect``: what the images add, shared or own."""
    seed, image, interaction = shares
    own = draws.standard_normal((TRIALS, 1, IMAGES)) if effect is None else effect
    parts = seed * draws.standard_normal((TRIALS, seeds, 1)) + image * own
    parts = parts + interaction * draws.standard_normal((TRIALS, seeds, IMAGES))
    return Sample(parts.mean(axis=-1), parts @ weights.T)


def missed(contrast):
    """Return the share of repetitions whose interval does not hold the true difference, 0."""
    return float(np.mean(np.abs(contrast.difference) > contrast.half_width()))


@pytest.mark.parametrize("seeds", [3, 5])
def test_students_interval_covers_over_seeds(seeds):
    draws = np.random.default_rng(seeds)
    found = [summarize(list(values)) for values in draws.standard_normal((TRIALS, seeds))]
    share = np.mean([abs(f["mean"]) > f["ci95"] for f in found])
    assert abs(share - 0.05) < ERROR


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_misses_at_most_nominally_under_the_null(seeds, shares, weights):
    found = Contrast.of(sample(np.random.default_rng(7), weights, seeds, shares))
    assert found.covers == "seeds+images"
    assert missed(found) < 0.05 + ERROR


def test_where_one_part_dominates_the_interval_is_exact(weights):
    draws = np.random.default_rng(3)
    for shares in ((1, 0, 0.01), (0, 1, 0.01)):
        assert abs(missed(Contrast.of(sample(draws, weights, 3, shares))) - 0.05) < ERROR


def test_plain_hierarchical_resampling_would_miss_far_more_often(weights):
    """What the correction is for: resampling three seeds is too narrow."""
    draws = np.random.default_rng(5)
    found = sample(draws, weights, 3, (1, 0, 0.01))
    chosen = draws.integers(0, 3, (len(weights), 3))
    counts = np.stack([np.bincount(row, minlength=3) for row in chosen]) / 3
    means = np.einsum("tsb,bs->tb", found.resampled, counts)
    low, high = np.quantile(means, [0.025, 0.975], axis=-1)
    assert np.mean((low > 0) | (high < 0)) > 0.2
    assert missed(Contrast.of(found)) < 0.05 + ERROR


@pytest.mark.parametrize(("seeds", "others"), [(3, 5), (2, 3)])
def test_unpaired_seeds_share_the_images(seeds, others, weights):
    draws = np.random.default_rng(11)
    common = draws.standard_normal((TRIALS, 1, IMAGES))
    one = sample(draws, weights, seeds, (0.1, 3, 1), common)
    other = sample(draws, weights, others, (0.2, 3, 1), common)
    found = compare(one, other, paired=False)
    assert missed(found) < 0.05 + ERROR
    # The images' own difficulty, the largest part of each, falls out of the difference.
    alone = Contrast.of(one)
    assert np.median(found.least) < 0.1 * np.median(alone.least)


def test_errors_counted_over_images_have_no_more_false_positives_than_nominal(weights):
    """Correct or not, as accuracy has it, two methods of equal skill, paired by seed."""
    draws = np.random.default_rng(13)
    difficulty = 2 * draws.standard_normal((TRIALS, 1, IMAGES)) + 1.5
    sides = []
    for _ in range(2):
        skill = 0.3 * draws.standard_normal((TRIALS, 3, 1))
        noise = 0.7 * draws.standard_normal((TRIALS, 3, IMAGES))
        correct = (difficulty + skill + noise > 0).astype(float)
        sides.append(Sample(correct.mean(axis=-1), correct @ weights.T))
    assert missed(compare(*sides, paired=True)) < 0.05 + ERROR


def test_a_family_under_holm_has_no_more_false_alarms_than_nominal(weights):
    """Holm rejects something exactly where the smallest p-value is below alpha / k."""
    draws = np.random.default_rng(19)
    baseline = sample(draws, weights, 3, (0.2, 0.5, 1))
    others = [sample(draws, weights, 3, (0.2, 0.5, 1)) for _ in range(4)]
    alarms = np.zeros(TRIALS, dtype=bool)
    for other in others:
        found = compare(other, baseline, paired=True)
        alarms |= np.abs(found.difference) > found.half_width(0.05 / 4)
    assert alarms.mean() < 0.05 + ERROR


def test_a_real_difference_is_found(weights):
    draws = np.random.default_rng(17)
    found = sample(draws, weights, 5, (0.1, 0.5, 0.5))
    moved = Contrast.of(Sample(found.values + 0.5, found.resampled + 0.5))
    assert missed(moved) > 0.9


def test_one_seed_covers_images_only_and_has_the_closed_form():
    draws = np.random.default_rng(0)
    values = draws.standard_normal(IMAGES)
    replicates = values @ image_weights(IMAGES, 4000).T
    found = Contrast.of(Sample(np.array([values.mean()]), replicates[None]))
    assert found.covers == "images"
    assert not found.seeds
    wanted = 1.96 * values.std() / math.sqrt(IMAGES)
    assert found.half_width() == pytest.approx(wanted, rel=0.05)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=6))
def test_without_images_it_is_the_t_test_over_seeds(values):
    found = Contrast.of(Sample(np.array(values), None))
    assert found.covers == "seeds"
    if np.std(values) > 1e-6 and abs(np.mean(values)) > 1e-6:
        wanted = stats.ttest_1samp(values, 0).pvalue
        assert found.p_value() == pytest.approx(max(wanted, 1e-12), rel=1e-4, abs=1e-9)


def test_the_p_value_is_where_the_interval_ends_at_zero(weights):
    draws = np.random.default_rng(23)
    trials = sample(draws, weights, 3, (0.2, 1, 1))
    for values, replicates in zip(trials.values[:20], trials.resampled[:20], strict=True):
        found = Contrast.of(Sample(values, replicates))
        p = found.p_value()
        assert float(found.half_width(p)) == pytest.approx(abs(float(found.difference)), rel=1e-6)
        assert (p < 0.05) == (abs(found.difference) > found.half_width())


def test_images_are_resampled_alike_every_time():
    weights = image_weights(50, 200)
    assert np.array_equal(weights, image_weights(50, 200))
    assert weights.sum(axis=1) == pytest.approx(1)
    # A multinomial count's variance is 1 - 1/n.
    assert (50 * weights).var() == pytest.approx(1 - 1 / 50, rel=0.05)


def test_holm_by_hand():
    # 4 × 0.005, then 3 × 0.01; 2 × 0.02 = 0.04; 0.04 is below and is raised to it.
    assert holm([0.02, 0.005, None, 0.04, 0.01]) == pytest.approx([0.04, 0.02, None, 0.04, 0.03])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([None]) == [None]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_p_value_and_bonferronis(values):
    adjusted = holm(values)
    for p, q in zip(values, adjusted, strict=True):
        assert p <= q <= min(1, len(values) * p)
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 5))
def test_mcnemar_is_the_binomial_sum(first, second, both):
    correct = np.array([True] * first + [False] * second + [True] * both, dtype=bool)
    other = np.array([False] * first + [True] * second + [True] * both, dtype=bool)
    n, least = first + second, min(first, second)
    tail = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
    assert mcnemar(correct, other) == (first, second, pytest.approx(min(1, 2 * tail)))
