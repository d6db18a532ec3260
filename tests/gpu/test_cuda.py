"""On a real GPU: recorded steps, resumed runs and repeated runs give the same bits.

In parallel (``pytest -n 16 tests/gpu``) in less than a minute; skipped where there is no GPU, or
only one that computes nothing.
"""

import itertools
from functools import cache
from pathlib import Path

import pytest
import torch

from nfe.common.errors import InputError
from nfe.common.precision import prepare_process
from nfe.data import Data
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.engine.throughput import Meter
from nfe.engine.trainer import Trained, Trainer
from nfe.method import method_names, settings_class
from nfe.method.settings import combined_method
from nfe.suite.run import Run, specify


def _missing() -> str:
    if not torch.cuda.is_available():
        return "no CUDA device"
    name = torch.cuda.get_device_name()
    return f"{name} computes nothing" if name.startswith("Null") else ""


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing() or "a GPU is there")

TRAINED = [name for name in method_names() if combined_method(settings_class(name)) is None]
# Of 30 steps; behind the first recording, before the last phase of those that have phases.
STOP = 9
# Scaled losses, where the gradients' check and the scale are recorded, too.
CASES = [(*case, "wrn-10-1") for case in itertools.product(TRAINED, ("float32", "bfloat16"))]
CASES += [(method, "float16", "wrn-10-1") for method in ("single", "local_critic", "dst")]
# AdamW, with its warm-up, whose moments are part of what is saved.
CASES += [
    (method, "bfloat16", architecture)
    for method in ("single", "nfe", "mimo", "swag", "laplace")
    for architecture in ("vit-tiny-2", "convnext-atto-1")
]

ARCHITECTURES = ("wrn-10-1", "resnet18", "vgg16", "vit-tiny-4", "convnext-atto-2")
# vgg16's large head, above 64 pixels, holds 100 million weights: of two methods only.
BUILT = [(m, a, 32) for m in TRAINED for a in ARCHITECTURES]
BUILT += [(m, "vgg16", 96) for m in ("single", "nfe")]


@cache
def worker() -> Worker:
    return Worker(torch.device("cuda", 0))


def specified(method: str, precision: str, architecture: str = "wrn-10-1") -> Run:
    prepare_process(1, precision)
    return specify(
        dataset="digits",
        architecture_name=architecture,
        method=method,
        epochs=2,
        precision=precision,
        recipe={"batch_size": 30},
    )


def data_of(run: Run) -> Data:
    return worker().data(run)


def check_same(one: Trained, other: Trained) -> None:
    assert one.history == other.history
    assert one.train_macs == other.train_macs
    theirs = other.network.state_dict()
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize(("method", "precision", "architecture"), CASES)
def test_recorded_and_resumed_steps_give_the_bits_of_direct_ones(
    method: str, precision: str, architecture: str, tmp_path: Path
) -> None:
    run = specified(method, precision, architecture)
    recorded, direct = Trainer(run, data_of(run)), Trainer(run, data_of(run), record=False)
    calm = recorded.train()
    assert recorded._recorder is not None
    # A last phase of a step or two is not recorded any more.
    assert recorded._recorder.recordings
    assert direct._recorder is None
    assert all(p.isfinite().all() for p in calm.network.parameters())
    check_same(calm, direct.train())

    stopped = Trainer(run, data_of(run), tmp_path, checkpoint_seconds=0)
    stopped.network.train()
    for number, images, labels in itertools.islice(stopped.batches.epoch(0), STOP):
        stopped.step(images, labels)
        stopped.progress.batch = number + 1
    assert {loss.dtype for loss, _, _ in stopped._unread} == {torch.float32}
    stopped._pause()
    check_same(calm, Trainer(run, data_of(run), tmp_path).train())


@pytest.mark.parametrize(("method", "architecture", "pixels"), BUILT)
def test_nothing_is_refused_in_deterministic_mode(
    method: str, architecture: str, pixels: int
) -> None:
    try:
        run = specified(method, "float32", architecture)
        meter = Meter(run, 12, pixels, warm_up=5)
    except InputError as error:
        pytest.skip(str(error))
    assert torch.get_deterministic_debug_mode() == 2
    assert all(p.isfinite().all() for p in meter.trainer.network.parameters())


@pytest.mark.parametrize("method", ["nfe", "mc_dropout", "mixmo"])
def test_two_runs_leave_the_same_files(method: str, tmp_path: Path) -> None:
    run = specified(method, "bfloat16")
    for name in ("a", "b"):
        folders = RunFolders(tmp_path / name, tmp_path / name, tmp_path, tmp_path)
        execute(run, folders, worker())
    for name in ("metrics.json", "history.csv", "per_image.npz", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
