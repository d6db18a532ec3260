"""A run that goes on on another model of device: what is recorded of it."""

import json
from pathlib import Path

import pytest
import torch

from nfe import data as datasets
from nfe.engine import checkpoint, runner, trainer
from nfe.engine.checkpoint import Progress
from nfe.engine.environment import device_name
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.engine.trainer import Trainer
from nfe.suite.run import Run, specify

HERE, OTHER = device_name(torch.device("cpu")), "NVIDIA A100-SXM4-80GB"


@pytest.fixture
def run() -> Run:
    return specify(dataset="digits", architecture_name="wrn-10-1", method="single", epochs=1)


@pytest.fixture
def folders(tmp_path: Path, run: Run) -> RunFolders:
    """A run's folders with a saved state of its last step but one."""
    places = RunFolders.under(tmp_path, "moved", run)
    state = places.output / ".state"
    made = Trainer(run, datasets.load(run.card), state, checkpoint_seconds=0).train()
    assert made.devices == [(HERE, 0)]
    newest, *_ = sorted(state.iterdir(), reverse=True)
    newest.unlink()
    return places


def timing(folders: RunFolders) -> dict:
    return json.loads((folders.output / "timing.json").read_text())


def test_each_part_s_device_stands_in_the_record(run, folders, monkeypatch, caplog):
    monkeypatch.setattr(trainer, "device_name", lambda device: OTHER)
    execute(run, folders, Worker(device=torch.device("cpu")))
    found = timing(folders)
    first, second = found["devices"]
    assert first == {"device": HERE, "first_step": 0}
    assert second["device"] == OTHER
    assert second["first_step"] > 0
    assert found["device"] == f"{HERE} and {OTHER}"
    assert found["byte_identical"] is False
    assert "no longer those of a run on one model of device" in caplog.text


def test_the_same_model_is_one_device(run, folders, caplog):
    caplog.set_level("INFO")
    execute(run, folders, Worker(device=torch.device("cpu")))
    assert "resumed from epoch" in caplog.text
    assert timing(folders)["device"] == HERE
    assert not {"devices", "byte_identical"} & set(timing(folders))


def ensemble() -> Run:
    settings = {"members": 2}
    return specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method="deep_ensemble",
        settings=settings,
        epochs=1,
    )


def test_members_of_several_models_of_device_are_not_one_s_either(tmp_path, monkeypatch):
    both = ensemble()
    places = RunFolders.under(tmp_path, "moved", both)
    worker = Worker(device=torch.device("cpu"))
    execute(both.members()[0], places.member(both.members()[0]), worker, predictions=True)
    monkeypatch.setattr(runner, "device_name", lambda device: OTHER)
    monkeypatch.setattr(trainer, "device_name", lambda device: OTHER)
    execute(both, places, worker)
    assert timing(places)["device"] == f"{HERE} and {OTHER}"
    assert timing(places)["byte_identical"] is False


def test_members_of_one_model_of_device_are(tmp_path):
    both = ensemble()
    places = RunFolders.under(tmp_path, "still", both)
    execute(both, places, Worker(device=torch.device("cpu")))
    assert timing(places)["device"] == HERE
    assert "byte_identical" not in timing(places)


def test_a_state_that_tells_no_device_is_taken_up(run, tmp_path):
    data = datasets.load(run.card)
    begun = Trainer(run, data)
    state = tmp_path / "state"
    checkpoint.save(state, run.digest, begun.network, begun.optimizer, Progress())
    assert Trainer(run, data, state).train().devices == [(HERE, 0)]
