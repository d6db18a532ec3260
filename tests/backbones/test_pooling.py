"""Adaptive average pooling with a gradient in a fixed order, against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nfe.backbones.pooling import DeterministicAvgPool2d, _Pool


@pytest.mark.parametrize("sides", [(1, 1), (2, 3), (3, 3), (7, 7), (8, 8), (14, 9), (5, 16)])
@pytest.mark.parametrize("size", [(7, 7), (1, 1), (3, 5)])
def test_outputs_and_gradients_are_pytorchs(sides: tuple[int, int], size: tuple[int, int]) -> None:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *sides, generator=draws, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, *size, generator=draws, dtype=torch.float64)
    expected = F.adaptive_avg_pool2d(x, size)
    found = _Pool.apply(x, size)
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_the_gradient_of_bfloat16_maps_is_summed_in_float32() -> None:
    x = torch.ones(1, 1, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    weights = torch.full((1, 1, 7, 7), 1 + 2**-7, dtype=torch.bfloat16)
    _Pool.apply(x, 7).backward(weights)
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    # Four of seven windows cover a side's first pixel, one of them by half: 3.5 of 7 each way.
    assert (x.grad == torch.tensor(3.5**2 * (1 + 2**-7)).bfloat16()).all()


def test_on_a_cpu_it_is_pytorchs_layer() -> None:
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(DeterministicAvgPool2d(7)(x), nn.AdaptiveAvgPool2d(7)(x))
