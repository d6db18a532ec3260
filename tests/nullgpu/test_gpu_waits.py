"""In training Python does not wait for the GPU; in evaluation nothing is drawn there."""

import pytest
from device import Kind, counts, each, reset, waits
from stepping import TRAINED, Stepping, run_of

from nfe.engine import inference
from nfe.engine.trainer import READ_EVERY

WATCHED = 30
# Words in the names of PyTorch's kernels that draw.
DRAWING = ("distribution", "dropout", "philox", "randperm")


def waits_in_steps(method: str, precision: str) -> dict[str, int]:
    stepping = Stepping(run_of(method, precision))
    stepping.take(READ_EVERY)  # The last of them reads the losses, as is meant.
    with waits() as found:
        stepping.take(WATCHED)
    return dict(found)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("method", TRAINED)
def test_no_step_waits(method: str, precision: str) -> None:
    assert each(waits_in_steps, TRAINED, precision)[method].get() == {}


def drawn_in_evaluation(method: str) -> dict[str, int]:
    stepping = Stepping(run_of(method, "bfloat16"))
    stepping.take()
    reset()
    trainer = stepping.trainer
    inference.predict(trainer.network, trainer.data.card, trainer.data.heldout)
    launched = counts(Kind.LAUNCH)
    assert launched
    return {name: n for name, n in launched.items() if any(word in name for word in DRAWING)}


@pytest.mark.parametrize("method", TRAINED)
def test_an_evaluation_draws_nothing_on_the_gpu(method: str) -> None:
    assert each(drawn_in_evaluation, TRAINED)[method].get() == {}
