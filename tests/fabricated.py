"""Finished runs that nobody trained: folders as a suite leaves them, with invented numbers."""

import dataclasses
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from nfe.cluster import estimate
from nfe.common.files import write_csv, write_json, write_npz
from nfe.evaluation import early_exit_curve
from nfe.evaluation import metrics as evaluation
from nfe.suite.expansion import Suite
from nfe.suite.outputs import network_name
from nfe.suite.run import Run

CLASSES = 10


def members_of(run: Run) -> int:
    return run.method_settings().ensemble_size() or (1 if not run.settings else 3)


def predictions(run: Run, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (images, members, classes) and labels; labels depend on nothing."""
    labels = np.random.default_rng(0).integers(0, CLASSES, images)
    draws = np.random.default_rng(zlib.crc32(run.name.encode()))
    skill = 3.5 - 1.5 * float(run.settings.get("sparsity", 0)) + 0.3 * len(run.method) / 10
    shared = draws.normal(0, 1.5, (images, 1, CLASSES))
    logits = shared + draws.normal(0, 1, (images, members_of(run), CLASSES))
    logits[np.arange(images), :, labels] += skill
    return logits.astype(np.float16), labels


def fabricate(
    suite: Suite,
    results: Path,
    *,
    failed: Collection[str] = (),
    collapsed: Collection[str] = (),
    missing: Collection[str] = (),
    images: int = 100,
    devices: tuple[str, ...] = ("NVIDIA A100-SXM4-80GB",),
) -> None:
    """Write the results of every run of a suite but the missing ones, named by their runs."""
    (results / "latency").mkdir(parents=True)
    for number, run in enumerate(planned.run for planned in suite.runs):
        folder = results / "runs" / run.name
        if run.name in missing:
            continue
        folder.mkdir(parents=True)
        write_json(folder / "config.json", run.identity())
        if run.name in failed:
            write_json(folder / "failure.json", {"status": "failed", "reason": "invented"})
            continue
        done = run.name not in collapsed
        timing = {"train_seconds": 100.0 + number if done else None, "device": devices[0]}
        write_json(folder / "timing.json", timing)
        columns = ("epoch", "train_loss", "train_accuracy", "heldout_accuracy", "heldout_nll")
        own = [] if run.members() or not done else [dict.fromkeys(columns, 1)]
        write_csv(folder / "history.csv", columns, own)
        logits, labels = predictions(run, images)
        write_npz(folder / "per_image.npz", evaluation.per_image(logits, labels, "logits"))
        metrics = _metrics(run, logits, labels) if done else {"status": "collapsed", "reason": ""}
        write_json(folder / "metrics.json", metrics)
        middle = 1.0 + number % 7
        one = {"median": middle, "quartile1": 0.9 * middle, "quartile3": 1.2 * middle}
        record = {
            "passes": {"1": one},
            "latency_ms": middle,
            "latency_ms_batch128": 9.0,
            "latency_device": devices[number % len(devices)],
        }
        write_json(results / "latency" / f"{network_name(run)}.json", record)


def _metrics(run: Run, logits: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    single = estimate.cost(dataclasses.replace(run, method="single", settings={}, versions={}))
    macs, weights = round(single.step_macs / 3), single.stored_bytes // 4
    count = members_of(run)
    copies = count if run.method == "deep_ensemble" else 1
    found: dict[str, object] = {
        "status": "ok",
        **evaluation.test_scores({"test_logits": logits, "test_labels": labels}, "logits"),
        **evaluation.heldout_scores({"heldout_logits": logits, "heldout_labels": labels}, "logits"),
        "parameters": weights * copies,
        "nonzero_parameters": weights * copies,
        "macs_nonzero": round(macs * copies * (1 - float(run.settings.get("sparsity", 0)))),
        "macs_dense": macs * (1 + len(run.method) % 4) * copies,
        "train_macs": int(estimate.training_macs(run)) or 1,
    }
    if run.method == "nfe":
        found["live_weights"] = 0.75
        found["exit_macs"] = [round(macs * (k + 1) / count) for k in range(count)]
        stored = {"test_logits": logits, "test_labels": labels}
        found |= early_exit_curve.scores(stored, found)
    return found
