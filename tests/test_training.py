"""Training in real processes: repeatable, resumable, honest about failure."""

import json
import os
import signal
import time

import numpy as np
import pytest
import torch
from conftest import finish, same_files, start

from nfe.engine import checkpoint
from nfe.engine.checkpoint import Progress
from nfe.engine.errors import DivergenceError, Interrupted
from nfe.engine.execution import Workplace
from nfe.engine.run import specify
from nfe.engine.training import Trainer

IDENTICAL = ("metrics.json", "history.csv", "per_image.npz", "config.json", "model.safetensors")
SPLIT = ("--set", "exits=2", "sparsity=0.5", "pruning=snip")


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """An uninterrupted run to compare with."""
    output = tmp_path_factory.mktemp("calm")
    arguments = ["--dataset", "digits", "--architecture", "wrn-10-1", "--method", "nfe"]
    finish(start("train", *arguments, *SPLIT, "--epochs", "12", "--output", str(output)))
    return output


def test_two_runs_of_one_configuration_are_bit_identical(calm, train, tmp_path):
    finish(train(tmp_path, "nfe", *SPLIT, epochs=12))
    assert same_files(calm, tmp_path, IDENTICAL)


def test_a_finished_run_leaves_its_files_and_is_not_repeated(calm, train):
    names = {p.name for p in calm.iterdir()}
    assert names == {*IDENTICAL, "timing.json", "predictions.npz"}
    before = (calm / "timing.json").read_bytes()
    assert "complete" in finish(train(calm, "nfe", *SPLIT, epochs=12))
    assert (calm / "timing.json").read_bytes() == before
    metrics = json.loads((calm / "metrics.json").read_text())
    assert metrics["accuracy"] > 75
    assert metrics["accuracy"] == pytest.approx(
        100 * np.load(calm / "per_image.npz")["correct"].mean()
    )


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_continues_to_the_same_bits(calm, train, tmp_path, stop):
    process = train(tmp_path, "nfe", *SPLIT, "--checkpoint-seconds", "0.05", epochs=12)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / ".state").glob("step-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(stop)
    process.communicate(timeout=60)
    assert process.returncode == (75 if stop == signal.SIGTERM else -signal.SIGKILL)
    assert not (tmp_path / "metrics.json").exists()
    said = finish(train(tmp_path, "nfe", *SPLIT, epochs=12))
    assert "resumed from epoch" in said
    assert "step 0" not in said.split("resumed from", 1)[1].splitlines()[0]
    assert same_files(calm, tmp_path, IDENTICAL)
    assert not (tmp_path / ".state").exists()


def _trainer(state):
    run = specify(dataset="digits", architecture_name="wrn-10-1", method="single", epochs=2)
    return Trainer(run, Workplace(torch.device("cpu")).data(run), state)


def test_a_stop_request_behind_the_last_step_is_not_lost(tmp_path, monkeypatch):
    stopped = _trainer(tmp_path)

    def curve(name, split):
        if stopped.progress.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return Trainer._curve(stopped, name, split)

    monkeypatch.setattr(stopped, "_curve", curve)
    with pytest.raises(Interrupted, match="state saved"):
        stopped.train()
    again, straight = _trainer(tmp_path).train(), _trainer(None).train()
    assert again.history == straight.history
    weights = again.network.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in straight.network.state_dict().items())


def test_logits_that_overflow_are_a_divergence_with_epoch_and_step():
    trainer = _trainer(None)
    trainer.progress.step = 7
    for parameter in trainer.network.parameters():
        parameter.data.mul_(1e12)
    with pytest.raises(DivergenceError, match=r"not finite in epoch 1, after step 7"):
        trainer.predict(trainer.data.heldout)


def test_a_diverging_run_fails_without_metrics_and_says_where(train, tmp_path):
    said = finish(train(tmp_path, "single", "--recipe", "lr=1e18"), expected=1)
    assert "the loss is nan in epoch 1, step" in said
    assert not (tmp_path / "metrics.json").exists()
    assert json.loads((tmp_path / "failure.json").read_text())["status"] == "failed"


def test_a_collapsed_run_is_recorded_with_its_layer(train, tmp_path):
    arguments = ("--set", "exits=3", "sparsity=0.999", "pruning=random")
    said = finish(train(tmp_path, "nfe", *arguments), expected=2)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["status"] == "collapsed"
    assert metrics["reason"] in said
    assert "layer '" in metrics["reason"]


def test_another_run_is_refused_in_the_same_folder(calm, train):
    said = finish(train(calm, "single"), expected=2)
    assert "holds another run" in said
    assert "Traceback" not in said


def test_a_deep_ensemble_by_hand_trains_its_members(train, tmp_path):
    finish(train(tmp_path, "deep_ensemble", "--set", "members=2", epochs=2))
    ensemble = json.loads((tmp_path / "metrics.json").read_text())
    stored = [np.load(p / "predictions.npz") for p in sorted((tmp_path / "members").iterdir())]
    members = [
        json.loads((tmp_path / "members" / n / "metrics.json").read_text())
        for n in ensemble["member_runs"]
    ]
    assert len(members) == ensemble["members"] == 2
    assert ensemble["train_macs"] == sum(m["train_macs"] for m in members)
    probabilities = sum(
        torch.from_numpy(s["test_logits"].astype(np.float64)).softmax(-1)[:, 0] for s in stored
    )
    correct = probabilities.argmax(-1).numpy() == stored[0]["test_labels"]
    assert ensemble["accuracy"] == pytest.approx(100 * correct.mean())


def _trainable():
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return network, optimizer


def test_a_damaged_state_is_passed_over_for_the_one_before(tmp_path, caplog):
    network, optimizer = _trainable()
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, "run", network, optimizer, Progress(step=step))
    states = sorted(tmp_path.glob("step-*"))
    assert len(states) == 2
    states[-1].write_bytes(states[-1].read_bytes()[:-10])
    restored = checkpoint.restore(tmp_path, "run", *_trainable())
    assert restored is not None
    assert restored.step == 2
    assert states[-1].name in caplog.text


def test_a_state_of_another_run_is_not_used(tmp_path, caplog):
    checkpoint.save(tmp_path, "run", *_trainable(), Progress(step=1))
    assert checkpoint.restore(tmp_path, "other", *_trainable()) is None
    assert "another run" in caplog.text


def test_a_state_brings_back_weights_and_momentum(tmp_path):
    network, optimizer = _trainable()
    checkpoint.save(tmp_path, "run", network, optimizer, Progress(step=4, loss_sum=0.1))
    other, its_optimizer = _trainable()
    restored = checkpoint.restore(tmp_path, "run", other, its_optimizer)
    assert restored == Progress(step=4, loss_sum=0.1)
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        first, second = optimizer.state[a], its_optimizer.state[b]
        assert torch.equal(first["momentum_buffer"], second["momentum_buffer"])
