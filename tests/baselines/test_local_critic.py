"""Local critic training: who learns from whom, the critics' cascade, and its exits."""

from typing import cast

import pytest
import torch
import torch.nn.functional as F
from rivals import method, network, unsettle_norms
from torch import Tensor, nn

from baselines.local_critic import Critics, cascade
from nfe.engine.trainer import make_optimizer
from nfe.evaluation import cost
from nfe.evaluation.early_exit_curve import NEVER
from nfe.method import SGD, Recipe
from nfe.splitting.early_exit import exit_macs, predict

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 1, 1])


def made() -> Critics:
    """A network in evaluation mode, so that norms do not depend on the passes before."""
    net = network("local_critic", width=8).eval()
    unsettle_norms(net)
    return cast(Critics, net)


def gradients(net: nn.Module) -> dict[str, Tensor]:
    method("local_critic").loss(net, IMAGES, LABELS)[0].backward()
    return {n: cast(Tensor, p.grad) for n, p in net.named_parameters()}


def test_the_cascade_by_hand() -> None:
    losses = [torch.tensor(v, requires_grad=True) for v in ([1.0, 4.0], [3.0, 3.0], [0.0, 5.0])]
    # |3 − 1|, |3 − 4| and |0 − 3|, |5 − 3|: means 1.5 and 2.5.
    total = cascade(losses)
    assert total.item() == pytest.approx(4.0)
    total.backward()
    # Each follows the one behind it: up where below, down where above; the last is never moved.
    assert cast(Tensor, losses[0].grad).tolist() == [-0.5, 0.5]
    assert cast(Tensor, losses[1].grad).tolist() == [0.5, -0.5]
    assert losses[2].grad is None


def test_groups_learn_from_their_own_critic_only() -> None:
    """Against the gradients of each group's loss alone, computed on parts of the network."""
    net = made()
    found = gradients(net)
    h1 = net.stages[0](net.stem(IMAGES))
    h2 = net.stages[1](h1.detach())
    h3 = net.stages[2](h2.detach())
    ends = [(h1, net.critics[0]), (h2, net.critics[1]), (h3, net.head)]
    owners = [("stem", "stages.0"), ("stages.1",), ("stages.2", "head")]
    for (features, end), names in zip(ends, owners, strict=True):
        loss = F.cross_entropy(end(features), LABELS)
        own = {n: p for n, p in net.named_parameters() if n.startswith(names)}
        expected = torch.autograd.grad(loss, list(own.values()))
        for name, gradient in zip(own, expected, strict=True):
            torch.testing.assert_close(found[name], gradient)
            assert gradient.abs().max() > 0


def test_a_group_does_not_feel_what_comes_after_its_critic() -> None:
    net = made()
    before = gradients(net)
    for parameter in net.parameters():
        parameter.grad = None
    with torch.no_grad():
        for part in (net.stages[1], net.stages[2], net.head, net.critics[1]):
            for parameter in part.parameters():
                parameter.mul_(-1.5)
    after = gradients(net)
    for name in before:
        if name.startswith(("stem", "stages.0")):
            assert torch.equal(before[name], after[name])
    # Its critic does, by the loss that it follows.
    assert not torch.equal(before["critics.0.linear.bias"], after["critics.0.linear.bias"])


def test_critics_learn_from_the_gap_to_the_next_loss_only() -> None:
    net = made()
    found = gradients(net)
    logits = [end.detach() for end in net(IMAGES).unbind(1)]
    losses = [F.cross_entropy(z, LABELS, reduction="none") for z in logits]
    outputs = [h.detach() for h in net.outputs(IMAGES)]
    for number, critic in enumerate(net.critics):
        own = F.cross_entropy(critic(outputs[number]), LABELS, reduction="none")
        gap = (losses[number + 1] - own).abs().mean()
        names = [f"critics.{number}.{n}" for n, _ in critic.named_parameters()]
        expected = torch.autograd.grad(gap, list(critic.parameters()))
        for name, gradient in zip(names, expected, strict=True):
            torch.testing.assert_close(found[name], gradient)


def test_the_critics_have_adam_at_a_rate_of_their_own() -> None:
    chosen, net = method("local_critic", critic_lr=1e-3), made()
    optimizer = make_optimizer(chosen, net, Recipe(4))
    sgd, adam = optimizer.param_groups
    assert set(adam["params"]) == set(net.critics.parameters())
    assert set(sgd["params"]) | set(adam["params"]) == set(net.parameters())
    assert (adam["algorithm"], adam["fixed_lr"]) == ("adam", 1e-3)
    before = {p: p.detach().clone() for p in net.critics.parameters()}
    gradients(net)
    for group in optimizer.param_groups:
        group["lr"] = group.get("fixed_lr", 0.1)
    optimizer.step()
    for parameter, old in before.items():
        # Adam's first step is the rate, in the direction of the gradient.
        moved = (parameter - old).abs()[cast(Tensor, parameter.grad).abs() > 1e-5]
        torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), atol=3e-6, rtol=2e-3)


def test_adam_is_pytorchs_bit_for_bit() -> None:
    draws = torch.Generator().manual_seed(0)
    ours = nn.Parameter(torch.randn(5, 3, generator=draws))
    settings = {"lr": 1e-4, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    optimizer = SGD([{"params": [ours], "algorithm": "adam"}], **settings)
    theirs = nn.Parameter(ours.detach().clone())
    reference = torch.optim.Adam([theirs], lr=1e-4, foreach=False)
    for rate in (1e-4, 1e-4, 1e-2, 1e-3):
        ours.grad = torch.randn(5, 3, generator=draws)
        theirs.grad = ours.grad.clone()
        reference.param_groups[0]["lr"] = rate
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        reference.step()
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_progressive_inference() -> None:
    """Early exit stops at a critic, and at the end is the mean over all exits."""
    net = made()
    logits = net(IMAGES)
    first, exits = predict(net, IMAGES, 0.0)
    torch.testing.assert_close(first, logits[:, 0])
    assert exits.tolist() == [1] * 4
    full, exits = predict(net, IMAGES, NEVER)
    torch.testing.assert_close(full, logits.mean(1))
    assert exits.tolist() == [3] * 4
    macs = exit_macs(net, IMAGES[:1])
    nonzero, _ = cost.inference_macs(net, IMAGES[:1])
    assert macs[0] < macs[1] < macs[2] == nonzero


def test_the_last_exit_is_the_plain_network() -> None:
    net = made()
    features = net.stem(IMAGES)
    for stage in net.stages:
        features = stage(features)
    torch.testing.assert_close(net(IMAGES)[:, -1], net.head(features))
