"""Runs that are killed, starved of disk, or handed damaged and malicious state."""

import hashlib
import os
import pickle
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import same_files
from processes import PATIENCE, Life, kill, resumed_step, states, unfinished

from nfe import data as datasets
from nfe.common.errors import InputError, Interrupted
from nfe.engine import checkpoint
from nfe.engine.checkpoint import Progress
from nfe.engine.trainer import Trainer
from nfe.suite.run import specify

KILLS = 20
EPOCHS = 20
# Of tests that kill a run once, or let it end: long enough to be met in its midst.
FEW = 8
STEPS = 15 * EPOCHS
IDENTICAL = ("config.json", "metrics.json", "history.csv", "per_image.npz", "model.safetensors")
ARGUMENTS = ("train", "--dataset", "digits", "--architecture", "wrn-10-1", "--method", "nfe")
SETTINGS = ("--set", "exits=2", "sparsity=0.5", "pruning=snip")


def live(output: Path, *more: str, epochs: int = FEW, said: Path | None = None) -> Life:
    """Start, or start again, the run that all of these tests make; ``said`` is its log."""
    said = said or output.with_name(f"{output.name}.log")
    length = ("--epochs", str(epochs))
    return Life(said, *ARGUMENTS, *SETTINGS, *length, "--output", str(output), *more)


def uninterrupted(output: Path, epochs: int) -> Path:
    """Make the run in one go."""
    life = live(output, epochs=epochs)
    assert life.end() == 0, life.said
    return output


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The run, uninterrupted."""
    return uninterrupted(tmp_path_factory.mktemp("unbreakable") / "calm", FEW)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """The same of many epochs, uninterrupted."""
    return uninterrupted(tmp_path_factory.mktemp("unbreakable") / "long", EPOCHS)


def interrupted(output: Path) -> None:
    """Begin the run and kill it when it has two states."""
    life = live(output, "--checkpoint-seconds", "0")
    assert life.wait_for(lambda: len(states(output)) == 2), life.said
    life.stop()
    life.end()


def test_a_run_killed_at_20_moments_ends_with_the_same_bytes(long, tmp_path):
    output, draws = tmp_path / "run", random.Random(0)
    resumed, inside, startup = [], 0, 0.0
    for number in range(KILLS):
        life = live(output, "--checkpoint-seconds", "0", epochs=EPOCHS)
        if number == 0:
            # The first life says how long a start takes here; moments are drawn on that scale.
            assert life.wait_for(lambda: bool(states(output))), life.said
            startup = time.monotonic() - life.started
        saving = number % 4 == 3
        # An unfinished file of the life before would be taken for one of this life.
        if saving:
            for path in unfinished(output):
                path.unlink()
        kill(life, output, draws, 4 * startup, STEPS // KILLS - 2, saving)
        resumed.append(resumed_step(life.said))
        inside += bool(unfinished(output))
        assert len(states(output)) <= 3
    life = live(output, epochs=EPOCHS)
    assert life.end() == 0, life.said
    resumed.append(resumed_step(life.said))
    assert same_files(long, output, IDENTICAL)
    assert sum(step > 0 for step in resumed) > KILLS / 2, resumed
    assert len(set(resumed)) > KILLS / 4, resumed
    assert inside >= KILLS / 5, inside
    assert {p.name for p in output.iterdir()} == {p.name for p in long.iterdir()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_within_ten_seconds(calm, tmp_path, number):
    output = tmp_path / "run"
    life = live(output)  # no state is due for minutes
    assert life.wait_for(lambda: "epoch 2/" in life.said), life.said
    sent = time.monotonic()
    life.stop(number)
    assert life.end() == 75, life.said
    assert time.monotonic() - sent < 10
    assert len(states(output)) == 1
    life = live(output)
    assert life.end() == 0, life.said
    assert resumed_step(life.said) > 0
    assert same_files(calm, output, IDENTICAL)


def test_a_signal_during_evaluation_saves_too(tmp_path, monkeypatch):
    run = specify(dataset="digits", architecture_name="wrn-10-1", method="single", epochs=2)
    data = datasets.load(run.card)
    calm = Trainer(run, data).train()
    stopped, finish_epoch = Trainer(run, data, tmp_path), Trainer._finish_epoch

    def asked(trainer, rate):
        os.kill(os.getpid(), signal.SIGTERM)
        finish_epoch(trainer, rate)

    monkeypatch.setattr(Trainer, "_finish_epoch", asked)
    with pytest.raises(Interrupted, match="state saved"), stopped.stoppable():
        stopped.train()
    monkeypatch.undo()
    assert (stopped.progress.epoch, stopped.progress.batch) == (0, stopped.batches.per_epoch)
    again = Trainer(run, data, tmp_path)
    continued = again.train()
    assert continued.history == calm.history
    for a, b in zip(calm.network.parameters(), continued.network.parameters(), strict=True):
        assert torch.equal(a, b)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def _put(folder: Path, step: int, content: bytes) -> Path:
    """Put a file among the states that has the name of a sound one."""
    checksum = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"step-{step:09d}-{checksum}.safetensors"
    path.write_bytes(content)
    return path


def _replace_by_another_runs(path: Path) -> None:
    network, optimizer = _trainable()
    path.unlink()
    checkpoint.save(path.parent / "elsewhere", "another", network, optimizer, Progress(step=10**8))
    for foreign in (path.parent / "elsewhere").iterdir():
        foreign.rename(path.parent / foreign.name)


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip_a_bit, _replace_by_another_runs])
def test_a_damaged_state_gives_way_to_the_one_before(calm, tmp_path, damage):
    output = tmp_path / "run"
    interrupted(output)
    older, newest = states(output)
    damage(newest)
    life = live(output)
    assert life.end() == 0, life.said
    assert "unusable state removed" in life.said
    assert resumed_step(life.said) == int(older.name.split("-")[1])
    assert same_files(calm, output, IDENTICAL)


def test_without_any_sound_state_the_run_begins_again(calm, tmp_path):
    output = tmp_path / "run"
    interrupted(output)
    for path in states(output):
        _truncate(path)
    life = live(output)
    assert life.end() == 0, life.said
    assert life.said.count("unusable state removed") == 2
    assert "resumed" not in life.said
    assert same_files(calm, output, IDENTICAL)


def _trainable():
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return network, optimizer


def test_damaged_states_do_not_crowd_out_sound_ones(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, "run", *_trainable(), Progress(step=step))
    for step in (10, 11):
        _put(tmp_path, step, b"damaged")
    assert checkpoint.restore(tmp_path, "run", *_trainable()).step == 2
    checkpoint.save(tmp_path, "run", *_trainable(), Progress(step=3))
    assert checkpoint.restore(tmp_path, "run", *_trainable()).step == 3


def test_a_state_that_does_not_fit_leaves_the_network_untouched(tmp_path):
    other = torch.nn.Sequential(torch.nn.Linear(3, 2))
    checkpoint.save(tmp_path, "run", other, torch.optim.SGD(other.parameters()), Progress(step=1))
    wide = torch.nn.Linear(4, 2)
    checkpoint.save(tmp_path, "run", wide, torch.optim.SGD(wide.parameters()), Progress(step=2))
    network, optimizer = _trainable()
    before = [p.clone() for p in network.parameters()]
    assert checkpoint.restore(tmp_path, "run", network, optimizer) is None
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


class Malicious:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self):
        return Path.touch, (self._proof,)


def _pickled(proof: Path, kind: str) -> bytes:
    if kind == "pickle":
        return pickle.dumps({"network.bias": Malicious(proof)})
    path = proof.with_name("malicious.pt")
    torch.save({"network.bias": Malicious(proof)}, path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_malicious_files_are_refused_and_nothing_runs(tmp_path, caplog, kind):
    proof = tmp_path / "executed"
    content = _pickled(proof, kind)
    state = tmp_path / "state"
    state.mkdir()
    _put(state, 7, content)
    assert checkpoint.restore(state, "run", *_trainable()) is None
    assert "unusable state removed" in caplog.text
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(content)
    with pytest.raises(InputError, match="not the weights"):
        checkpoint.load_weights(weights, _trainable()[0])
    assert not proof.exists()
    pickle.loads(pickle.dumps(Malicious(proof)))
    assert proof.exists()  # so it would have


@pytest.mark.parametrize("how", ["missing", "truncated", "malicious"])
def test_a_members_unusable_predictions_are_made_again(tmp_path, how):
    output, proof = tmp_path / "run", tmp_path / "executed"
    arguments = (*ARGUMENTS[:-1], "deep_ensemble", "--set", "members=2", "--epochs", "1")
    first = Life(tmp_path / "log", *arguments, "--output", str(output))
    assert first.end() == 0, first.said
    before = (output / "metrics.json").read_bytes()
    (output / "metrics.json").unlink()
    path = next(output.glob("members/*/predictions.npz"))
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        _truncate(path)
    else:
        np.savez(path, test_logits=np.array([Malicious(proof)], dtype=object))
    again = Life(tmp_path / "log", *arguments, "--output", str(output))
    assert again.end() == 0, again.said
    assert ("unusable predictions" in again.said) == (how != "missing")
    assert (output / "metrics.json").read_bytes() == before
    assert not list(output.rglob(".state"))
    assert not proof.exists()


def test_the_second_process_waits_and_finds_the_run_done(long, tmp_path):
    output = tmp_path / "run"
    first = live(output, epochs=EPOCHS)
    assert first.wait_for(lambda: "epoch 1/" in first.said), first.said
    second = live(output, epochs=EPOCHS, said=tmp_path / "second.log")
    assert second.wait_for(lambda: "waiting for it" in second.said), second.said
    assert (first.end(), second.end()) == (0, 0), first.said + second.said
    assert "complete" in second.said
    assert "epoch 1/" not in second.said
    assert same_files(long, output, IDENTICAL)
    assert not (output / ".lock").exists()


def test_a_waiting_process_takes_over_from_a_killed_one(long, tmp_path):
    output = tmp_path / "run"
    first = live(output, "--checkpoint-seconds", "0", epochs=EPOCHS)
    assert first.wait_for(lambda: "epoch 1/" in first.said), first.said
    second = live(output, epochs=EPOCHS, said=tmp_path / "second.log")
    assert second.wait_for(lambda: "waiting for it" in second.said), second.said
    first.stop()
    assert second.end() == 0, second.said
    assert resumed_step(second.said) > 0
    assert same_files(long, output, IDENTICAL)


@pytest.fixture
def small_disk(tmp_path):
    """A disk that holds one state of the run but not two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if (
        not shutil.which("mount")
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting a small disk is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=PATIENCE)


def test_a_full_disk_fails_cleanly_and_the_run_continues_after(calm, small_disk, tmp_path):
    output = small_disk / "run"
    life = live(output, "--checkpoint-seconds", "0", said=tmp_path / "log")
    assert life.end() == 1, life.said
    assert "No space left on device" in life.said.splitlines()[-1]
    assert "Traceback" not in life.said
    assert len(states(output)) == 1
    assert unfinished(output) == []
    assert not (output / "metrics.json").exists()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    life = live(output, "--checkpoint-seconds", "0", said=tmp_path / "log")
    assert life.end() == 0, life.said
    assert resumed_step(life.said) > 0
    assert same_files(calm, output, IDENTICAL)
