"""A model card beside each finished run: what it is, how good, how made, how to use it."""

from pathlib import Path
from typing import Any

from nfe import data as datasets
from nfe.common.files import checksum, read_json, write_bytes
from nfe.data.own import card as own_card
from nfe.report.release import manifest
from nfe.report.schema import METRICS, text
from nfe.suite.expansion import Suite
from nfe.suite.run import Run

NAME = "README.md"
_COSTS = {
    "parameters": "parameters",
    "nonzero_parameters": "non-zero parameters",
    "macs_nonzero": "multiply-adds of one image on non-zero weights",
    "macs_dense": "multiply-adds of one image as executed",
    "train_macs": "multiply-adds of training",
}


def write(suite: Suite, results: Path) -> int:
    """Write the card of every run that ended with a usable model; return how many there are."""
    count = 0
    for planned in suite.runs:
        folder = results / "runs" / planned.run.name
        if (folder / "metrics.json").exists():
            metrics = read_json(folder / "metrics.json")
            if metrics["status"] == "ok":
                write_bytes(folder / NAME, card(suite, planned.run, results, metrics).encode())
                count += 1
    return count


def card(suite: Suite, run: Run, results: Path, metrics: dict[str, Any]) -> str:
    """Return a run's card as Markdown; the same files always give the same text."""
    timing = read_json(results / "runs" / run.name / "timing.json")
    lines = [
        f"# {run.method} on {run.dataset}, seed {run.seed}",
        "",
        f"`{run.name}`: {_sentence(run, metrics)} {suite.note}".strip(),
        "",
        "## How good",
        "",
        f"On the {_test(run)} test images, {_looks(run)}:",
        "",
        "| metric | value |",
        "|---|---|",
        *(f"| {m} | {text(m, metrics[m]) or '–'} |" for m in METRICS),
        f"| accuracy of each member | {text('member_accuracy', metrics['member_accuracy'])} |",
        *(f"| {words} | {metrics[name]:,} |" for name, words in _COSTS.items()),
        "",
        "Accuracy in percent, NLL in nats, ECE with 15 equal-width bins. One run: seeds differ,",
        f"see [the suite's tables](../../summary.md). Members are combined by their "
        f"{metrics['combine']}.",
        "",
        "## How made",
        "",
        *_making(run, timing),
        "",
        "## How to use",
        "",
        "```sh",
        "dvc pull    # weights, where the default remote has them",
        f"nfe-bench predict --run {results.as_posix()}/runs/{run.name} image.png",
        "```",
        "",
        *_weights(run, results),
        "",
        "## What it is for",
        "",
        f"To check and extend the benchmark. It knows the {run.num_classes} classes of its data "
        "set, takes any image for",
        "one of them, and is calibrated, if at all, on that data set only. Not for decisions about "
        "people or things.",
        "",
    ]
    return "\n".join(lines)


def _sentence(run: Run, metrics: dict[str, Any]) -> str:
    members = metrics["members"]
    settings = ", ".join(f"{key} {value}" for key, value in run.settings.items()) or "none"
    return (
        f"a {run.architecture} with {members} member{'s' * (members != 1)} "
        f"([the method](../../../../docs/methods/{run.method}.md); settings: {settings}), trained "
        f"on [{run.dataset}](../../../../{_data_card(run)}) at {run.resolution}×"
        f"{run.resolution} pixels (subset: {run.subset})."
    )


def _data_card(run: Run) -> str:
    own = datasets.is_own(run.dataset)
    return own_card.place(run.dataset).as_posix() if own else f"docs/datasets/{run.dataset}.md"


def _looks(run: Run) -> str:
    """Return in words when the test split was evaluated."""
    if run.audit:
        return "after the last epoch; what they gave after earlier ones chose nothing"
    return "evaluated once, after the last epoch"


def _test(run: Run) -> str:
    return f"{run.dataset}" if run.subset == "all" else f"{run.dataset} ({run.subset})"


def _making(run: Run, timing: dict[str, Any]) -> list[str]:
    made, recipe = timing["environment"], run.recipe
    libraries = ", ".join(f"{name} {version}" for name, version in made["libraries"].items())
    seconds = timing["train_seconds"]
    return [
        f"- protocol {run.protocol}, {run.epochs} epochs, batch {recipe.batch_size}, learning rate "
        f"{recipe.lr:g}, weight decay {recipe.weight_decay:g}, {run.precision}",
        f"- data: content hash `{run.data_hash}`",
        f"- {made['device_name']}, {seconds:,.1f} s of training, {timing['finished'][:10]}",
        f"- Python {made['python']}, {libraries}; code {made['code']['commit'] or 'unknown'}",
        "- all of the above and what decides the numbers: [`config.json`](config.json), "
        "[`timing.json`](timing.json)",
    ]


def _weights(run: Run, results: Path) -> list[str]:
    if run.members():
        names = ", ".join(f"[`{m.name}`](../{m.name}/{NAME})" for m in run.members())
        return [f"Its weights are its members': {names}."]
    path = manifest.root(results) / "artifacts" / results.resolve().name / run.name
    weights = path / "model.safetensors"
    if not weights.exists():
        return ["Its weights were not at hand at release: run the suite to make them again."]
    return [
        f"Weights: safetensors, {weights.stat().st_size:,} bytes, SHA-256",
        f"`{checksum(weights)}`. MIT licence.",
    ]
