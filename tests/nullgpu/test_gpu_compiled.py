"""Fast modes compile what the loss calls, each method's in one piece, and PyTorch's code for it."""

import functools
from typing import Any

import pytest
import torch
from device import Kind, counts, each, reset
from stepping import TRAINED, Stepping, run_of

# Compiling to kernels takes half a minute a network, so two methods stand for all.
TO_KERNELS = ("single", "nfe")


def compiled(method: str, backend: str) -> dict[str, Any]:
    """Return how many graphs three steps compile, where they break, and what is launched then."""
    from torch._dynamo.utils import counters  # Imports the compiler.

    torch._dynamo.reset()
    counters.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
        stepping = Stepping(run_of(method, "bfloat16-fast"))
        stepping.take(2)  # The first step's multiply-adds are counted, uncompiled.
    reset()
    stepping.take()
    return {
        "graphs": counters["stats"]["unique_graphs"],
        "breaks": dict(counters["graph_break"]),
        "kernels": counts(Kind.LAUNCH)["compiled kernel"] + counts(Kind.GRAPH).total(),
    }


@pytest.mark.parametrize("method", TRAINED)
def test_every_method_is_compiled_without_a_break(method: str) -> None:
    found = each(compiled, TRAINED, "eager")[method].get()
    assert found["graphs"] > 0
    assert found["breaks"] == {}


@pytest.mark.parametrize("method", TO_KERNELS)
def test_kernels_are_generated_and_launched(method: str) -> None:
    found = each(compiled, TO_KERNELS, "inductor")[method].get()
    assert found["graphs"] > 0
    assert found["breaks"] == {}
    assert found["kernels"] > 0
