"""Whether a suite's results follow from one another: tables, metrics, predictions, weights.

Each table cell is recomputed from the runs' metrics, each metric from stored predictions and,
on request, each prediction from the weights. Whatever is not at hand is named, not passed over.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from nfe.common.errors import CollapseError, InputError
from nfe.common.files import read_json, read_npz
from nfe.common.precision import prepare_process
from nfe.data import Data
from nfe.engine import inference, loading, robustness
from nfe.engine.batches import Normalizer
from nfe.engine.runner import RunFolders, Worker
from nfe.engine.trainer import build_network
from nfe.evaluation import cost, early_exit_curve
from nfe.evaluation import metrics as evaluation
from nfe.report import evaluations, tables
from nfe.report.release import mismatch
from nfe.report.release.manifest import PAGE, differences, figure_folder, latest_files
from nfe.suite.expansion import Suite, load_plan
from nfe.suite.outputs import CLEAN, RESULT_FILES
from nfe.suite.run import Run

# A metric recomputed from stored predictions is the same arithmetic on the same numbers.
METRIC_TOLERANCE = 1e-9
# per_image.npz holds float32: a mean over images of what it holds.
PER_IMAGE_TOLERANCE = 1e-6
# Largest difference of a logit recomputed from the weights, as a share of the image's largest
# absolute logit (at least 1). Stored logits are float16 (2^-11); another device adds the
# rounding of its own order of summation.
LOGIT_TOLERANCE = 2**-8
# A temperature is where an optimizer stops.
CLEAN_TOLERANCE = 1e-6
# Detection and corruptions are recomputed from the weights: logits that differ by rounding can
# change the order of two images or a class. A share of the number, or absolute below 1.
SHIFT_TOLERANCE = 0.01


@dataclass
class Report:
    """What was checked, what did not agree and what could not be checked.

    Attributes:
        problems: one line each, the first difference first.
        cells: table cells recomputed.
        runs: finished runs of the suite.
        predictions: runs whose metrics were recomputed from predictions.
        weights: runs whose predictions were recomputed from weights.
        figures: figures drawn again and compared.
        pages: pages likewise.
        absent: runs whose predictions are not at hand.
        absent_weights: runs whose weights are not at hand; filled by a deep check only.
        absent_data: evaluations of runs whose images are not prepared; likewise.
        outdated: runs of earlier versions, from whose weights this code computes something else;
            likewise.
        release: the release that the results were compared with, if there is one.
    """

    problems: list[str] = field(default_factory=list)
    cells: int = 0
    runs: int = 0
    predictions: int = 0
    weights: int = 0
    figures: int = 0
    pages: int = 0
    absent: list[str] = field(default_factory=list)
    absent_weights: list[str] = field(default_factory=list)
    absent_data: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)
    release: str | None = None

    def lines(self) -> list[str]:
        """Return the report as text: problems, what was not at hand, what was checked."""
        text = [
            *self.problems,
            *(f"{name}: predictions not at hand" for name in self.absent),
            *(f"{name}: weights not at hand" for name in self.absent_weights),
            *(f"{name}: images or weights not at hand" for name in self.absent_data),
            *(f"{line}: not recomputed from weights" for line in self.outdated),
            f"{self.cells} table cells recomputed from {self.runs} runs; metrics of "
            f"{self.predictions} runs recomputed from predictions, predictions of {self.weights} "
            f"from weights; {self.figures} figures and {self.pages} page"
            f"{'s' * (self.pages != 1)} drawn again; "
            f"{'release ' + self.release if self.release else 'not released'}",
        ]
        count = len(self.problems)
        return [*text, f"{count} difference{'s' * (count != 1)}" if count else "verified"]


def verify(
    results: Path, deep: bool = False, data_root: Path | None = None, released: bool = True
) -> Report:
    """Check a suite's results folder, and the artifacts beside it as far as they are there.

    Args:
        results: ``ROOT/results/SUITE``; artifacts stand in ``ROOT/artifacts/SUITE``.
        deep: recompute predictions from weights, too; this needs the data.
        data_root: folder of prepared data.
        released: compare every file with the latest release, where there is one.

    Raises:
        InputError: there is no plan to start from, or deep and the data are not prepared.
    """
    return _Verification(results, Worker(data_root=data_root)).report(deep, released)


class _Verification:
    def __init__(self, results: Path, worker: Worker) -> None:
        self.results = results
        self.artifacts = results.resolve().parents[1] / "artifacts" / results.resolve().name
        self.worker = worker
        self.said = Report()

    def report(self, deep: bool, released: bool) -> Report:
        said = self.said
        suite, problems = _read_plan(self.results)
        said.problems += problems or self._identities(suite)
        if not said.problems:
            said.problems += _guarded(lambda: self._tables(suite, released))
        for run in (planned.run for planned in suite.runs):
            if not (self.results / "runs" / run.name / "metrics.json").exists():
                continue
            said.runs += 1
            said.problems += _guarded(lambda run=run: self._run(run))  # type: ignore[misc]
            if deep:
                said.problems += self._recomputed(run)
        # From rows that are not right, no figure would be.
        if not said.problems:
            said.problems += [*_guarded(self._figures), *_guarded(self._page)]
        if released:
            said.release, problems = differences(self.results)
            said.problems += problems
        return said

    def _identities(self, suite: Suite) -> list[str]:
        """Compare what the runs say they are with the plan."""
        names = {planned.run.name for planned in suite.runs}
        there = {folder.name for folder in (self.results / "runs").glob("*")}
        problems = [f"{self.results / 'runs' / n}: not in the plan" for n in sorted(there - names)]
        for planned in suite.runs:
            config = self.results / "runs" / planned.run.name / "config.json"
            if config.exists():
                problems += mismatch.first_difference(
                    config, read_json(config), planned.run.identity()
                )
        return problems

    def _tables(self, suite: Suite, released: bool) -> Iterator[str]:
        frozen = latest_files(self.results) if released else None
        schema = tables.found_schema(suite, self.results)
        for name, content in tables.contents(suite, self.results, schema=schema).items():
            path = self.results / name
            text = content.decode()
            if not path.exists():
                # A release that is older than a table does not have it.
                if frozen is None or f"results/{suite.name}/{name}" in frozen:
                    yield f"{path}: no such file"
            elif name.endswith(".csv"):
                self.said.cells += sum(len(row) for row in csv.reader(text.splitlines()[1:]))
                yield from mismatch.cells(path, path.read_text(encoding="utf-8"), text)
            else:
                yield from mismatch.lines(path, path.read_text(encoding="utf-8"), text)

    def _figures(self) -> Iterator[str]:
        """Draw the suite's figures again, where there are any, and compare."""
        folder = figure_folder(self.results)
        if folder.is_dir():
            # Matplotlib is loaded where there is something to draw.
            from nfe.report.figures.staleness import stale

            self.said.figures = len({path.stem for path in folder.iterdir()})
            yield from stale(self.results)

    def _page(self) -> Iterator[str]:
        """Draw the suite's page again, where there is one, and compare."""
        if (self.results / PAGE).exists():
            from nfe.report.page.staleness import stale

            self.said.pages = 1
            yield from stale(self.results)

    def _run(self, run: Run) -> Iterator[str]:
        """Check a run's metrics against its predictions, or at least its per-image file."""
        folder, artifacts = self.results / "runs" / run.name, self.artifacts / run.name
        for name in RESULT_FILES:
            if not (folder / name).exists():
                yield f"{folder / name}: no such file"
        metrics = read_json(folder / "metrics.json")
        if metrics["status"] != "ok":
            return
        if run.members():
            yield from self._sums(run, folder, metrics)
        elif (artifacts / "model.safetensors").exists():
            loading.check_owner(run, artifacts / "model.safetensors")
        stored = read_npz(folder / "per_image.npz")
        if not (artifacts / "predictions.npz").exists():
            self.said.absent.append(run.name)
            yield from _metrics(folder, metrics, _from_images(stored), PER_IMAGE_TOLERANCE)
            return
        self.said.predictions += 1
        predictions, combine = read_npz(artifacts / "predictions.npz"), run.build_method().combine
        right = evaluation.test_scores(predictions, combine)
        right |= evaluation.heldout_scores(predictions, combine)
        right |= early_exit_curve.scores(predictions, metrics)
        yield from _metrics(folder, metrics, right, METRIC_TOLERANCE)
        if (clean := folder / CLEAN).exists():
            right = robustness.clean(predictions, combine)
            yield from _metrics(folder, read_json(clean), right, CLEAN_TOLERANCE, clean.name)
        images = evaluation.per_image(
            predictions["test_logits"], predictions["test_labels"], combine
        )
        for name, values in images.items():
            if not mismatch.close(stored[name], values):
                yield f"{folder / 'per_image.npz'}: {name}: not what the predictions give"

    def _sums(self, run: Run, folder: Path, metrics: dict[str, Any]) -> Iterator[str]:
        """Check a combined run's costs, and its predictions where the members' are at hand."""
        names = [member.name for member in run.members()]
        parts = [read_json(self.results / "runs" / name / "metrics.json") for name in names]
        costs = ("parameters", "nonzero_parameters", "macs_nonzero", "macs_dense", "train_macs")
        right = {name: sum(part[name] for part in parts) for name in costs}
        yield from _metrics(folder, metrics, right | {"member_runs": names}, 0)
        own = self.artifacts / run.name / "predictions.npz"
        members = [self.artifacts / name / "predictions.npz" for name in names]
        if own.exists() and all(path.exists() for path in members):
            together = np.concatenate([read_npz(p)["test_logits"] for p in members], axis=1)
            if not np.array_equal(read_npz(own)["test_logits"], together):
                yield f"{own}: test_logits: not its members' predictions"

    def _recomputed(self, run: Run) -> list[str]:
        """Check a run from its weights; what an earlier version made need not come out alike."""
        before = self.said.weights
        problems = [*_guarded(lambda: self._deep(run)), *_guarded(lambda: self._shifts(run))]
        if problems and (versions := run.outdated()):
            self.said.weights = before
            self.said.outdated.append(f"{run.name} is {versions[0]}")
            return []
        return problems

    def _deep(self, run: Run) -> Iterator[str]:
        """Recompute a run's predictions and costs from its weights."""
        if run.members():
            return
        data = self.worker.data(run)
        folder, weights = self.results / "runs" / run.name, self.artifacts / run.name
        metrics = read_json(folder / "metrics.json")
        prepare_process(run.threads, "float32")
        if metrics["status"] == "collapsed":
            yield from _collapse(run, data, folder)
            return
        if not (weights / "model.safetensors").exists():
            self.said.absent_weights.append(run.name)
            return
        self.said.weights += 1
        network = loading.load(run, weights / "model.safetensors", self.worker.device)
        image = Normalizer(data.card, data.test.images.device)(data.test.images[:1])
        right: dict[str, Any] = cost.inference(network, image)
        if "exit_macs" in metrics:
            right["exit_macs"] = loading.exit_macs(run, network, image)
        if "live_weights" in metrics:
            right["live_weights"] = loading.live_weights(run, network, image)
        yield from _metrics(folder, metrics, right, 0)
        if (weights / "predictions.npz").exists():
            yield from _predictions(run, network, data, weights / "predictions.npz")
        else:
            yield from _images(run, network, data, folder)

    def _shifts(self, run: Run) -> Iterator[str]:
        """Recompute a run's detection and corruptions from its weights, or its members'."""
        folder, artifacts = self.results / "runs" / run.name, self.artifacts / run.name
        folders = RunFolders(folder, artifacts, folder.parent, artifacts.parent)
        for name, found in evaluations.read(folder).items():
            if name == CLEAN or found["status"] != "ok":
                continue
            try:
                right = robustness.content(run, folders, self.worker, name)
            except InputError:
                self.said.absent_data.append(f"{run.name}/{name}")
                continue
            for row, wanted in zip_longest(*(evaluations.table({name: c}) for c in (found, right))):
                if not _near_row(row or {}, wanted or {}):
                    yield f"{folder / name}: {row}, recomputed {wanted}"


def _near_row(row: dict[str, Any], right: dict[str, Any]) -> bool:
    return row.keys() == right.keys() and all(
        mismatch.near(row[key], value, SHIFT_TOLERANCE * max(1, abs(value)))
        if isinstance(value, float)
        else row[key] == value
        for key, value in right.items()
    )


def _guarded(check: Callable[[], Iterator[str]]) -> Iterator[str]:
    """Yield the check's problems; a file that cannot be read is one of them."""
    try:
        yield from check()
    except InputError as error:
        yield str(error)
    except (KeyError, TypeError, ValueError) as error:
        yield f"a file is damaged or incomplete: {type(error).__name__}: {error}"


def _read_plan(results: Path) -> tuple[Suite, list[str]]:
    plans = sorted(results.glob("plan-*.json"))
    if len(plans) != 1:
        found = ", ".join(plan.name for plan in plans) or "none"
        raise InputError(f"{results}: one plan-….json is needed to verify it; found: {found}")
    suite, path = load_plan(plans[0]), plans[0]
    problems = mismatch.first_difference(path, read_json(path), suite.record())
    if not problems and path.name != f"plan-{suite.digest}.json":
        problems.append(f"{path}: not what its name says: the content gives {suite.digest}")
    if suite.name != results.resolve().name:
        problems.append(f"{path}: suite: {suite.name}, but the folder is {results}")
    return suite, problems


def _metrics(
    folder: Path,
    found: dict[str, Any],
    right: dict[str, Any],
    tolerance: float,
    file: str = "metrics.json",
) -> Iterator[str]:
    """Yield every metric that is further from the recomputed one than ``tolerance``."""
    for name, value in right.items():
        if not mismatch.near(found.get(name), value, tolerance):
            yield f"{folder / file}: {name}: {found.get(name)}, recomputed {value}"


def _from_images(images: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics that the per-image file alone determines."""
    return {
        "accuracy": 100 * float(np.mean(images["correct"])),
        "nll": float(np.mean(images["nll"].astype(np.float64))),
        "disagreement": evaluation.vote_disagreement(images["votes"]),
    }


def _collapse(run: Run, data: Data, folder: Path) -> Iterator[str]:
    try:
        build_network(run, run.build_method(), data)
    except CollapseError:
        return
    yield f"{folder / 'metrics.json'}: status: collapsed, but the network can be built"


def _predictions(run: Run, network: nn.Module, data: Data, path: Path) -> Iterator[str]:
    """Compare stored predictions with the network's, image by image."""
    stored = read_npz(path)
    for name, split in (("test", data.test), ("heldout", data.heldout)):
        if not np.array_equal(stored[f"{name}_labels"], split.labels.cpu().numpy()):
            yield f"{path}: {name}_labels: not the data set's"
        right = inference.predict(network, data.card, split).astype(np.float64)
        found = stored[f"{name}_logits"].astype(np.float64)
        if found.shape != right.shape:
            yield f"{path}: {name}_logits: shape {found.shape}, recomputed {right.shape}"
            continue
        scale = np.maximum(1, np.abs(right).max(axis=(1, 2), keepdims=True))
        wrong = np.argwhere(~(np.abs(found - right) <= LOGIT_TOLERANCE * scale))
        if len(wrong):
            first = tuple(int(i) for i in wrong[0])
            image, member, label = first
            yield (
                f"{path}: {name}_logits: image {image}, member {member}, class {label}: "
                f"{found[first]}, recomputed {right[first]} ({len(wrong)} logits differ)"
            )


def _images(run: Run, network: nn.Module, data: Data, folder: Path) -> Iterator[str]:
    """Compare the per-image file with the network, where predictions are not at hand."""
    logits = inference.predict(network, data.card, data.test)
    labels = data.test.labels.cpu().numpy()
    right = evaluation.per_image(logits, labels, run.build_method().combine)["nll"]
    found = read_npz(folder / "per_image.npz")["nll"]
    scale = 2 * np.maximum(1, np.abs(logits).max(axis=(1, 2)).astype(np.float64))
    wrong = np.flatnonzero(np.abs(found - right) > LOGIT_TOLERANCE * scale)
    if len(wrong):
        first = int(wrong[0])
        yield (
            f"{folder / 'per_image.npz'}: nll: image {first}: {found[first]}, "
            f"recomputed {right[first]} ({len(wrong)} images differ)"
        )
