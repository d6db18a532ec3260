"""Networks of patches learn: one network and NFE, on digits, with their family's recipe."""

import pytest

from nfe import data as datasets
from nfe.common.precision import prepare_process
from nfe.engine.trainer import Trainer
from nfe.suite.run import specify

# With the least accuracy on 97 held-out images, in percent: by chance 10, with deviation 3.
CASES = [
    ("vit-tiny-4", "single", 4, 30.0),
    ("vit-tiny-4", "nfe", 4, 30.0),
    ("convnext-atto-1", "single", 3, 60.0),
    ("convnext-atto-1", "nfe", 3, 60.0),
]


@pytest.mark.parametrize(("architecture", "method", "epochs", "least"), CASES)
def test_they_learn_digits(architecture: str, method: str, epochs: int, least: float) -> None:
    run = specify(
        dataset="digits",
        architecture_name=architecture,
        method=method,
        epochs=epochs,
        recipe={"batch_size": 25, "warmup": 1},
    )
    prepare_process(1, run.precision)
    trainer = Trainer(run, datasets.load(run.card, None))
    *_, last = trainer.train().history
    assert last["heldout_accuracy"] > least
