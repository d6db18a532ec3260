"""Runs in phases: where a step stands, members one after another, and their exact resume."""

import dataclasses
import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from phases import specified
from rivals import method

from nfe import data as datasets
from nfe.common.errors import InputError, Interrupted
from nfe.engine.trainer import Trained, Trainer
from nfe.method import Members, Phases, Recipe, SequentialMembers, Step
from nfe.suite.run import Run

# Methods of several phases, or with state beside the weights, and settings for a run of 12 steps.
PHASED: dict[str, dict[str, Any]] = {
    "snapshot": {},
    "mixmo": {},
    "dst": {"members": 2, "interval": 2},
    "edst": {"interval": 2},
    "prune_and_tune": {},
    "local_critic": {},
    "self_distilled": {},
    "subnetwork_ensemble": {},
    "swag": {"members": 2, "statistics": 0.34},
    "hydra": {"members": 2},
    "partially_masked": {},
}


# --- moments ----------------------------------------------------------------------------


@given(
    shares=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    steps=st.integers(60, 500),
)
def test_every_step_is_in_one_phase(shares: list[int], steps: int) -> None:
    parts = [share / sum(shares) for share in shares]
    found = [Step(step, steps, 7).phase(Step(0, steps, 7).ends(parts)) for step in range(steps)]
    for number, part in enumerate(parts):
        inside = [moment for phase, moment in found if phase == number]
        assert [moment.number for moment in inside] == list(range(len(inside)))
        assert [moment.is_last for moment in inside] == [False] * (len(inside) - 1) + [True]
        assert {moment.steps for moment in inside} == {len(inside)}
        assert abs(len(inside) - part * steps) <= 1
    assert [phase for phase, _ in found] == sorted(phase for phase, _ in found)


def test_a_run_without_a_step_for_each_phase_is_refused() -> None:
    with pytest.raises(InputError, match="the run has 2 steps: allowed: enough for each of its 3"):
        Step(0, 2, 2).phase(Step(0, 2, 2).ends([0.4, 0.3, 0.3]))
    run = dataclasses.replace(specified("snapshot"), epochs=1)
    run = dataclasses.replace(run, recipe=Recipe(400))
    with pytest.raises(InputError, match="the run has 1 steps"):
        Trainer(run, datasets.load(run.card)).train()


def test_the_default_rate_is_the_recipes() -> None:
    recipe, moments = Recipe(32, warmup=2), [Step(step, 70, 7) for step in range(70)]
    rates = [Phases.of(method("single")).learning_rate(recipe, moment) for moment in moments]
    assert rates == [recipe.learning_rate(moment) for moment in moments]


def test_the_steps_of_most_methods_are_of_one_kind() -> None:
    assert Phases.of(method("single")).kinds(Step(9, 70, 7)) == [(Step(0, 70, 7), 70)]
    assert method("dst").kinds(Step(9, 70, 7)) == [(Step(0, 70, 7), 70)]  # type: ignore[attr-defined]


# --- continuing -------------------------------------------------------------------------


def stopped_after(step: int, run: Run, data: datasets.Data, state: Path) -> None:
    """Train until ``step`` steps are taken and the state is saved."""
    trainer = Trainer(run, data, state)
    take = trainer.step

    def counted(*arguments: Any) -> None:
        take(*arguments)
        if trainer.progress.step == step:
            trainer._requests.append(15)

    trainer.step = counted  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match=f"after step {step}; state saved"):
        trainer.train()


def same(one: Trained, other: Trained) -> bool:
    ours, theirs = one.network.state_dict(), other.network.state_dict()
    return one.history == other.history and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("name", PHASED)
def test_a_run_stopped_anywhere_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    run = specified(name, **PHASED[name])
    data = datasets.load(run.card)
    calm = Trainer(run, data).train()
    # One run through several lives: stopped within phases, at their ends and at ends of epochs.
    for step in (1, 4, 6, 7, 8, 11):
        stopped_after(step * run.build_method().trainings(), run, data, tmp_path)
    assert same(Trainer(run, data, tmp_path).train(), calm)


# --- Snapshot Ensembles -----------------------------------------------------------------


@given(members=st.integers(1, 6), steps=st.integers(36, 300), base=st.floats(0.01, 1))
def test_snapshots_rate_is_the_papers(members: int, steps: int, base: float) -> None:
    length = math.ceil(steps / members)
    if length * (members - 1) >= steps:
        return
    chosen, recipe = method("snapshot", members=members), Recipe(8, lr=base)
    for t in range(1, steps + 1):
        expected = base / 2 * (math.cos(math.pi * ((t - 1) % length) / length) + 1)
        rate = chosen.learning_rate(recipe, Step(t - 1, steps, 10))
        assert rate == pytest.approx(expected, abs=1e-12)


def test_each_snapshot_is_the_network_at_the_end_of_its_cycle() -> None:
    """Against one plain network, trained at the rates written out: 3 cycles of 4 steps."""
    run = specified("snapshot")
    trainer = Trainer(run, datasets.load(run.card))
    plain = Trainer(dataclasses.replace(run, method="single", settings={}), trainer.data)
    rates = [0.05 * (math.cos(math.pi * (t % 4) / 4) + 1) for t in range(12)]
    plain._rate = lambda moment: rates[moment.number]  # type: ignore[method-assign]
    snapshots = cast(SequentialMembers, trainer.train().network).members
    for snapshot in snapshots:
        plain._epoch()
        expected = cast(Members, plain.network).network.state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in snapshot.state_dict().items())
