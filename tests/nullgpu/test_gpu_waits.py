"""Python never waits for the GPU between two readings of the losses, nor draws there to evaluate."""

from typing import Any

import pytest
import torch
from device import each, waits
from stepping import READ_EVERY, TRAINED, run_of, steps

from nfe.engine import evaluation

WATCHED = 30


def waits_in_steps(method: str, precision: str) -> dict[str, int]:
    stepping = steps(run_of(method, precision))
    for _ in range(READ_EVERY):  # The last of them reads.
        next(stepping)
    with waits() as found:
        for _ in range(WATCHED):
            next(stepping)
    return dict(found)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("method", TRAINED)
def test_no_step_waits(method: str, precision: str) -> None:
    assert each(waits_in_steps, TRAINED, precision)[method].get() == {}


def generators_moved(method: str) -> dict[str, Any]:
    trainer = next(steps(run_of(method, "bfloat16")))
    offset = torch.cuda.default_generators[0].get_offset()
    evaluation.predict(trainer.network, trainer.data.card, trainer.data.heldout)
    return {"moved": torch.cuda.default_generators[0].get_offset() - offset}


@pytest.mark.parametrize("method", TRAINED)
def test_an_evaluation_draws_nothing_on_the_gpu(method: str) -> None:
    assert each(generators_moved, TRAINED)[method].get() == {"moved": 0}
