"""Multiply-adds of grouped convolutions, backward pass included, against the loops written out."""

import pytest
import torch
from torch import nn

from nfe.common.macs import MacCounter


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("input_gradient", [True, False])
def test_convolution(groups: int, stride: int, input_gradient: bool) -> None:
    layer = nn.Conv2d(8, 12, 3, stride, padding=1, groups=groups, bias=False)
    images = torch.randn(2, 8, 6, 6, requires_grad=input_gradient)
    forward = 2 * 12 * (6 // stride) ** 2 * (8 // groups) * 9
    with MacCounter() as counter:
        layer(images).sum().backward()
    assert counter.executed == forward * (3 if input_gradient else 2)


def test_transposed_convolution() -> None:
    layer = nn.ConvTranspose2d(8, 12, 3, stride=2, groups=2, bias=False)
    with MacCounter() as counter:
        layer(torch.randn(2, 8, 6, 6)).sum().backward()
    assert counter.executed == 2 * (2 * 8 * 36 * 6 * 9)
