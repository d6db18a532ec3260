"""The library on CUDA tensors: every pruning with every way of dividing weights."""

from typing import Any

import pytest
import torch
from device import each
from torch import Tensor

from nfe import fission, pruning
from nfe.backbones import architecture
from nfe.splitting import early_exit, grouping

PRUNINGS = ("none", "random", "erk", "magnitude", "snip", "grasp", "synflow")
DIVISIONS = ("tensor weight", "stage kernel", "tensor 2:4", "stage output_filter")
CASES = tuple(f"{pruned} {division}" for pruned in PRUNINGS for division in DIVISIONS)
PIXELS, CLASSES, IMAGES = 16, 10, 20


def blind(patch: pytest.MonkeyPatch) -> None:
    """Pass over what depends on values: all that the null GPU returns is zeros."""
    truth = Tensor.__bool__
    patch.setattr(Tensor, "__bool__", lambda x: True if x.is_cuda else truth(x))
    patch.setattr(torch, "isnan", lambda x: torch.zeros(x.shape, dtype=torch.bool))
    patch.setattr(grouping, "_check_alive", lambda *_: None)


def backbone() -> torch.nn.Module:
    return architecture("wrn-10-1").build(channels=3, classes=CLASSES, resolution=PIXELS)


def divided(case: str, mode: str) -> list[Any]:
    torch.set_deterministic_debug_mode(mode)
    pruned, grouped, granularity = case.split()
    images = torch.randn(IMAGES, 3, PIXELS, PIXELS, device="cuda")
    labels = torch.arange(IMAGES, device="cuda") % CLASSES
    with pytest.MonkeyPatch.context() as patch:
        blind(patch)
        network = fission(
            backbone().cuda(),
            2,
            sparsity=0.0 if pruned == "none" else 0.5,
            pruning=pruned,
            grouping=grouped,
            granularity=granularity,
            example=(images, labels),
        )
    logits = network(images)
    logits.sum().backward()
    grounded = [p.grad is not None and p.grad.is_cuda for p in network.parameters()]
    return [list(logits.shape), logits.device.type, all(grounded)]


def test_these_are_all_prunings() -> None:
    assert set(PRUNINGS) == {"none", *pruning.PRUNERS}


@pytest.mark.parametrize("mode", ["default", "error"])
@pytest.mark.parametrize("case", CASES)
def test_a_network_is_divided_on_the_gpu(case: str, mode: str) -> None:
    assert each(divided, CASES, mode)[case].get() == [[IMAGES, 2, CLASSES], "cuda", True]


def stops(threshold: str) -> list[str]:
    network = fission(backbone(), 2).cuda().eval()
    images = torch.randn(4, 3, PIXELS, PIXELS, device="cuda")
    return [x.device.type for x in early_exit.predict(network, images, float(threshold))]


def test_an_early_exit_stays_on_the_gpu() -> None:
    """How many images stop where depends on values, which the null GPU does not have."""
    assert each(stops, ("0.5",))["0.5"].get() == ["cuda", "cuda"]
