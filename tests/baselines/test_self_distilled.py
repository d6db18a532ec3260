"""A network taught by its earlier self: the targets, what the past is, and who is trained."""

import copy
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from phases import specified
from rivals import method, network
from torch import nn

from baselines.self_distilled import WithPast, soft_targets
from nfe import data as datasets
from nfe.engine.trainer import Trainer
from nfe.evaluation import cost
from nfe.method import SGD, Step


def test_the_targets_by_hand() -> None:
    past = torch.tensor([[0.0, 0.0], [0.0, torch.log(torch.tensor(3.0))]])
    found = soft_targets(torch.tensor([0, 1]), past, torch.tensor(0.4))
    # (1, 0) and (1/2, 1/2); (0, 1) and (1/4, 3/4).
    torch.testing.assert_close(found, torch.tensor([[0.8, 0.2], [0.1, 0.9]]))


def test_trust_rises_by_epochs() -> None:
    chosen = method("self_distilled", trust=0.8)
    rates = [chosen.trusted(Step(step, 40, 10)) for step in range(40)]  # type: ignore[attr-defined]
    # As the authors' code: in epoch 1 what it predicted are the labels themselves.
    assert rates == pytest.approx([0.0] * 10 + [0.4] * 10 + [0.6] * 10 + [0.8] * 10)


def test_the_loss_is_the_cross_entropy_with_both_targets() -> None:
    chosen, made = method("self_distilled"), cast(WithPast, network("self_distilled").double())
    for tensor in made.past.buffers():
        if tensor.is_floating_point():
            tensor.mul_(1.1)
    made.trust.fill_(0.3)
    images, labels = torch.randn(4, 3, 16, 16).double(), torch.tensor([0, 3, 1, 1])
    past = made.past(images).softmax(1)
    loss, logits = chosen.loss(made.eval(), images, labels)
    z = logits[:, 0]
    taught = -(past * z.log_softmax(1)).sum(1).mean()
    expected = 0.7 * F.cross_entropy(z, labels) + 0.3 * taught
    assert loss.item() == pytest.approx(expected.item())


def test_the_past_is_neither_trained_nor_counted() -> None:
    made = cast(WithPast, network("self_distilled")).train()
    assert made.network.training
    assert not any(module.training for module in made.past.modules())
    assert cost.parameters(made) == cost.parameters(made.network)
    before = {k: v.clone() for k, v in made.past.state_dict().items()}
    images, labels = torch.randn(6, 3, 16, 16), torch.arange(6) % 5
    made.trust.fill_(0.5)
    method("self_distilled").loss(made, images, labels)[0].backward()
    assert all(torch.equal(v, before[k]) for k, v in made.past.state_dict().items())
    assert all(p.grad is not None for p in made.network.parameters())


def test_the_past_is_the_network_at_the_end_of_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    run = specified("self_distilled")
    trainer = Trainer(run, datasets.load(run.card))
    real, ended = type(trainer.method).after_step, []  # type: ignore[var-annotated]

    def watch(chosen: Any, pair: nn.Module, optimizer: SGD, step: Step) -> None:
        real(chosen, pair, optimizer, step)
        if (step.number + 1) % step.per_epoch == 0:
            ended.append(copy.deepcopy(cast(WithPast, pair).network.state_dict()))
        elif ended:
            past = cast(WithPast, pair).past.state_dict()
            assert all(torch.equal(past[k], v) for k, v in ended[-1].items())
            now = cast(WithPast, pair).network.state_dict()
            assert not all(torch.equal(now[k], v) for k, v in ended[-1].items())

    monkeypatch.setattr(type(trainer.method), "after_step", watch)
    trainer.train()
    assert len(ended) == 3
