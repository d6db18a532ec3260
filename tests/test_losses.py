"""The loss against PyTorch's own functions, written out exit by exit."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dense_reference import dense_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nfe.common.errors import InputError
from nfe.common.precision import InPrecision
from nfe.losses import ensemble_distillation, fission_loss
from nfe.method import method_class


@settings(deadline=None)
@given(
    batch=st.integers(1, 5),
    exits=st.integers(1, 4),
    classes=st.integers(2, 6),
    temperature=st.floats(0.5, 10),
    seed=st.integers(0, 999),
)
def test_loss_equals_the_sum_over_exits(batch, exits, classes, temperature, seed):
    draws = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(batch, exits, classes, generator=draws, dtype=torch.float64)
    labels = torch.randint(classes, (batch,), generator=draws)
    expected = dense_loss(logits, labels, temperature)
    torch.testing.assert_close(fission_loss(logits, labels, temperature), expected)


def test_the_teacher_gets_no_gradient():
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    ensemble_distillation(logits, 3.0).backward()
    teacher = torch.softmax(logits.detach().mean(dim=1, keepdim=True) / 3, dim=-1)
    student = torch.softmax(logits.detach() / 3, dim=-1)
    # T² · d KL(p ‖ softmax(z / T)) / dz = T · (softmax(z / T) − p), batch mean.
    torch.testing.assert_close(logits.grad, 3 * (student - teacher) / 3)


def test_equal_exits_leave_the_cross_entropy_alone():
    logits = torch.randn(4, 1, 5).expand(4, 3, 5)
    labels = torch.tensor([0, 1, 2, 3])
    assert ensemble_distillation(logits, 3.0).item() == pytest.approx(0, abs=1e-5)
    expected = 3 * F.cross_entropy(logits[:, 0], labels)
    torch.testing.assert_close(fission_loss(logits, labels, weight=0.0), expected)


def test_gradients_pass_a_finite_difference_check():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([1, 3])
    fixed = logits.detach().mean(dim=1, keepdim=True) / 3

    def with_fixed_teacher(z):
        teacher = torch.softmax(fixed, dim=-1).expand(2, 3, 4)
        divergence = F.kl_div(F.log_softmax(z / 3, -1), teacher, reduction="sum") / 2
        ce = sum(F.cross_entropy(z[:, k], labels) for k in range(3))
        return ce + 9 * divergence

    assert torch.autograd.gradcheck(with_fixed_teacher, logits)
    (expected,) = torch.autograd.grad(with_fixed_teacher(logits), logits)
    (found,) = torch.autograd.grad(fission_loss(logits, labels), logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["nfe", "sembg", "exit_ensemble_distillation", "beed"])
def test_losses_of_bfloat16_networks_are_computed_in_float32(name: str) -> None:
    """The gradient at bfloat16 logits is that of float32 arithmetic, but for its own rounding."""
    method = method_class(name)()
    draws = torch.Generator().manual_seed(0)
    shared = 3 * torch.randn(64, 1, 20, generator=draws)
    logits = (shared + 0.3 * torch.randn(64, 3, 20, generator=draws)).bfloat16()
    maps = [m.bfloat16() for m in torch.randn(3, 64, 8, 2, 2, generator=draws)]
    labels = torch.arange(64) % 20

    class Network(torch.nn.Module):
        def __init__(self, logits: Tensor) -> None:
            super().__init__()
            self.outputs = logits.detach().clone().requires_grad_()

        def forward(self, _: Tensor, features: bool = False) -> Any:
            made = [m.to(self.outputs.dtype) for m in maps]
            return (self.outputs, made) if features else self.outputs

    low, high = Network(logits), Network(logits.float())
    loss, _ = method.loss(InPrecision(low, "bfloat16"), labels, labels)
    loss.backward()
    expected, _ = method.loss(high, labels, labels)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    error = (low.outputs.grad.float() - high.outputs.grad).norm() / high.outputs.grad.norm()
    assert error < 4e-3


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_soft_targets_are_the_mixture_of_the_losses(weight: float) -> None:
    """As mixup writes it: λ · loss(labels) + (1 − λ) · loss(other labels)."""
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, 5, generator=draws, dtype=torch.float64)
    one, other = torch.arange(6) % 5, (torch.arange(6) + 2) % 5
    soft = 0.7 * F.one_hot(one, 5) + 0.3 * F.one_hot(other, 5)
    parts = [fission_loss(logits, labels, weight=weight) for labels in (one, other)]
    expected = 0.7 * parts[0] + 0.3 * parts[1]
    for dtype in (torch.float32, torch.float64):
        found = fission_loss(logits, soft.to(dtype), weight=weight)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_whole_numbers_of_any_kind_are_labels() -> None:
    logits, labels = torch.randn(4, 2, 3), torch.tensor([0, 2, 1, 1])
    expected = fission_loss(logits, labels)
    for dtype in (torch.int32, torch.int16, torch.uint8):
        assert torch.equal(fission_loss(logits, labels.to(dtype)), expected)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ((4, 2, 3), torch.zeros(4), r"labels \(4,\) torch.float32 beside logits \(4, 2, 3\)"),
        ((4, 2, 3), torch.zeros(4, 2, 3), r"shares of the classes \(batch, classes\)"),
        ((4, 2, 3), torch.zeros(4, 3).long(), r"whole numbers \(batch,\)"),
        ((4, 2, 3), torch.zeros(5).long(), r"labels \(5,\)"),
        ((4, 3), torch.zeros(4).long(), r"logits are \(4, 3\): allowed: \(batch, exits"),
    ],
)
def test_targets_that_do_not_fit_are_refused(
    logits: tuple[int, ...], labels: Tensor, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fission_loss(torch.zeros(logits), labels)
