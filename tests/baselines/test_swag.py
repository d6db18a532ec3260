"""SWA-Gaussian: the moments of iterates, what is drawn from them, and the rates of a run."""

import copy
from typing import Any, cast

import pytest
import torch
from phases import specified
from rivals import method
from torch import Tensor, nn

from baselines.shared.posterior import Posterior
from nfe import data as datasets
from nfe.engine.trainer import Trainer
from nfe.method import SGD, Recipe, Step


def row(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])


def posterior(members: int, seed: int = 0) -> Posterior:
    torch.manual_seed(0)
    return Posterior([nn.Linear(6, 4).double() for _ in range(members)], seed).double()


@torch.no_grad()
def collected(made: Posterior, count: int, rank: int) -> Tensor:
    draws = torch.Generator().manual_seed(1)
    # Iterates far from zero: their spread must not drown in their size.
    iterates = 1000 + torch.randn(count, 28, generator=draws, dtype=torch.float64)
    for number, iterate in enumerate(iterates):
        for parameter, values in zip(
            made.members[0].parameters(), iterate.split([24, 4]), strict=True
        ):
            parameter.copy_(values.view(parameter.shape))
        made.collect(number, last=number >= count - rank)
    return iterates


@torch.no_grad()
def test_the_moments_are_numpys() -> None:
    made = posterior(2)
    iterates = collected(made, 9, 4).numpy()
    torch.testing.assert_close(made.mean, torch.from_numpy(iterates.mean(0)))
    torch.testing.assert_close(made.spread / 9, torch.from_numpy(iterates.var(0)))


@torch.no_grad()
def test_draws_have_the_papers_covariance() -> None:
    """Many draws against the Gaussian's covariance, written out with the deviations kept."""
    members, count, rank, scale = 20_000, 6, 3, 0.5
    made = posterior(members)
    iterates = collected(made, count, rank)
    means = [iterates[: i + 1].mean(0) for i in range(count)]
    deviations = torch.stack([iterates[i] - means[i] for i in range(count - rank, count)])
    expected = iterates.var(0, correction=0).diag() + deviations.T @ deviations / (rank - 1)
    made.draw(count, rank, scale)
    drawn = torch.stack([row(network) for network in made.members])
    # An entry's standard error is about √(σ_i² σ_j² + σ_ij²) / √members, under 0.03 here.
    torch.testing.assert_close(drawn.mean(0), iterates.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), scale * expected, atol=0.12, rtol=0)


@torch.no_grad()
def test_without_scale_all_are_the_average() -> None:
    made = posterior(3)
    iterates = collected(made, 5, 2)
    made.draw(5, 2, 0.0)
    for network in made.members:
        torch.testing.assert_close(row(network), iterates.mean(0))


def test_the_rates_of_the_authors_schedule() -> None:
    """Constant, a line to r between half and nine tenths of the phase, then r; at last 0."""
    chosen = method("swag", start=0.5, rate=0.25, statistics=0.2, members=2)
    rates = [chosen.learning_rate(Recipe(8, lr=0.4), Step(t, 100, 1)) for t in range(100)]
    for t, rate in enumerate(rates):
        share = t / 50
        if t >= 80:
            expected = 0.0
        elif t >= 50:
            expected = 0.1
        else:
            expected = 0.4 - 0.3 * min(1, max(0, (share - 0.5) / 0.4))
        # The recipe's own line ends at 1 % in place of 0.
        assert rate == pytest.approx(expected, abs=0.0031), t


def test_what_is_collected_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    """12 steps: 6, then 3 iterates in 4 steps, then a step for each of two networks."""
    settings_ = {"members": 2, "start": 0.5, "statistics": 0.17, "collections": 3, "rank": 2}
    run = specified("swag", **settings_)
    trainer = Trainer(run, datasets.load(run.card))
    made = cast(Posterior, trainer.network)
    real, seen, drawn = type(trainer.method).after_step, [], []  # type: ignore[var-annotated]

    def watch(chosen: Any, network: nn.Module, optimizer: SGD, step: Step) -> None:
        before = made.mean.clone()
        weights = row(made.members[0])
        real(chosen, network, optimizer, step)
        if not torch.equal(made.mean, before):
            seen.append((step.number, weights))
        if step.number == 9:
            assert len(optimizer.state) == 0
            drawn.extend(copy.deepcopy(m.state_dict()) for m in made.members)

    monkeypatch.setattr(type(trainer.method), "after_step", watch)
    trainer.train()
    assert [number for number, _ in seen] == [7, 8, 9]
    iterates = torch.stack([weights for _, weights in seen])
    torch.testing.assert_close(made.mean, iterates.mean(0))
    for network, start in zip(made.members, drawn, strict=True):
        for name, value in network.state_dict().items():
            # Weights stay as they were drawn; statistics have seen a batch.
            learned = "running" in name or "num_batches" in name
            assert torch.equal(value, start[name]) != learned, name
    assert not torch.equal(row(made.members[0]), row(made.members[1]))
