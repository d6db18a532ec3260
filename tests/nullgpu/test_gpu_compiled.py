"""Fast modes compile what the loss calls, each method's in one piece, and PyTorch's code for it."""

import functools
from typing import Any, cast

import pytest
import torch
from device import Kind, counts, each, reset
from stepping import TRAINED, Stepping, run_of

from nfe.method import SequentialMembers

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


# Members in turn that are built alike.
IN_TURN = ("dst", "edst", "prune_and_tune", "snapshot", "subnetwork_ensemble", "swag")


def graphs_of_members(method: str) -> dict[str, Any]:
    """Return how many graphs the members of a run compile, one after the other."""
    from torch._dynamo.utils import counters  # Imports the compiler.

    torch._dynamo.reset()
    counters.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
        stepping = Stepping(run_of(method, "bfloat16-fast"))
    trainer = stepping.trainer
    members = cast(SequentialMembers, trainer.network)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trainer.method), "before_step", lambda *_: None)
        for number in range(len(members.members)):
            members.active = number
            stepping.take(2)
    return {"members": len(members.members), "graphs": counters["stats"]["unique_graphs"]}


@pytest.mark.parametrize("method", IN_TURN)
def test_members_in_turn_share_a_graph(method: str) -> None:
    found = each(graphs_of_members, IN_TURN)[method].get()
    assert found["members"] > 1
    assert found["graphs"] == 1


@pytest.mark.parametrize("method", TO_KERNELS)
def test_kernels_are_generated_and_launched(method: str) -> None:
    found = each(compiled, TO_KERNELS, "inductor")[method].get()
    assert found["graphs"] > 0
    assert found["breaks"] == {}
    assert found["kernels"] > 0
