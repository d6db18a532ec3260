"""Which runs share a job: by number, by estimated minutes, over several GPUs."""

import dataclasses
import itertools

import pytest

from nfe.cluster import estimate, packing
from nfe.cluster.site import Site
from nfe.suite.expansion import Suite, expand

START = estimate.minutes([], 1)


@pytest.fixture(scope="module")
def suite() -> Suite:
    """Runs of very different length, the shortest first."""
    base = {
        "suite": "mixed",
        "seeds": 2,
        "dataset": "cifar10",
        "architecture": "wrn-10-1",
        "epochs": 1,
    }
    epochs = [{"method": "single", "epochs": n} for n in (1, 2, 5, 20, 60, 200)]
    return expand({**base, "runs_per_process": 3, "groups": {"all": epochs}})


def seconds(run) -> float:
    return estimate.seconds(run, estimate.modest(1))


def test_by_number_jobs_are_the_suite_s(suite):
    packs = packing.training(suite, Site(), 1)
    assert [list(pack.runs) for pack in packs] == suite.chunks()


@pytest.mark.parametrize("target", [10, 40, 100])
@pytest.mark.parametrize("gpus", [1, 4])
def test_by_minutes_every_run_is_made_once_and_no_job_takes_longer(target, gpus, suite):
    packs = packing.training(suite, Site(target_minutes=target, gpus_per_job=gpus), 1)
    made = [run.name for pack in packs for run in pack.runs]
    assert sorted(made) == sorted(planned.run.name for planned in suite.runs)
    for pack in packs:
        lengths = [seconds(run) for run in pack.runs]
        assert lengths == sorted(lengths, reverse=True)
        # The longest first on whichever GPU is free: at most 4/3 of the best (Graham 1969).
        most = max(60 * target, *lengths)
        assert 60 * (estimate.minutes(pack.runs, 1, gpus) - START) <= 4 / 3 * most + 60
    # Nothing more could have been put together: any two jobs of one GPU are too long for one.
    if gpus == 1:
        totals = [sum(map(seconds, pack.runs)) for pack in packs]
        assert all(a + b > 60 * target for a, b in itertools.combinations(totals, 2))


def test_fewer_jobs_the_more_time_or_gpus_they_have(suite):
    counts = [
        len(packing.training(suite, Site(target_minutes=target, gpus_per_job=gpus), 1))
        for target, gpus in ((10, 1), (100, 1), (100, 4))
    ]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 3


def test_a_job_over_several_gpus_takes_as_long_as_the_last_one(suite):
    runs = [planned.run for planned in suite.runs][-4:]
    each = max(map(seconds, runs))
    assert 60 * (estimate.minutes(runs, 1, 4) - START) == pytest.approx(each, abs=60)
    assert estimate.minutes(runs, 1, 1) > 2 * estimate.minutes(runs, 1, 4)


def test_a_name_follows_from_the_runs_alone(suite):
    runs = [planned.run for planned in suite.runs]
    alone = packing.Pack("train", (runs[0],))
    assert runs[0].name.endswith(alone.rule.removeprefix("train_"))
    assert alone.log == f"train_{runs[0].name}.log"
    several = packing.Pack("train", tuple(runs[:3]))
    assert several.log == f"train_{runs[0].name}_and_2_more.log"
    parts = (runs[:1], runs[:2], runs[:3], runs[1:3], runs[2:0:-1])
    assert len({packing.Pack("train", tuple(part)).rule for part in parts}) == len(parts)
    assert packing.Pack("combine", (runs[0],)).rule != alone.rule


def test_what_jobs_make_is_known_of_every_packing(suite, tmp_path):
    sites = (Site(), Site(target_minutes=40), Site(target_minutes=40, gpus_per_job=2))
    packings = [packing.training(suite, site, 1) for site in sites]
    for packs in packings:
        packing.note("mixed", packs, tmp_path)
    told = packing.noted("mixed", tmp_path)
    for pack in itertools.chain(*packings):
        assert told[pack.rule] == [run.name for run in pack.runs]
    assert packing.noted("other", tmp_path) == {}


def test_combinations_share_jobs(suite):
    runs = [planned.run for planned in suite.runs]
    assert [len(pack.runs) for pack in packing.brief(suite, "combine", runs)] == [12]
    more = dataclasses.replace(suite, runs_per_process=30)
    assert [len(pack.runs) for pack in packing.brief(more, "combine", [*runs, *runs])] == [24]
    assert packing.brief(suite, "combine", []) == []
