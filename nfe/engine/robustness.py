"""A finished run beyond clean accuracy: one small file for each question, beside its metrics.

``evaluation.json``: selective prediction and temperature scaling, from predictions alone.
``evaluation-ood-NAME.json``: detection of images of no known class. ``evaluation-
corruptions.json``: eight corruptions at five severities. Each is complete or absent, so that a
suite can ask for more later and makes nothing twice.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from nfe.common.errors import InputError
from nfe.common.files import alone, read_json, read_npz, write_json
from nfe.common.precision import prepare_process
from nfe.data import Split, outliers
from nfe.engine import inference
from nfe.engine.prediction import networks
from nfe.engine.runner import RunFolders, Worker
from nfe.evaluation import metrics as evaluation
from nfe.evaluation import uncertainty
from nfe.evaluation.metrics import Array, Combine
from nfe.suite.outputs import CLEAN, CORRUPTIONS, evaluation_files, ood_set
from nfe.suite.run import Run

_log = logging.getLogger(__name__)


def evaluate(
    run: Run, folders: RunFolders, worker: Worker, ood: Sequence[str] = (), corrupted: bool = False
) -> None:
    """Write what is missing of a finished run's evaluation.

    Args:
        run: the run.
        folders: its folders.
        worker: where data are and on what device networks run.
        ood: names of out-of-distribution sets, see ``outliers.load``.
        corrupted: evaluate the corrupted test images, too.

    Raises:
        InputError: the run is not finished; a set does not fit it; data are not prepared; or
            neither predictions nor weights are at hand.
    """
    for name in ood:
        outliers.check(run.card, name)
    wanted = [n for n in evaluation_files(ood, corrupted) if not (folders.output / n).exists()]
    if not wanted:
        _log.info("%s: evaluated", run.name)
        return
    metrics = folders.output / "metrics.json"
    if not metrics.exists():
        raise InputError(f"{folders.output}: the run is not finished")
    prepare_process(run.threads, "float32")
    status = read_json(metrics)["status"]
    work = _Evaluation(run, folders, worker)
    with alone(folders.output):
        for name in wanted:
            made = work.make(name) if status == "ok" else {}
            write_json(folders.output / name, {"status": status, **made})
            _log.info("%s: %s", run.name, name)


def content(run: Run, folders: RunFolders, worker: Worker, name: str) -> dict[str, Any]:
    """Return what an evaluation file of a run that did not collapse should hold.

    Raises:
        InputError: data, or both predictions and weights, are not at hand.
    """
    return {"status": "ok", **_Evaluation(run, folders, worker).make(name)}


class _Evaluation:
    def __init__(self, run: Run, folders: RunFolders, worker: Worker) -> None:
        self.run, self.folders, self.worker = run, folders, worker
        self.combine: Combine = run.build_method().combine
        self.stored: dict[str, Any] = {}

    def make(self, file: str) -> dict[str, Any]:
        """Return the content of one file."""
        if file == CLEAN:
            return clean(self._predictions(), self.combine)
        if file == CORRUPTIONS:
            return self._corruptions()
        images = outliers.load(self.run.card, ood_set(file), self.worker.data_root)
        inside = self._predictions()["test_logits"]
        return detection(inside, self._logits([images])[0], self.combine)

    def _predictions(self) -> dict[str, Any]:
        """Return the stored predictions, or those of the weights where they are not at hand."""
        path = self.folders.artifacts / "predictions.npz"
        if not self.stored and path.exists():
            self.stored = read_npz(path)
        if not self.stored:
            data = self.worker.data(self.run)
            test, heldout = self._logits([data.test, data.heldout])
            self.stored = {
                "test_logits": test,
                "test_labels": data.test.labels.cpu().numpy(),
                "heldout_logits": heldout,
                "heldout_labels": data.heldout.labels.cpu().numpy(),
            }
        return self.stored

    def _logits(self, splits: Sequence[Split]) -> list[Array]:
        """Return the logits of each split, (images, members, classes)."""
        device, card = self.worker.device, self.run.card
        members = [
            [inference.predict(network, card, split.to(device)) for split in splits]
            for network in networks(self.run, self.folders, device)
        ]
        return [np.concatenate(parts, axis=1) for parts in zip(*members, strict=True)]

    def _corruptions(self) -> dict[str, Any]:
        # torchvision's operations take seconds to import.
        from nfe.data import corruptions

        card, root = self.run.card, self.worker.data_root
        severities = range(1, corruptions.SEVERITIES + 1)
        found = {}
        for kind in corruptions.kinds(card):
            splits = [corruptions.load(card, kind, severity, root) for severity in severities]
            found[kind] = [
                _scores(logits, split.labels.numpy(), self.combine)
                for logits, split in zip(self._logits(splits), splits, strict=True)
            ]
        return {"corruptions": found}


def _scores(logits: Array, labels: Array, combine: Combine) -> dict[str, float]:
    log_probabilities = evaluation.combined_log_probabilities(logits, combine)
    return {
        "accuracy": evaluation.accuracy(log_probabilities, labels),
        "nll": evaluation.nll(log_probabilities, labels),
        "ece": evaluation.ece(log_probabilities, labels),
    }


def clean(predictions: dict[str, Any], combine: Combine) -> dict[str, float]:
    """Return what follows from a run's predictions alone.

    ``aurc``: selective prediction by the largest probability; ``temperature``: fitted on
    held-out images; ``nll_scaled`` and ``ece_scaled``: the test images' at that temperature.
    """
    labels = predictions["test_labels"]
    test, heldout = (
        evaluation.combined_log_probabilities(predictions[f"{split}_logits"], combine)
        for split in ("test", "heldout")
    )
    temperature = uncertainty.fit_temperature(heldout, predictions["heldout_labels"])
    scaled = uncertainty.scaled(test, temperature)
    return {
        "aurc": uncertainty.aurc(-test.max(axis=-1), test.argmax(axis=-1) == labels),
        "temperature": temperature,
        "nll_scaled": evaluation.nll(scaled, labels),
        "ece_scaled": evaluation.ece(scaled, labels),
    }


def detection(inside: Array, outside: Array, combine: Combine) -> dict[str, Any]:
    """Return AUROC and FPR95 of each score, and how many images were outside."""
    pairs = [uncertainty.scores(logits, combine) for logits in (inside, outside)]
    return {
        "images": len(outside),
        "scores": {
            name: {
                "auroc": uncertainty.auroc(pairs[0][name], pairs[1][name]),
                "fpr95": uncertainty.fpr95(pairs[0][name], pairs[1][name]),
            }
            for name in pairs[0]
        },
    }
