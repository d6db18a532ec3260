"""Power: against Student's t-test and by simulation of crossed seeds and test images."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nfe.cli.main import main
from nfe.report.power import POWER, SEEDS, chance, detectable, with_seeds
from nfe.report.statistics import Contrast, Sample, image_weights

QUICK = Path(__file__).parents[2] / "results" / "quick"
TRIALS, IMAGES = 2000, 100
# Four standard errors of a share of TRIALS.
ERROR = 4 * math.sqrt(POWER * (1 - POWER) / TRIALS)


def of_seeds(n: int, variance: float = 1.0) -> Contrast:
    """Return a contrast whose only variance is between seeds."""
    zero = np.float64(0)
    return Contrast(zero, ((np.float64(variance / n), n - 1),), zero, zero, "seeds")


@pytest.mark.parametrize("n", [2, 3, 5, 10, 20])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 12])
def test_with_seeds_alone_it_is_the_power_of_the_t_test(n, alpha):
    critical = stats.t.isf(alpha / 2, n - 1)
    for difference in (0.0, 0.5, 1.0):
        shift = difference * math.sqrt(n)
        exact = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
        assert chance(of_seeds(n), difference, alpha) == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize("shares", [(0.3, 0.0, 1.0), (0.2, 1.0, 1.0), (0.1, 1.0, 0.3)])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_detectable_difference_is_found_as_often_as_it_says(seeds, shares):
    seed, image, both = shares
    between = seed**2 + both**2 / IMAGES
    truth = Contrast(
        np.float64(0),
        ((np.float64(between / seeds), seeds - 1),),
        np.float64(image**2 / IMAGES),
        np.float64(image**2 / IMAGES + both**2 / IMAGES / seeds),
        "seeds+images",
    )
    size = detectable(truth)
    assert size is not None
    draws = np.random.default_rng(seeds)
    parts = size + seed * draws.standard_normal((TRIALS, seeds, 1))
    parts = parts + image * draws.standard_normal((TRIALS, 1, IMAGES))
    parts = parts + both * draws.standard_normal((TRIALS, seeds, IMAGES))
    weights = image_weights(IMAGES, 150)
    found = Contrast.of(Sample(parts.mean(axis=-1), parts @ weights.T))
    share = np.mean(np.abs(found.difference) > found.half_width())
    # The estimated interaction is rounded up to none: the interval, and so the power, is a little
    # on the safe side.
    assert POWER - ERROR - 0.05 < share < POWER + ERROR + 0.02


def test_other_numbers_of_seeds_are_those_that_would_have_been_drawn():
    found, expected = with_seeds(of_seeds(4), 9), of_seeds(9)
    assert found.seeds[0] == pytest.approx(expected.seeds[0])
    mixed = Contrast(np.float64(0), ((np.float64(0.5), 1),), *map(np.float64, (2, 3)), "both")
    more = with_seeds(mixed, 20)
    assert float(more.seeds[0][0]) == pytest.approx(0.05)
    assert float(more.images) == 2
    assert float(more.least) == pytest.approx(2.1)


def test_more_seeds_and_fewer_tests_detect_less():
    sizes = [detectable(of_seeds(n)) for n in SEEDS]
    assert sizes == sorted(sizes, reverse=True)
    assert detectable(of_seeds(5), 0.01) > detectable(of_seeds(5), 0.05)
    assert detectable(of_seeds(5, variance=0.0)) == 0
    assert (
        detectable(Contrast(*map(np.float64, (1,)), (), *map(np.float64, (1, 1)), "images")) is None
    )


def test_the_command_says_what_could_be_established(capsys):
    assert main(["compare", str(QUICK), "deep_ensemble", "--power", "--json"]) == 0
    records = {r["metric"]: r for r in json.loads(capsys.readouterr().out)}
    accuracy = records["accuracy"]
    now = accuracy["detectable"][str(accuracy["seeds"])]
    assert accuracy["alone"] <= now
    assert accuracy["detectable"]["3"] > accuracy["detectable"]["20"]
    assert main(["compare", str(QUICK), "deep_ensemble", "--power"]) == 0
    shown = capsys.readouterr().out
    assert f"{now:.4f}" in shown
    assert "probability 80%" in shown
