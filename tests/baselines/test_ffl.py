"""FFL: the fusion module and its place, who teaches whom, and when."""

import math

import pytest
import torch
import torch.nn.functional as F
from rivals import context, method, network, unsettle_norms
from torch import Tensor, nn

from baselines.ffl import FusedBranches
from baselines.shared.distillation import divergence
from nfe.common.precision import InPrecision
from nfe.engine.trainer import make_optimizer
from nfe.method import Recipe, Step

TIGHT = {"atol": 1e-5, "rtol": 1e-5}
IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 3, 1, 4])


def kl(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """As defined, probability by probability."""
    p, q = ((z / temperature).softmax(-1) for z in (teacher.detach(), student))
    return temperature**2 * (p * (p / q).log()).sum(-1).mean()


def test_divergence_by_hand() -> None:
    # softmax of (0, 2 ln 3) at T = 2 is (1/4, 3/4), of zeros (1/2, 1/2).
    teacher = torch.tensor([[0.0, 2 * math.log(3)]], dtype=torch.float64, requires_grad=True)
    student = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    found = divergence(teacher, student, 2.0)
    assert found.item() == pytest.approx(4 * (0.25 * math.log(0.5) + 0.75 * math.log(1.5)))
    found.backward()
    assert teacher.grad is None
    # T · (q − p), the mean over one image.
    torch.testing.assert_close(student.grad, torch.tensor([[0.5, -0.5]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("backbone", "shared"), [("wrn-10-2", 2), ("wrn-10-2", 0), ("resnet18", 3)]
)
@torch.no_grad()
def test_sub_networks_are_dense_networks(backbone: str, shared: int) -> None:
    made = network("ffl", backbone, shared=shared).eval()
    unsettle_norms(made)
    torch.manual_seed(0)
    for member in range(2):
        dense = context(backbone).backbone().eval()
        dense.stem.load_state_dict(made.branches.stem.state_dict())
        for number, stage in enumerate(dense.stages):
            own = made.branches.branches[member]
            source = made.branches.trunk[number] if number < shared else own[number - shared]
            stage.load_state_dict(source.state_dict())
        pooling = [isinstance(layer, nn.AdaptiveAvgPool2d) for layer in dense.head].index(True)
        for layer, source in zip(dense.head[:pooling], made.norms[member], strict=True):
            layer.load_state_dict(source.state_dict())
        dense.head[-1].load_state_dict(made.branches.heads[member][-1].state_dict())
        torch.testing.assert_close(made(IMAGES)[:, member], dense(IMAGES), **TIGHT)


@torch.no_grad()
def test_the_fused_classifier_sees_both_maps() -> None:
    """The module once more, channel by channel."""
    made = network("ffl").eval()
    unsettle_norms(made)
    depthwise, norm, _, pointwise, second, *_, linear = made.fusion
    maps = torch.cat(made.maps(IMAGES), dim=1)
    assert maps.shape == (4, 2 * 128, 4, 4)
    assert (maps >= 0).all()
    each = [
        F.conv2d(maps[:, c : c + 1], depthwise.weight[c : c + 1], padding=1)
        for c in range(maps.shape[1])
    ]
    hidden = F.relu(norm(torch.cat(each, dim=1)))
    mixed = torch.einsum("bchw,oc->bohw", hidden, pointwise.weight[:, :, 0, 0])
    pooled = F.relu(second(mixed)).mean(dim=(2, 3))
    torch.testing.assert_close(made(IMAGES)[:, 2], linear(pooled), **TIGHT)


@pytest.mark.parametrize("members", [3, 4])
def test_the_loss_is_the_sum_of_its_terms(members: int) -> None:
    chosen = method("ffl", members=members, distillation=0.7, temperature=2.0)
    made = network("ffl", members=members).eval()
    chosen.before_step(made, Step(13, 100, 10))
    loss, logits = chosen.loss(InPrecision(made, "float32"), IMAGES, LABELS)
    *own, fused = logits.unbind(1)
    terms = kl(torch.stack(own).mean(0), fused, 2.0) + sum(kl(fused, z, 2.0) for z in own)
    labels = sum(F.cross_entropy(z, LABELS) for z in logits.unbind(1))
    rise = math.exp(-5 * (1 - 0.1 / 0.2667) ** 2)
    torch.testing.assert_close(loss, labels + 0.7 * rise * terms, **TIGHT)


def test_teachers_get_no_gradient() -> None:
    """Each output's gradient is that of its own label and its own teacher alone."""
    chosen = method("ffl")
    logits = torch.randn(4, 3, 5).requires_grad_()
    found = torch.autograd.grad(chosen.mutual(logits), logits)[0]
    for member, teacher in enumerate([logits[:, 2], logits[:, 2], logits[:, :2].mean(1)]):
        own = logits[:, member].detach().requires_grad_()
        expected = torch.autograd.grad(kl(teacher, own, 3.0), own)[0]
        torch.testing.assert_close(found[:, member], expected, **TIGHT)


def test_distillation_rises_by_epochs_as_in_the_authors_code() -> None:
    """There over 80 epochs of 300, from exp(−5)."""
    chosen, made = method("ffl"), network("ffl")
    assert isinstance(made, FusedBranches)
    for epoch in (0, 1, 40, 79, 80, 299):
        for step in (4 * epoch, 4 * epoch + 3):
            chosen.before_step(made, Step(step, 1200, 4))
            expected = math.exp(-5 * (1 - min(epoch, 80) / 80) ** 2)
            assert made.rampup.item() == pytest.approx(expected, abs=2e-3)
    at_once = method("ffl", rampup=0)
    at_once.before_step(made, Step(0, 1200, 4))
    assert made.rampup.item() == 1
    assert "rampup" not in made.state_dict()


def test_the_fusion_module_decays_less() -> None:
    chosen, made = method("ffl"), network("ffl")
    groups = make_optimizer(chosen, made, Recipe(4, weight_decay=1e-4)).param_groups
    assert [group["weight_decay"] for group in groups] == pytest.approx([1e-4, 1e-5])
    assert set(groups[1]["params"]) == set(made.fusion.parameters())
