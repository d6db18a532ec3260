"""Hydra: the distillation by hand, whose turn it is, and a whole run written out."""

import copy
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from phases import specified
from rivals import context, method, network
from torch import Tensor, nn

from baselines.hydra import Heads, Hydra, TaughtHeads, divergence, soft_targets
from nfe import data as datasets
from nfe.backbones import Structure
from nfe.common.macs import MacCounter
from nfe.engine import inference
from nfe.engine.trainer import Trainer, make_optimizer
from nfe.evaluation import cost
from nfe.method import Recipe, Step


def made(members: int = 3) -> TaughtHeads:
    return cast(TaughtHeads, network("hydra", members=members))


# --- the loss ---------------------------------------------------------------------------


def test_targets_by_hand() -> None:
    # At T = 2: (1/2, 1/2) and (3/4, 1/4).
    teachers = torch.tensor([[[0.0, 0.0], [2 * torch.log(torch.tensor(3.0)), 0.0]]])
    own = soft_targets(teachers, torch.tensor(1.0), 2.0)
    torch.testing.assert_close(own, torch.tensor([[[0.5, 0.5], [0.75, 0.25]]]))
    mean = soft_targets(teachers, torch.tensor(0.0), 2.0)
    torch.testing.assert_close(mean, torch.tensor([[[0.625, 0.375], [0.625, 0.375]]]))


def test_the_divergence_is_the_mean_of_the_heads_divergences() -> None:
    draws = torch.Generator().manual_seed(0)
    logits, teachers = torch.randn(2, 5, 3, 4, generator=draws, dtype=torch.float64)
    targets = soft_targets(teachers, torch.tensor(1.0), 3.0)
    terms = [
        9 * F.kl_div((z / 3).log_softmax(1), (t / 3).log_softmax(1), None, None, "batchmean", True)
        for z, t in zip(logits.unbind(1), teachers.unbind(1), strict=True)
    ]
    expected = torch.stack(terms).mean()
    assert divergence(logits, targets, 3.0).item() == pytest.approx(expected.item())
    assert divergence(teachers, targets, 3.0).item() == pytest.approx(0, abs=1e-12)


# --- whose turn it is -------------------------------------------------------------------


def test_rates_begin_again_with_each_network() -> None:
    chosen, recipe = cast(Hydra, method("hydra", members=2)), Recipe(8)
    rates = [chosen.learning_rate(recipe, Step(step, 300, 10)) for step in range(300)]
    assert rates == [recipe.learning_rate(Step(step, 100, 10)) for step in range(100)] * 3
    firsts = [(first.number, count) for first, count in chosen.kinds(Step(7, 300, 10))]
    assert firsts == [(0, 100), (100, 100), (200, 100)]


def test_heads_learn_the_mean_first() -> None:
    chosen, network = cast(Hydra, method("hydra", members=2, common=0.25)), made(2)
    own = []
    for number in range(300):
        chosen.before_step(network, Step(number, 300, 10))
        own.append((network.active, network.ended, network.own.item()))
    assert [active for active, _, _ in own] == [0] * 100 + [1] * 100 + [2] * 100
    assert [n for n, (_, ended, _) in enumerate(own) if ended] == [99, 199]
    assert [flag for _, _, flag in own[200:]] == [0] * 25 + [1] * 75


# --- the networks -----------------------------------------------------------------------


@torch.no_grad()
def test_the_student_begins_with_heads_that_are_alike() -> None:
    """Its initial values wait in the first teacher's place."""
    network, images = made(), torch.randn(4, 3, 16, 16)
    waiting = network.teachers[0](images)
    torch.testing.assert_close(waiting, waiting[:, :1].expand(-1, 3, -1))
    logits = network.eval()(images)
    assert (logits[:, 0] - logits[:, 1]).abs().max() > 1e-3


@torch.no_grad()
def test_each_network_gets_its_turn_and_stays_as_it_is_left() -> None:
    network = made(2)
    student, other = (copy.deepcopy(t.state_dict()) for t in network.teachers)
    trained = []
    for number, wanted in enumerate((other, student)):
        for parameter in network.student.parameters():
            parameter.add_(0.1)
        trained.append(copy.deepcopy(network.student.state_dict()))
        network.leave(number)
        assert same(network.student, wanted)
    assert all(same(t, wanted) for t, wanted in zip(network.teachers, trained, strict=True))


def same(network: nn.Module, wanted: dict[str, Tensor]) -> bool:
    state = network.state_dict()
    return state.keys() == wanted.keys() and all(torch.equal(state[k], wanted[k]) for k in state)


@torch.no_grad()
def test_who_answers() -> None:
    network, images = made(2).eval(), torch.randn(4, 3, 16, 16)
    first, second = (network.teachers[m](images)[:, m] for m in (0, 1))
    student = network.student(images)
    assert torch.equal(network(images), student)
    network.active = 0
    assert torch.equal(network(images), student[:, :1])
    network.ended = True
    assert torch.equal(network(images), first[:, None])
    network.active, network.ended = 1, False
    assert torch.equal(network(images), torch.stack([first, student[:, 1]], dim=1))
    network.ended = True
    assert torch.equal(network(images), torch.stack([first, second], dim=1))
    assert network.train()(images).shape == (4, 1, 5)


def test_teachers_are_neither_trained_with_the_student_nor_counted() -> None:
    network, chosen = made().train(), method("hydra")
    assert not any(module.training for module in network.teachers.modules())
    before = copy.deepcopy(network.teachers.state_dict())
    images, labels = torch.randn(6, 3, 16, 16), torch.arange(6) % 5
    chosen.loss(network, images, labels)[0].backward()
    assert same(network.teachers, before)
    assert all(p.grad is not None for p in network.parameters())
    alone = Heads(context("wrn-10-2").backbone(classes=15), 3)
    image = torch.randn(1, 3, 16, 16)
    assert cost.inference(network, image) == cost.inference(alone, image)


# --- whole runs -------------------------------------------------------------------------


def test_a_run_is_what_its_networks_alone_are() -> None:
    """Two teachers, then the student, each trained apart with the loss written out."""
    run = specified("hydra", members=2, common=0.5)
    trainer = Trainer(run, datasets.load(run.card))
    start = cast(TaughtHeads, copy.deepcopy(trainer.network))
    student, second = (copy.deepcopy(t) for t in start.teachers)
    first = start.student

    def alone(values: nn.Module) -> Heads:
        found = copy.deepcopy(first)
        found.load_state_dict(values.state_dict())
        return found.train()

    def train(one: Heads, epochs: range, loss) -> Heads:  # type: ignore[no-untyped-def]
        optimizer = make_optimizer(method("single", "wrn-10-1"), one, run.recipe)
        steps = [batch for epoch in epochs for batch in trainer.batches.epoch(epoch, 0)]
        for number, (_, images, labels) in enumerate(steps):
            rate = run.recipe.learning_rate(Step(number, 12, 4))
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss(one(images), images, labels, number).backward()
            optimizer.step()
        return one

    def taught(z: Tensor, images: Tensor, labels: Tensor, number: int) -> Tensor:
        with torch.no_grad():
            q = torch.stack([(t(images)[:, m] / 3).softmax(1) for m, t in enumerate(teachers)], 1)
        if number < 6:
            q = q.mean(1, keepdim=True).expand(-1, 2, -1)
        log = (z / 3).log_softmax(-1)
        return 9 * (q * (q.log() - log)).sum((1, 2)).mean() / 2

    teachers = [
        train(
            alone(values),
            range(3 * m, 3 * m + 3),
            lambda z, _, y, __, m=m: F.cross_entropy(z[:, m], y),
        ).eval()
        for m, values in enumerate((first, second))
    ]
    expected = train(alone(student), range(6, 9), taught)
    trained = trainer.train()
    found = cast(TaughtHeads, trained.network)
    for one, wanted in zip([*found.teachers, found.student], [*teachers, expected], strict=True):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, wanted.state_dict()[name], atol=1e-4, rtol=1e-3)
    # The held-out curve at the end of the teachers is that of both.
    logits = inference.outputs(PairOf(teachers), run.card, trainer.data.heldout)
    labels = trainer.data.heldout.labels.numpy()
    mean = torch.from_numpy(logits).softmax(-1).mean(1).argmax(-1).numpy()
    assert trained.history[5]["heldout_accuracy"] == pytest.approx(100 * (mean == labels).mean())


class PairOf(nn.Module):
    """Two teachers side by side."""

    def __init__(self, teachers: list[Heads]) -> None:
        super().__init__()
        self.teachers = nn.ModuleList(teachers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([t(x)[:, m] for m, t in enumerate(self.teachers)], dim=1)


def test_steps_of_teachers_and_of_the_student_are_counted_apart() -> None:
    run = specified("hydra", members=2)
    trainer = Trainer(run, datasets.load(run.card))
    trained = trainer.train()
    body = run.backbone.build(channels=1, classes=20, resolution=8, structure=Structure())
    images = torch.randn(120, 1, 8, 8)
    with MacCounter() as forward, torch.no_grad():
        body(images)
    with MacCounter() as step:
        F.cross_entropy(body(images), torch.zeros(120, dtype=torch.int64)).backward()
    # Twelve steps each: two teachers, and the student beside both.
    assert trained.train_macs == 36 * step.executed + 12 * 2 * forward.executed
    assert set(trainer.progress.step_macs) == {"0", "1", "2"}
