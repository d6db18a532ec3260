"""From a run's specification to the files it leaves behind.

A finished run is a folder with config.json (its identity), metrics.json, timing.json (how
long, on what, with which code), history.csv and per_image.npz, plus two artifacts,
model.safetensors and predictions.npz. metrics.json is written last: where it stands, the run
is complete.
"""

import datetime
import gc
import logging
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nfe import data as datasets
from nfe.common.errors import CollapseError, DivergenceError, InputError, Interrupted
from nfe.common.files import (
    alone,
    discard_unfinished,
    make_directory,
    read_json,
    write_csv,
    write_json,
    write_npz,
)
from nfe.common.precision import default_device, prepare_process
from nfe.data import Card, Data, bundle
from nfe.data.scratch import stage
from nfe.engine import checkpoint, loading
from nfe.engine.environment import device_name, environment
from nfe.engine.trainer import Trainer
from nfe.evaluation import cost, early_exit_curve
from nfe.evaluation import metrics as evaluation
from nfe.suite.outputs import RESULT_FILES
from nfe.suite.run import Run

_log = logging.getLogger(__name__)

PREDICTIONS = ("test_logits", "test_labels", "heldout_logits", "heldout_labels")


@dataclass
class Worker:
    """Where runs are made and what they share.

    Attributes:
        device: where networks train.
        data_root: folder of prepared data.
        checkpoint_seconds: seconds between saved states.
        scratch: folder on this machine's own disk to load data from; None to load in place.
        bundle: file with the images of the runs (see ``datasets.bundle``) in place of a root.
        at_once: how many runs share the device, for the record: ``train_seconds`` is theirs.
        trains: whether it may train; else it combines what is trained.
    """

    device: torch.device = field(default_factory=default_device)
    data_root: Path | None = None
    checkpoint_seconds: float = 300.0
    scratch: Path | None = None
    bundle: Path | None = None
    at_once: int = 1
    trains: bool = True
    _data: dict[Card, Data] = field(default_factory=dict)

    def data(self, run: Run) -> Data:
        """Return the run's data on the device, loaded once."""
        if run.card not in self._data:
            self._data = {run.card: self._loaded(run.card).to(self.device)}
        return self._data[run.card]

    def spent(self, seconds: float | None) -> dict[str, Any]:
        """Return how long training took here, on what, and beside how many others."""
        return {
            "train_seconds": None if seconds is None else round(seconds, 3),
            "device": device_name(self.device),
            **({"runs_at_once": self.at_once} if self.at_once > 1 else {}),
        }

    def _loaded(self, card: Card) -> Data:
        if self.bundle is not None:
            return bundle.load(self.bundle, card)
        root = self.data_root
        if self.scratch is not None:
            root = stage(datasets.whole(card), root, self.scratch)
        return datasets.load(card, root)


@dataclass(frozen=True)
class RunFolders:
    """The folders of one run's results and artifacts, and where its members' folders are.

    Attributes:
        output: folder of the result files.
        artifacts: folder of weights and predictions.
        members: folder in which each member has its own ``RunFolders``, by name.
        member_artifacts: likewise for the members' artifacts.
    """

    output: Path
    artifacts: Path
    members: Path
    member_artifacts: Path

    @classmethod
    def under(cls, root: Path, suite: str, run: Run) -> "RunFolders":
        """Return where a suite's run stands under ``root``: in results/ and artifacts/."""
        runs, artifacts = root / "results" / suite / "runs", root / "artifacts" / suite
        return cls(runs / run.name, artifacts / run.name, runs, artifacts)

    def member(self, run: Run) -> "RunFolders":
        """Return the place of a member run."""
        return RunFolders(
            self.members / run.name,
            self.member_artifacts / run.name,
            self.members,
            self.member_artifacts,
        )


def is_complete(run: Run, output: Path) -> bool:
    """Return whether the run's results stand in ``output``.

    Raises:
        InputError: the folder holds another run.
    """
    config = output / "config.json"
    if config.exists() and read_json(config) != run.identity():
        raise InputError(f"{output}: holds another run (see config.json): choose another folder")
    return all((output / name).exists() for name in RESULT_FILES)


def execute(run: Run, folders: RunFolders, worker: Worker, predictions: bool = False) -> None:
    """Make the run, or what is missing of it; nothing happens where it is complete.

    Args:
        run: the run.
        folders: its folders.
        worker: where it is made.
        predictions: make the run again where its predictions are not at hand.

    Raises:
        InputError: the folder cannot be used or the run cannot be built.
        DivergenceError: loss or logits are not finite; failure.json says where.
        Interrupted: the process was asked to stop.
        OSError: a file cannot be written.
        Exception: any other error, also in failure.json.
    """
    make_directory(folders.output)
    with alone(folders.output):
        for folder in (folders.output, folders.artifacts):
            discard_unfinished(folder)
        stored = not predictions or _readable(folders.artifacts / "predictions.npz")
        if is_complete(run, folders.output) and stored:
            _log.info("%s: complete", run.name)
        else:
            _make(run, folders, worker)
        (folders.output / "failure.json").unlink(missing_ok=True)
        shutil.rmtree(folders.output / ".state", ignore_errors=True)


def _make(run: Run, folders: RunFolders, worker: Worker) -> None:
    if not (worker.trains or run.members()):
        raise InputError(_untrained(run, folders))
    run.check_makeable()
    prepare_process(run.threads, run.precision)
    make_directory(folders.artifacts)
    for stale in folders.output.glob("evaluation*.json"):
        stale.unlink()
    config = folders.output / "config.json"
    begun = config.exists()
    write_json(config, run.identity())
    try:
        if run.members():
            _combine(run, folders, worker)
        else:
            _train(run, folders, worker)
    except CollapseError as error:
        _log.warning("%s: collapsed: %s", run.name, error)
        _write_collapsed(run, folders, worker, str(error))
    except InputError:
        if not begun:
            config.unlink()
        raise
    except DivergenceError as error:
        _record_failure(folders, str(error))
        raise DivergenceError(f"{run.name}: {error}") from None
    except (Interrupted, OSError):
        raise
    except Exception as error:
        _record_failure(folders, _last_line(error))
        raise


def _untrained(run: Run, folders: RunFolders) -> str:
    """Return what is to be done about a run that would have to be trained to be combined."""
    return (
        f"{run.name} has no predictions in {folders.artifacts}, and what combines runs trains "
        f"none: allowed: dvc pull, or without {folders.output / 'metrics.json'} it is made again"
    )


def _last_line(error: Exception) -> str:
    """Return the last line of an error's traceback, the first one of a long message."""
    return f"{type(error).__name__}: {error}".splitlines()[0].strip()


def _record_failure(folders: RunFolders, reason: str) -> None:
    write_json(folders.output / "failure.json", {"status": "failed", "reason": reason})


def attempt(run: Run, folders: RunFolders, worker: Worker) -> bool:
    """Make a run among others; whatever goes wrong is logged and stands in its failure.json.

    Returns:
        Whether the run is complete.

    Raises:
        Interrupted: the process was asked to stop.
    """
    try:
        execute(run, folders, worker)
    except Interrupted:
        raise
    except DivergenceError as error:
        _log.error("%s", error)
    except (InputError, OSError) as error:
        _log.error("%s: %s", run.name, error)
        _record_refusal(run, folders, error)
    except Exception:
        _log.exception("%s: failed", run.name)
    else:
        return True
    # What a run that ran out of memory still holds would be missing in the next one.
    gc.collect()
    torch.cuda.empty_cache()
    return False


def _record_refusal(run: Run, folders: RunFolders, error: Exception) -> None:
    """Write why a run could not be made, where its folder can be written and is no other run's."""
    config = folders.output / "config.json"
    try:
        if not config.exists() or read_json(config) == run.identity():
            make_directory(folders.output)
            _record_failure(
                folders, _last_line(error) if isinstance(error, OSError) else str(error)
            )
    except (InputError, OSError) as reason:
        _log.error("%s: no failure.json: %s", run.name, reason)


def _train(run: Run, folders: RunFolders, worker: Worker) -> None:
    data = worker.data(run)
    trainer = Trainer(run, data, folders.output / ".state", worker.checkpoint_seconds)
    with trainer.stoppable():
        _train_and_write(trainer, run, folders, worker)


def _train_and_write(trainer: Trainer, run: Run, folders: RunFolders, worker: Worker) -> None:
    data = trainer.data
    trained = trainer.train()
    predictions = {
        "test_logits": trainer.predict(data.test),
        "test_labels": data.test.labels.cpu().numpy(),
        "heldout_logits": trainer.predict(data.heldout),
        "heldout_labels": data.heldout.labels.cpu().numpy(),
    }
    image = trainer.example_image()
    costs: dict[str, Any] = cost.inference(trained.network, image)
    costs["train_macs"] = trained.train_macs
    if exits := loading.exit_macs(run, trained.network, image):
        costs["exit_macs"] = exits
    live = loading.live_weights(run, trained.network, image)
    if live is not None:
        costs["live_weights"] = live
    checkpoint.save_weights(folders.artifacts / "model.safetensors", trained.network, run.digest)
    spent = {**worker.spent(trained.seconds), **_moved(trained.devices)}
    _write(run, folders, worker, predictions, costs, trained.history, spent)


def _moved(devices: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Return what the record says of a run that went on on another model of device."""
    if len(devices) == 1:
        return {}
    return {
        "device": " and ".join(dict.fromkeys(name for name, _ in devices)),
        "devices": [{"device": name, "first_step": step} for name, step in devices],
        "byte_identical": False,
    }


def _combine(run: Run, folders: RunFolders, worker: Worker) -> None:
    """Make a run whose members are runs of their own, training those that are missing."""
    metrics, timings, stored = [], [], []
    for member in run.members():
        at = folders.member(member)
        execute(member, at, worker, predictions=True)
        stored.append(_read_predictions(at.artifacts / "predictions.npz"))
        metrics.append(read_json(at.output / "metrics.json"))
        timings.append(read_json(at.output / "timing.json"))
    predictions = dict(stored[0])
    for split in ("test", "heldout"):
        key = f"{split}_logits"
        predictions[key] = np.concatenate([member[key] for member in stored], axis=1)
    names = ("parameters", "nonzero_parameters", "macs_nonzero", "macs_dense", "train_macs")
    costs = {name: sum(member[name] for member in metrics) for name in names}
    costs["member_runs"] = [member.name for member in run.members()]
    _write(run, folders, worker, predictions, costs, [], _spent_by(timings))


def _spent_by(members: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what training took that others have done: where it is combined does not matter."""
    devices = dict.fromkeys(timing["device"] for timing in members)
    at_once = max(timing.get("runs_at_once", 1) for timing in members)
    moved = len(devices) > 1 or any("byte_identical" in timing for timing in members)
    return {
        "train_seconds": round(sum(timing["train_seconds"] for timing in members), 3),
        "device": " and ".join(devices),
        **({"runs_at_once": at_once} if at_once > 1 else {}),
        **({"byte_identical": False} if moved else {}),
    }


def _readable(path: Path) -> bool:
    """Return whether predictions stand there, whole; a warning says so where they do not."""
    try:
        _read_predictions(path)
    except FileNotFoundError:
        _log.info("%s: no predictions at hand", path)
    except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile, zlib.error) as error:
        _log.warning("%s: unusable predictions, the run is made again: %s", path, error)
    else:
        return True
    return False


def _read_predictions(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in PREDICTIONS}


def _write(
    run: Run,
    folders: RunFolders,
    worker: Worker,
    predictions: dict[str, Any],
    costs: dict[str, Any],
    history: list[dict[str, Any]],
    spent: dict[str, Any],
) -> None:
    combine = run.build_method().combine
    metrics = {"status": "ok", **evaluation.test_scores(predictions, combine), **costs}
    metrics |= evaluation.heldout_scores(predictions, combine)
    metrics |= early_exit_curve.scores(predictions, costs)
    write_npz(folders.artifacts / "predictions.npz", predictions)
    per_image = evaluation.per_image(
        predictions["test_logits"], predictions["test_labels"], combine
    )
    _write_results(folders, worker, metrics, per_image, history, spent)


def _write_collapsed(run: Run, folders: RunFolders, worker: Worker, reason: str) -> None:
    metrics = {"status": "collapsed", "reason": reason}
    _write_results(folders, worker, metrics, {}, [], worker.spent(None))


def _write_results(
    folders: RunFolders,
    worker: Worker,
    metrics: dict[str, Any],
    per_image: dict[str, Any],
    history: list[dict[str, Any]],
    spent: dict[str, Any],
) -> None:
    timing = {
        **spent,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "environment": environment(worker.device),
    }
    columns = list(history[0]) if history else ["epoch"]
    write_csv(folders.output / "history.csv", columns, history)
    write_npz(folders.output / "per_image.npz", per_image)
    write_json(folders.output / "timing.json", timing)
    write_json(folders.output / "metrics.json", metrics)
