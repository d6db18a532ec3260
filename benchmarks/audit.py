"""What each departure of the public reference code does to accuracy.

    python benchmarks/audit.py digits
    python benchmarks/audit.py tiny-imagenet    (prepared at 32 pixels: docs/datasets/README.md)

One function per departure (letters as in docs/reference-audit.md); each turns the conventional
network into the fissioned one as the departure would have it, everything else being ours.
Same seeds and batches for all, so differences are paired. Writes benchmarks/audit_TASK.csv (one
row a run), audit_TASK_differences.csv, audit_TASK.json (configuration and environment) and
audit_cost.csv (departures that change costs).
"""

import argparse
import itertools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfe import FissionNetwork, fission
from nfe.distillation import fission_loss
from nfe.engine import cost, datasets, evaluation
from nfe.engine.backbones import Backbone, architecture
from nfe.engine.batches import TrainingBatches, example
from nfe.engine.environment import environment
from nfe.engine.errors import CollapseError
from nfe.engine.files import write_csv, write_json
from nfe.engine.precision import autocast, prepare_process, usable_threads
from nfe.engine.recipe import Recipe
from nfe.engine.seeds import generator, global_stream
from nfe.grouping import Plan
from nfe.network import divided
from nfe.pruning import keep_highest, prunable
from nfe.report.statistics import Array, Contrast, Sample, compare, holm, image_weights
from nfe.staging import staged

FOLDER = Path(__file__).parent
ARCHITECTURE, EPOCHS, SPARSITY = "wrn-10-1", 20, 0.8


@dataclass(frozen=True)
class Task:
    """What is trained on, and how."""

    card: datasets.Card
    recipe: Recipe
    seeds: range
    precision: str

    @cached_property
    def data(self) -> datasets.Data:
        """Return the images, read once."""
        return datasets.load(self.card)

    def backbone(self, seed: int) -> Backbone:
        """Return the network that the run of that seed starts from."""
        with global_stream(seed, "initialization"):
            return architecture(ARCHITECTURE).build(
                channels=self.card.channels,
                classes=self.card.classes,
                resolution=self.card.resolution,
            )

    def images(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return the ten training images a class that SNIP scores on."""
        return example(self.card, self.data.train, 10, generator("cpu", seed, "example"))


TASKS = {
    "digits": Task(datasets.card("digits"), Recipe(32), range(4), "float32"),
    "tiny-imagenet": Task(
        datasets.card("tiny-imagenet", 32, 20, 250), Recipe(128), range(3), "bfloat16"
    ),
}


# --- Ours ----------------------------------------------------------------------------------


def ours(task: Task, seed: int) -> nn.Module:
    """N = 3, nothing pruned."""
    return fission(task.backbone(seed), 3, seed=seed)


def ours_snip(task: Task, seed: int) -> nn.Module:
    """N = 2, SNIP at 80 % on the very weights that are trained."""
    return fission(
        task.backbone(seed),
        2,
        sparsity=SPARSITY,
        pruning="snip",
        example=task.images(seed),
        seed=seed,
    )


# --- Departures ----------------------------------------------------------------------------


def path_layers(net: FissionNetwork, dense: nn.Module) -> list[tuple[str, int, nn.Module]]:
    """Return (name, path, layer in ``dense``) of every layer that belongs to one path."""
    found = []
    for name in net.weights:
        section, *rest = name.split("/")
        if section == "stages":
            number, inner = rest[0], ".".join(rest[1:])
            for path in net.get_submodule(f"stages.{number}"):
                layer = dense.get_submodule(f"stages.{number}.{path}.{inner}")
                found.append((name, int(path), layer))
    return found


def a_stale_weights(task: Task, seed: int) -> nn.Module:
    """Foreign weights start at their random values, get no gradient, and decay."""
    model = task.backbone(seed)
    net = fission(model, 3, seed=seed)
    dense = net.materialized()
    for name, path, layer in path_layers(net, dense):
        split = net.get_submodule(f"weights.{name}")
        with torch.no_grad():
            layer.weight.copy_(model.get_submodule(name.replace("/", ".")).weight)
        layer.weight.register_hook(lambda g, own=split.group == path: g * own)
    return dense


def b_independent_draws(task: Task, seed: int) -> nn.Module:
    """Stage 3's masks of exits 1 and 3 are drawn apart; exit 2's is 1 − m1 − m3, so −1 occurs."""
    model = task.backbone(seed)
    net = fission(model, 3, seed=seed)
    dense = net.materialized()
    draws = generator("cpu", seed, "audit")
    masks: dict[str, dict[int, Tensor]] = {}
    for name, path, layer in path_layers(net, dense):
        if not name.startswith("stages/2/"):
            own = net.get_submodule(f"weights.{name}").group == path
            layer.weight.register_hook(lambda g, own=own: g * own)
            continue
        if name not in masks:
            one, three = (
                (torch.rand(layer.weight.shape, generator=draws) < 1 / 3).float() for _ in "13"
            )
            masks[name] = {1: one, 2: 1 - one - three, 3: three}
        mask = masks[name][path]
        with torch.no_grad():
            layer.weight.copy_(model.get_submodule(name.replace("/", ".")).weight * (mask != 0))
        layer.weight.register_hook(lambda g, mask=mask: g * mask)
    return dense


def c_unrelated_scores(task: Task, seed: int) -> nn.Module:
    """SNIP scores another, Xavier-initialized network by nll_loss on raw logits."""
    scored = task.backbone(seed).train()
    with global_stream(seed, "audit"):
        for layer in prunable(scored).values():
            nn.init.xavier_normal_(layer.weight)
    x, y = task.images(seed)
    F.nll_loss(scored(x), y).backward()
    scores = {n: (m.weight.grad * m.weight).abs().detach() for n, m in prunable(scored).items()}
    total = sum(score.numel() for score in scores.values())
    masks = keep_highest(scores, [(tuple(scores), round((1 - SPARSITY) * total))])
    return divided(staged(task.backbone(seed)), masks, (1,), Plan((0.5, 0.5), seed=seed))


def d_whole_shortcuts(task: Task, seed: int) -> nn.Module:
    """Every path has a full copy of each 1×1 convolution."""
    return fission(task.backbone(seed), 3, whole=["pointwise"], seed=seed)


def e_last_batch_statistics(task: Task, seed: int) -> nn.Module:
    """The norm before each classifier keeps 10 % of its running statistics."""
    net = fission(task.backbone(seed), 3, seed=seed)
    for head in net.heads:
        head[0].momentum = 0.9
    return net


def with_late_stride(network: Backbone) -> Backbone:
    """Move each block's stride from the first 3×3 convolution to the second."""
    for module in network.modules():
        if hasattr(module, "conv2") and hasattr(module, "conv1"):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
    return network


def h_late_stride(task: Task, seed: int) -> nn.Module:
    """The stride stands in the second 3×3 convolution of a block."""
    return fission(with_late_stride(task.backbone(seed)), 3, seed=seed)


RUNS: dict[str, tuple[Callable[[Task, int], nn.Module], str]] = {
    "ours": (ours, ""),
    "a": (a_stale_weights, "ours"),
    "b": (b_independent_draws, "ours"),
    "d": (d_whole_shortcuts, "ours"),
    "e": (e_last_batch_statistics, "ours"),
    "h": (h_late_stride, "ours"),
    "ours, snip 0.8": (ours_snip, ""),
    "c": (c_unrelated_scores, "ours, snip 0.8"),
}


# --- Training and measurement --------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """A run's row, and ``evaluation.per_image`` of its test images; None where it collapsed."""

    row: dict[str, Any]
    per_image: dict[str, Array] | None = None


def train(task: Task, network: nn.Module, seed: int) -> list[Array]:
    """Train by our recipe; return the test images' logits after every epoch."""
    recipe, data = task.recipe, task.data
    batches = TrainingBatches(data.card, data.train, recipe.batch_size, seed)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    curve = []
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = recipe.learning_rate(epoch, EPOCHS)
        network.train()
        for _, x, y in batches.epoch(epoch):
            with autocast(task.precision, x.device):
                loss = fission_loss(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        curve.append(evaluation.predict(network, data.card, data.test))
    return curve


def run(name: str, setting: str, seed: int) -> Outcome:
    """Train one setting of a task."""
    task = TASKS[name]
    prepare_process(1, task.precision)
    build, compared = RUNS[setting]
    row = {"setting": setting, "compared_with": compared, "seed": seed, "status": "ok"}
    try:
        network = build(task, seed)
    except CollapseError:
        return Outcome({**row, "status": "collapsed"})
    card, labels = task.card, task.data.test.labels.numpy()
    image = torch.zeros(1, card.channels, card.resolution, card.resolution)
    nonzero, executed = cost.inference_macs(network, image)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    logits = train(task, network, seed)
    curve = [evaluation.metrics(found, labels, "logits") for found in logits]
    row |= {
        "accuracy": f"{curve[-1]['accuracy']:.2f}",
        "nll": f"{curve[-1]['nll']:.4f}",
        "ece": f"{curve[-1]['ece']:.4f}",
        "best_test_accuracy": f"{max(epoch['accuracy'] for epoch in curve):.2f}",
        "best_test_nll": f"{min(epoch['nll'] for epoch in curve):.4f}",
        "parameters": cost.parameters(network),
        "macs_nonzero": nonzero,
        "macs_executed": executed,
    }
    return Outcome(row, evaluation.per_image(logits[-1], labels, "logits"))


def cost_rows() -> list[dict[str, Any]]:
    """Return what departures d, g and h cost on networks of the paper's kind."""

    def plain(name: str) -> Backbone:
        # A weight may be drawn as zero, so that the MACs on the others depend on the draw.
        with global_stream(0, "initialization"):
            return architecture(name).build(channels=3, classes=100, resolution=32)

    small, large = "wrn-16-4", "wrn-28-10"
    whole = fission(plain(large), 3, whole=["pointwise"])
    compared = [
        ("", small, "single", plain(small)),
        ("", small, "ours, N = 3", fission(plain(small), 3)),
        ("g", small, "full copies per path, N = 3", fission(plain(small), 3).materialized()),
        ("", large, "ours, N = 3", fission(plain(large), 3)),
        ("d", large, "1×1 whole, N = 3", whole),
        ("", large, "single", plain(large)),
        ("h", large, "single, late stride", with_late_stride(plain(large))),
    ]
    rows = []
    for departure, name, what, network in compared:
        nonzero, executed = cost.inference_macs(network, torch.zeros(1, 3, 32, 32))
        rows.append(
            {
                "departure": departure,
                "architecture": name,
                "network": what,
                "parameters": cost.parameters(network),
                "macs_nonzero": nonzero,
                "macs_executed": executed,
            }
        )
    return rows


# Metric, its column of ``evaluation.per_image``, and what that is multiplied by.
METRICS = (("accuracy", "correct", 100.0), ("nll", "nll", 1.0))


def sample(images: list[dict[str, Array]], column: str, unit: float, weights: Array) -> Sample:
    """Return the mean of a column in a setting's runs, and on resampled images."""
    values = unit * np.stack([run[column].astype(np.float64) for run in images])
    return Sample(values.mean(axis=1), values @ weights.T)


def optimism(outcomes: list[Outcome], metric: str) -> Contrast:
    """Return what the best epoch on the test set adds to the last one (departure f)."""
    rows = [outcome.row for outcome in outcomes if outcome.row["setting"] == "ours"]
    gaps = [float(row[f"best_test_{metric}"]) - float(row[metric]) for row in rows]
    return Contrast.of(Sample(np.array(gaps), None))


def difference_rows(outcomes: list[Outcome], seeds: range, weights: Array) -> list[dict[str, Any]]:
    """Return each departure's difference to ours over the seeds that both completed."""
    done = {
        (outcome.row["setting"], outcome.row["seed"]): outcome.per_image
        for outcome in outcomes
        if outcome.per_image is not None
    }
    rows = []
    for metric, column, unit in METRICS:
        found: dict[str, tuple[int, Contrast]] = {}
        for setting, (_, compared) in RUNS.items():
            both = [s for s in seeds if {(setting, s), (compared, s)} <= done.keys()]
            if both:
                first, second = (
                    sample([done[name, s] for s in both], column, unit, weights)
                    for name in (setting, compared)
                )
                found[setting] = len(both), compare(first, second, paired=True)
        found["f"] = len(seeds), optimism(outcomes, metric)
        p_values = [contrast.p_value() for _, contrast in found.values()]
        for (setting, (n, contrast)), p, corrected in zip(
            found.items(), p_values, holm(p_values), strict=True
        ):
            mean, half = float(contrast.difference), float(contrast.half_width())
            rows.append(
                {
                    "departure": setting,
                    "metric": metric,
                    "n": n,
                    "difference": f"{mean:.4f}",
                    "low": f"{mean - half:.4f}",
                    "high": f"{mean + half:.4f}",
                    "covers": contrast.covers,
                    "p": f"{p:.4f}",
                    "p_holm": f"{corrected:.4f}",
                }
            )
    return rows


def main() -> None:
    """Train everything, one run a core, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    name = parser.parse_args().task
    task = TASKS[name]
    weights = image_weights(len(task.data.test))
    made_with = environment(torch.device("cpu"))
    wanted = list(itertools.product([name], RUNS, task.seeds))
    with ProcessPoolExecutor(usable_threads(), multiprocessing.get_context("spawn")) as pool:
        outcomes = list(pool.map(run, *zip(*wanted, strict=True)))
    rows, costs = [outcome.row for outcome in outcomes], cost_rows()
    differences = difference_rows(outcomes, task.seeds, weights)
    write_csv(FOLDER / f"audit_{name}.csv", list(rows[0]), rows)
    write_csv(FOLDER / f"audit_{name}_differences.csv", list(differences[0]), differences)
    write_csv(FOLDER / "audit_cost.csv", list(costs[0]), costs)
    configuration = {
        "dataset": task.card.name,
        "resolution": task.card.resolution,
        "num_classes": task.card.classes,
        "images_per_class": task.card.images_per_class,
        "architecture": ARCHITECTURE,
        "epochs": EPOCHS,
        "seeds": list(task.seeds),
        "recipe": vars(task.recipe),
        "precision": task.precision,
        "threads": 1,
        "snip_sparsity": SPARSITY,
    }
    write_json(
        FOLDER / f"audit_{name}.json", {"configuration": configuration, "environment": made_with}
    )
    for row in differences:
        print(*row.values())


if __name__ == "__main__":
    main()
