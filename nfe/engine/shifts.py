"""A finished run beyond clean accuracy: one small file for each question, beside its metrics.

``evaluation.json``: selective prediction and temperature scaling, from predictions alone.
``evaluation-ood-NAME.json``: detection of images of no known class. ``evaluation-
corruptions.json``: eight corruptions at five severities. Each is complete or absent, so that a
suite can ask for more later and makes nothing twice.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nfe.engine import evaluation, uncertainty
from nfe.engine.datasets import Split, corruptions, outliers
from nfe.engine.errors import InputError
from nfe.engine.evaluation import Array, Combine
from nfe.engine.execution import Place, Workplace
from nfe.engine.files import alone, read_json, read_npz, write_json
from nfe.engine.precision import prepare_process
from nfe.engine.prediction import networks
from nfe.engine.run import Run

_log = logging.getLogger(__name__)

CLEAN = "evaluation.json"
CORRUPTIONS = "evaluation-corruptions.json"
OOD = "evaluation-ood-{}.json"


def file_names(ood: Sequence[str] = (), corrupted: bool = False) -> list[str]:
    """Return the names of the files that an evaluation consists of."""
    return [CLEAN, *(OOD.format(name) for name in ood), *([CORRUPTIONS] if corrupted else [])]


def evaluate(
    run: Run, place: Place, workplace: Workplace, ood: Sequence[str] = (), corrupted: bool = False
) -> None:
    """Write what is missing of a finished run's evaluation.

    Args:
        run: the run.
        place: its folders.
        workplace: where data are and on what device networks run.
        ood: names of out-of-distribution sets, see ``outliers.load``.
        corrupted: evaluate the corrupted test images, too.

    Raises:
        InputError: the run is not finished; a set does not fit it; data are not prepared; or
            neither predictions nor weights are at hand.
    """
    for name in ood:
        outliers.check(run.card, name)
    wanted = [n for n in file_names(ood, corrupted) if not (place.output / n).exists()]
    if not wanted:
        _log.info("%s: evaluated", run.name)
        return
    metrics = place.output / "metrics.json"
    if not metrics.exists():
        raise InputError(f"{place.output}: the run is not finished")
    prepare_process(run.threads, "float32")
    status = read_json(metrics)["status"]
    with alone(place.output):
        for name in wanted:
            made = _Evaluation(run, place, workplace).make(name) if status == "ok" else {}
            write_json(place.output / name, {"status": status, **made})
            _log.info("%s: %s", run.name, name)


class _Evaluation:
    def __init__(self, run: Run, place: Place, workplace: Workplace) -> None:
        self.run, self.place, self.workplace = run, place, workplace
        self.combine: Combine = run.build_method().combine

    def make(self, file: str) -> dict[str, Any]:
        """Return the content of one file."""
        if file == CLEAN:
            return clean(self._predictions(), self.combine)
        if file == CORRUPTIONS:
            return self._corruptions()
        name = next(n for n in outliers.names() if OOD.format(n) == file)
        images = outliers.load(self.run.card, name, self.workplace.data_root)
        inside = self._predictions()["test_logits"]
        return detection(inside, self._logits([images])[0], self.combine)

    def _predictions(self) -> dict[str, Any]:
        """Return the stored predictions, or those of the weights where they are not at hand."""
        path = self.place.artifacts / "predictions.npz"
        if path.exists():
            return read_npz(path)
        data = self.workplace.data(self.run)
        found: dict[str, Any] = {}
        logits = self._logits([data.test, data.heldout])
        for name, split, made in zip(("test", "heldout"), (data.test, data.heldout), logits, strict=True):
            found |= {f"{name}_logits": made, f"{name}_labels": split.labels.cpu().numpy()}
        return found

    def _logits(self, splits: Sequence[Split]) -> list[Array]:
        """Return the logits of each split, (images, members, classes)."""
        device, card = self.workplace.device, self.run.card
        members = [
            [evaluation.predict(network, card, split.to(device)) for split in splits]
            for network in networks(self.run, self.place, device)
        ]
        return [np.concatenate(parts, axis=1) for parts in zip(*members, strict=True)]

    def _corruptions(self) -> dict[str, Any]:
        card, root = self.run.card, self.workplace.data_root
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


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the evaluation files of a run's folder by name."""
    return {path.name: read_json(path) for path in sorted(folder.glob("evaluation*.json"))}
