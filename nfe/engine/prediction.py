"""What a finished run says of an image: classes, the members' votes, how sure it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from nfe.common.errors import InputError
from nfe.common.files import read_json
from nfe.common.precision import prepare_process
from nfe.data import Card, Split, image_files
from nfe.data.class_names import class_names
from nfe.engine import inference, loading
from nfe.engine.runner import RunFolders
from nfe.evaluation import metrics
from nfe.evaluation.metrics import Array
from nfe.evaluation.uncertainty import entropies
from nfe.suite.run import Run, from_identity


@dataclass(frozen=True)
class Prediction:
    """The prediction of one image.

    Attributes:
        names: the classes' names.
        probabilities: the ensemble's, by the method's own rule, (classes,).
        members: each member's probabilities, (members, classes); exits early to final.
    """

    names: tuple[str, ...]
    probabilities: Array
    members: Array

    def record(self, top: int) -> dict[str, Any]:
        """Return the ``top`` classes, votes and uncertainty as JSON values.

        ``entropy``: of the ensemble's probabilities, in nats. ``mutual_information``: entropy
        of the members' mean minus their mean entropy, in nats: how much members disagree.
        ``disagreement``: share of pairs of members that vote differently.

        Raises:
            InputError: ``top`` is no number of classes.
        """
        if not 1 <= top <= len(self.names):
            raise InputError(f"top is {top}: allowed: 1 to {len(self.names)}")
        best = np.argsort(-self.probabilities, kind="stable")[:top]
        votes = self.members.argmax(axis=-1)
        return {
            "classes": [
                {"class": self.names[i], "probability": float(self.probabilities[i])} for i in best
            ],
            "votes": [
                {"class": self.names[v], "probability": float(self.members[m, v])}
                for m, v in enumerate(votes)
            ],
            "entropy": _entropy(self.probabilities),
            "mutual_information": max(
                0.0, _entropy(self.members.mean(axis=0)) - float(np.mean(entropies(self.members)))
            ),
            "disagreement": metrics.vote_disagreement(votes[None]),
        }


def _entropy(probabilities: Array) -> float:
    return float(entropies(probabilities))


def find(run: str, root: Path) -> tuple[Run, RunFolders]:
    """Return a finished run and the place of its files.

    Args:
        run: a run's folder, made by hand or in ``results/SUITE/runs``, or the name of a run in
            one of the suites.
        root: where ``results`` and ``artifacts`` stand.

    Raises:
        InputError: there is no such run.
    """
    folders = [Path(run)] if (Path(run) / "config.json").exists() else []
    folders = folders or sorted(root.glob(f"results/*/runs/{run}"))
    if not folders:
        raise InputError(
            f"{run}: no finished run: allowed: a run's folder, or its name in results/"
        )
    folder = folders[0].resolve()
    found = from_identity(read_json(folder / "config.json"))
    suite = folder.parents[1]
    if folder.parent.name == "runs" and suite.parent.name == "results":
        artifacts = suite.parents[1] / "artifacts" / suite.name
        return found, RunFolders(folder, artifacts / folder.name, folder.parent, artifacts)
    return found, RunFolders(folder, folder, folder / "members", folder / "members")


def predict(
    run: Run, folders: RunFolders, images: Sequence[Path], device: torch.device
) -> list[Prediction]:
    """Return the run's prediction of each image file.

    Raises:
        InputError: weights are not at hand, or a file is no image.
    """
    prepare_process(run.threads, "float32")
    pixels = np.stack([read_image(path, run.card) for path in images])
    split = Split(torch.from_numpy(pixels).to(device), torch.zeros(len(pixels), dtype=torch.int64))
    parts = networks(run, folders, device)
    logits = np.concatenate(
        [inference.predict(network, run.card, split) for network in parts], axis=1
    )
    together = metrics.combined_log_probabilities(logits, run.build_method().combine)
    alone = softmax(logits.astype(np.float64), axis=-1)
    names = class_names(run.card)
    return [Prediction(names, np.exp(p), m) for p, m in zip(together, alone, strict=True)]


def networks(run: Run, folders: RunFolders, device: torch.device) -> Iterator[torch.nn.Module]:
    """Yield a run's trained network, or those of the runs that it combines, one at a time.

    Raises:
        InputError: weights are not at hand.
    """
    for part, at in [(m, folders.member(m)) for m in run.members()] or [(run, folders)]:
        yield _network(part, at, device)


def _network(run: Run, folders: RunFolders, device: torch.device) -> torch.nn.Module:
    weights = folders.artifacts / "model.safetensors"
    if not weights.exists():
        raise InputError(f"{weights}: not at hand: dvc pull, or make the run again")
    return loading.load(run, weights, device)


def read_image(path: Path, card: Card) -> Array:
    """Return an image file as the data set has its images, (channels, side, side) uint8.

    The largest centred square; smaller by averaging blocks, as Tiny ImageNet is prepared.

    Raises:
        InputError: see ``image_files.opened``.
    """
    upright = image_files.opened(path, "L" if card.channels == 1 else "RGB")
    pixels = np.asarray(image_files.square(upright, card.resolution))
    return pixels[None] if card.channels == 1 else pixels.transpose(2, 0, 1).copy()
