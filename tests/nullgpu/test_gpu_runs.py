"""Every method in every precision on the null GPU: trained, interrupted, resumed, evaluated."""

import re
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from device import Kind, counts, each
from stepping import METHODS, TRAINED, run_of

from nfe.common.errors import Interrupted
from nfe.common.modes import PRECISIONS
from nfe.common.precision import prepare_process
from nfe.engine import inference, latency, loading
from nfe.engine.batches import Normalizer
from nfe.engine.prediction import networks
from nfe.engine.runner import RunFolders, Worker, execute, is_complete
from nfe.engine.trainer import Trainer
from nfe.evaluation import cost
from nfe.suite.run import Run

STOP_AFTER = 3
# What a function is called that returns or does something: a stub, which does nothing, is not
# enough where PyTorch calls it.
DOING = re.compile(
    r"(?!cudaGetLastError)\w*(Create|Get|Alloc|Query|Launch|Memcpy|Memset|Gemm|gemm|Forward|Backward)"
)


def stopped(run: Run, state: Path, worker: Worker) -> None:
    """Train until a signal comes, a few steps later."""
    trainer = Trainer(run, worker.data(run), state)
    step = trainer.step

    def counted(images: torch.Tensor, labels: torch.Tensor) -> None:
        step(images, labels)
        if trainer.progress.step == STOP_AFTER:
            signal.raise_signal(signal.SIGTERM)

    trainer.step = counted  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match="state saved"), trainer.stoppable():
        trainer.train()


def end_to_end(method: str, precision: str) -> dict[str, Any]:
    run, worker = run_of(method, precision, epochs=2), Worker()
    assert worker.device.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        folders = RunFolders(root / "run", root / "run", root, root)
        if method in TRAINED:
            prepare_process(1, precision)
            stopped(run, folders.output / ".state", worker)
        execute(run, folders, worker)
        for network in networks(run, folders, worker.device):
            examine(run, network, worker)
        latency.measure([run], root / "latency", worker)
        return {
            "complete": is_complete(run, folders.output),
            "latency": len(list((root / "latency").iterdir())),
            "too idle": [name for name in counts(Kind.IDLE) if DOING.match(name)],
        }


def examine(run: Run, network: torch.nn.Module, worker: Worker) -> None:
    """Do with a trained network what evaluations do."""
    data = worker.data(run)
    inference.predict(network, data.card, data.test)
    image = Normalizer(data.card, worker.device)(data.test.images[:1])
    cost.inference(network, image)
    cost.hardware_macs(network, image)
    loading.exit_macs(run, network, image)


@pytest.mark.parametrize("precision", [name for name in PRECISIONS if not PRECISIONS[name].fast])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_interrupted_resumed_and_finished(method: str, precision: str) -> None:
    found = each(end_to_end, METHODS, precision)[method].get()
    assert found == {"complete": True, "latency": 1, "too idle": []}
