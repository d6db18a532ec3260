"""Training in real processes: repeatable, resumable, honest about failure."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import finish, same_files, start
from torch.amp.grad_scaler import GradScaler

from nfe import data as datasets
from nfe.common.errors import DivergenceError, InputError, Interrupted
from nfe.common.precision import default_device, fastest, usable_threads
from nfe.engine import checkpoint, inference
from nfe.engine.checkpoint import Progress
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.engine.trainer import Trainer
from nfe.evaluation import metrics as evaluation
from nfe.method import SGD
from nfe.suite.run import specify

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


def _trainer(state):
    run = specify(dataset="digits", architecture_name="wrn-10-1", method="single", epochs=2)
    return Trainer(run, Worker(torch.device("cpu")).data(run), state)


def test_a_stop_request_behind_the_last_step_is_not_lost(tmp_path, monkeypatch):
    stopped = _trainer(tmp_path)

    def curve(name, split):
        if stopped.progress.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return Trainer._curve(stopped, name, split)

    monkeypatch.setattr(stopped, "_curve", curve)
    with pytest.raises(Interrupted, match="state saved"), stopped.stoppable():
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
    said = r"not finite for 97 of 97 images in epoch 1, after step 7"
    with pytest.raises(DivergenceError, match=said):
        trainer.predict(trainer.data.heldout)
    # A curve only shows: it is never a reason to end a run.
    shown = trainer._curve("heldout", trainer.data.heldout)
    assert all(math.isnan(value) for value in shown.values())


def test_logits_too_large_for_float16_are_fine_in_a_curve_but_cannot_be_stored():
    """As in the first epochs of a ResNet18 on digits, whose norms have seen 15 steps."""
    trainer = _trainer(None)
    trainer.progress.step, split = 7, trainer.data.heldout
    plain = inference.outputs(trainer.network.eval(), trainer.data.card, split)
    linear = [m for m in trainer.network.modules() if isinstance(m, torch.nn.Linear)][-1]
    linear.weight.data.mul_(1e6)
    large = trainer._curve("heldout", split)
    # Without biases yet, larger logits are the same predictions.
    before, _ = evaluation.curve(plain, split.labels.numpy(), "logits")
    assert large["heldout_accuracy"] == pytest.approx(before, abs=2.5)
    assert math.isfinite(large["heldout_nll"])
    said = (
        r"the network's logits are as large as [0-9.e+]+: predictions are stored in float16, "
        r"which holds up to 65504 in epoch 1, after step 7"
    )
    with pytest.raises(DivergenceError, match=said):
        trainer.predict(split)


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


@pytest.mark.parametrize(("before", "now"), [(0, {}), (7, {"0": 7})])
def test_a_state_from_before_kinds_of_steps_is_taken_up(tmp_path, before, now):
    checkpoint.save(tmp_path, "run", *_trainable(), Progress(step=4, step_macs=before))
    assert checkpoint.restore(tmp_path, "run", *_trainable()).step_macs == now


@pytest.mark.parametrize("nesterov", [True, False])
def test_the_optimizer_is_pytorchs_bit_for_bit(nesterov):
    settings = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov, "weight_decay": 5e-4}
    draws = torch.Generator().manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(5, 3, generator=draws)) for _ in range(3)]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    groups = [({"params": p[:2]}, {"params": p[2:], "weight_decay": 0.0}) for p in (ours, theirs)]
    optimizers = SGD(groups[0], **settings), torch.optim.SGD(groups[1], fused=True, **settings)
    for rate in (0.1, 0.1, 0.02):
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = rate
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(5, 3, generator=draws)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for a, b in zip(ours, theirs, strict=True):
        buffers = (o.state[p]["momentum_buffer"] for o, p in zip(optimizers, (a, b), strict=True))
        assert torch.equal(*buffers)


def test_a_scaled_step_is_the_plain_one_or_none():
    settings = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    draws = torch.Generator().manual_seed(0)
    plain = [torch.nn.Parameter(torch.randn(5, 3, generator=draws)) for _ in range(2)]
    scaled = [torch.nn.Parameter(p.detach().clone()) for p in plain]
    groups = [[{"params": p[:1]}, {"params": p[1:], "algorithm": "adam"}] for p in (plain, scaled)]
    one, other = (SGD(group, **settings) for group in groups)
    scaler = GradScaler("cpu", init_scale=1024)
    for infinite in (True, False, False):
        for a, b in zip(plain, scaled, strict=True):
            a.grad = torch.randn(5, 3, generator=draws)
            b.grad = a.grad * scaler.get_scale()
        if infinite:
            scaled[0].grad[0, 0] = torch.inf
        else:
            one.step()
        scaler.scale(torch.zeros(()))
        scaler.step(other)
        scaler.update()
        assert all(torch.equal(a, b) for a, b in zip(plain, scaled, strict=True))
        assert infinite or all(
            torch.equal(a.grad, b.grad) for a, b in zip(plain, scaled, strict=True)
        )
    assert scaler.get_scale() == 512


def test_a_start_does_not_import_the_compiler():
    code = (
        "import sys; from nfe.cli.main import main; from nfe.engine import throughput; "
        "throughput.SECONDS = 0.0; main(sys.argv[1:]); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    arguments = ["benchmark", "--architecture", "wrn-10-1", "--method", "nfe", "--image", "8"]
    subprocess.run([sys.executable, "-c", code, *arguments, "--batch", "2"], check=True)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_trains_and_continues_to_the_same_bits(tmp_path, precision):
    run = specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method="single",
        epochs=3,
        precision=precision,
    )
    data = datasets.load(run.card)
    calm = Trainer(run, data).train()
    assert calm.history[-1]["train_loss"] < calm.history[0]["train_loss"]
    stopped = Trainer(run, data, tmp_path, checkpoint_seconds=0)
    for _, images, labels in itertools.islice(stopped.batches.epoch(0), 4):
        stopped.step(images, labels)
        stopped.progress.batch += 1
    stopped._pause()
    continued = Trainer(run, data, tmp_path).train()
    assert continued.history == calm.history
    for a, b in zip(calm.network.parameters(), continued.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_scale_too_large_is_lowered_and_no_step_is_lost_in_it(tmp_path):
    run = specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method="single",
        epochs=1,
        precision="float16",
    )
    trainer = Trainer(run, datasets.load(run.card), tmp_path)
    trainer._scaler = GradScaler("cpu", init_scale=1e30)
    before = [p.detach().clone() for p in trainer.network.parameters()]
    _, images, labels = next(trainer.batches.epoch(0))
    trainer.step(images, labels)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    trainer._save()
    again = Trainer(run, trainer.data, tmp_path)
    again._resume()
    assert again._scaler.get_scale() == trainer._scaler.get_scale() < 1e30


def test_losses_read_late_give_the_same_history_and_still_stop_a_diverging_run():
    run = specify(dataset="digits", architecture_name="wrn-10-1", method="single", epochs=2)
    data = datasets.load(run.card)
    now, late = Trainer(run, data), Trainer(run, data)
    late._read_every = 4
    assert now.train().history == late.train().history
    wild = specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method="single",
        epochs=1,
        recipe={"lr": 1e18},
    )
    messages = []
    for every in (1, 4):
        trainer = Trainer(wild, data)
        trainer._read_every = every
        with pytest.raises(DivergenceError) as raised:
            trainer.train()
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


def test_auto_is_resolved_before_a_run_is_specified(train, tmp_path):
    finish(train(tmp_path, "single", "--precision", "auto", "--threads", "auto", epochs=1))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["precision"] == fastest(default_device())
    assert config["threads"] == usable_threads()
    with pytest.raises(InputError, match="runs by hand"):
        specify(
            dataset="digits",
            architecture_name="wrn-10-1",
            method="single",
            epochs=1,
            precision="auto",
        )


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "bfloat16-fast"])
@pytest.mark.parametrize("method", ["single", "nfe"])
def test_training_on_a_gpu(method, precision, tmp_path):
    run = specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method=method,
        epochs=3,
        precision=precision,
    )
    folders = RunFolders(tmp_path / "a", tmp_path / "a", tmp_path, tmp_path)
    execute(run, folders, Worker())
    metrics = json.loads((folders.output / "metrics.json").read_text())
    assert metrics["accuracy"] > 50
    if not precision.endswith("-fast"):
        again = RunFolders(tmp_path / "b", tmp_path / "b", tmp_path, tmp_path)
        execute(run, again, Worker())
        assert same_files(folders.output, again.output, ("metrics.json", "model.safetensors"))
