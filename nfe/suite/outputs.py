"""The names of the files that runs consist of; light to import, for the workflow."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from nfe.suite.run import Run

# In the order in which they are written: with the last one a run is complete.
RESULT_FILES = ("config.json", "timing.json", "history.csv", "per_image.npz", "metrics.json")

CLEAN = "evaluation.json"
CORRUPTIONS = "evaluation-corruptions.json"
OOD = "evaluation-ood-{}.json"


def evaluation_files(ood: Sequence[str] = (), corrupted: bool = False) -> list[str]:
    """Return the names of the files that an evaluation beyond clean accuracy consists of."""
    return [CLEAN, *(OOD.format(name) for name in ood), *([CORRUPTIONS] if corrupted else [])]


def ood_set(file: str) -> str:
    """Return the name of the out-of-distribution set that an evaluation file is about."""
    before, after = OOD.split("{}")
    return file.removeprefix(before).removesuffix(after)


def network_name(run: Run) -> str:
    """Return the name of the run's network: all that decides latency, so no seed, no epochs."""
    told = {k: v for k, v in run.identity().items() if k not in _TRAINING}
    key = json.dumps(told)
    if key not in _NETWORKS:
        _NETWORKS[key] = _network_name(dataclasses.replace(run, **_TRAINING))
    return _NETWORKS[key]


def taking_turns(runs: Iterable[Run]) -> list[dict[str, Run]]:
    """Return a run of each network by the network's name, those together that are timed in turns.

    These are of one backbone, on one data set, in one precision and on as many threads.
    """
    found: dict[tuple[Any, ...], dict[str, Run]] = {}
    for run in runs:
        alike = (run.dataset, run.resolution, run.num_classes, run.architecture)
        group = found.setdefault((*alike, run.precision, run.threads), {})
        group.setdefault(network_name(run), dataclasses.replace(run, seed=0))
    return list(found.values())


# Of a run's identity, what has no part in its network; here as in all networks' names.
_TRAINING: dict[str, Any] = {"seed": 0, "epochs": 1, "protocol": "equal", "audit": False}
# Names by all that they depend on, as JSON: a suite has far fewer networks than runs.
_NETWORKS: dict[str, str] = {}


def _network_name(fixed: Run) -> str:
    parts = [fixed.name.removesuffix(f"_e1_s0_{fixed.digest[:10]}"), fixed.precision]
    told = {k: v for k, v in fixed.identity().items() if k != "recipe"}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:10]
    return "_".join([*parts, digest])
