"""What each departure of the public reference code does to accuracy: python benchmarks/audit.py

One function per departure (letters as in docs/reference-audit.md); each turns the conventional
network into the fissioned one as the departure would have it, everything else being ours.
Handwritten digits, WRN-10-1, same seeds and batches for all, so differences are paired.
Writes benchmarks/audit.csv (one row a run), audit_cost.csv (departures that change costs) and
audit.json (configuration and environment).
"""

from collections.abc import Callable
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
from nfe.engine.recipe import Recipe
from nfe.engine.seeds import generator, global_stream
from nfe.grouping import Plan
from nfe.network import divided
from nfe.pruning import keep_highest, prunable
from nfe.staging import staged

FOLDER = Path(__file__).parent
ARCHITECTURE, EPOCHS, SEEDS, BATCH = "wrn-10-1", 20, range(4), 32
SPARSITY = 0.8
DATA = datasets.load(datasets.card("digits"))


def backbone(seed: int) -> Backbone:
    """Return the network that the run of that seed starts from."""
    card = DATA.card
    with global_stream(seed, "initialization"):
        return architecture(ARCHITECTURE).build(
            channels=card.channels, classes=card.classes, resolution=card.resolution
        )


def images(seed: int) -> tuple[Tensor, Tensor]:
    """Return the ten training images a class that SNIP scores on."""
    return example(DATA.card, DATA.train, 10, generator("cpu", seed, "example"))


# --- Ours ----------------------------------------------------------------------------------


def ours(seed: int) -> nn.Module:
    """N = 3, nothing pruned."""
    return fission(backbone(seed), 3, seed=seed)


def ours_snip(seed: int) -> nn.Module:
    """N = 2, SNIP at 80 % on the very weights that are trained."""
    return fission(
        backbone(seed), 2, sparsity=SPARSITY, pruning="snip", example=images(seed), seed=seed
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


def a_stale_weights(seed: int) -> nn.Module:
    """Foreign weights start at their random values, get no gradient, and decay."""
    model = backbone(seed)
    net = fission(model, 3, seed=seed)
    dense = net.materialized()
    for name, path, layer in path_layers(net, dense):
        split = net.get_submodule(f"weights.{name}")
        with torch.no_grad():
            layer.weight.copy_(model.get_submodule(name.replace("/", ".")).weight)
        layer.weight.register_hook(lambda g, own=split.group == path: g * own)
    return dense


def b_independent_draws(seed: int) -> nn.Module:
    """Stage 3's masks of exits 1 and 3 are drawn apart; exit 2's is 1 − m1 − m3, so −1 occurs."""
    model = backbone(seed)
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


def c_unrelated_scores(seed: int) -> nn.Module:
    """SNIP scores another, Xavier-initialized network by nll_loss on raw logits."""
    scored = backbone(seed).train()
    with global_stream(seed, "audit"):
        for layer in prunable(scored).values():
            nn.init.xavier_normal_(layer.weight)
    x, y = images(seed)
    F.nll_loss(scored(x), y).backward()
    scores = {n: (m.weight.grad * m.weight).abs().detach() for n, m in prunable(scored).items()}
    total = sum(score.numel() for score in scores.values())
    masks = keep_highest(scores, [(tuple(scores), round((1 - SPARSITY) * total))])
    return divided(staged(backbone(seed)), masks, (1,), Plan((0.5, 0.5), seed=seed))


def d_whole_shortcuts(seed: int) -> nn.Module:
    """Every path has a full copy of each 1×1 convolution."""
    return fission(backbone(seed), 3, whole=["pointwise"], seed=seed)


def e_last_batch_statistics(seed: int) -> nn.Module:
    """The norm before each classifier keeps 10 % of its running statistics."""
    net = fission(backbone(seed), 3, seed=seed)
    for head in net.heads:
        head[0].momentum = 0.9
    return net


def with_late_stride(network: Backbone) -> Backbone:
    """Move each block's stride from the first 3×3 convolution to the second."""
    for module in network.modules():
        if hasattr(module, "conv2") and hasattr(module, "conv1"):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
    return network


def h_late_stride(seed: int) -> nn.Module:
    """The stride stands in the second 3×3 convolution of a block."""
    return fission(with_late_stride(backbone(seed)), 3, seed=seed)


RUNS: dict[str, tuple[Callable[[int], nn.Module], str]] = {
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


def train(network: nn.Module, seed: int) -> list[dict[str, float]]:
    """Train by our recipe; return the test metrics after every epoch."""
    recipe = Recipe(BATCH)
    batches = TrainingBatches(DATA.card, DATA.train, BATCH, seed)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    labels, curve = DATA.test.labels.numpy(), []
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = recipe.learning_rate(epoch, EPOCHS)
        network.train()
        for _, x, y in batches.epoch(epoch):
            loss = fission_loss(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        logits = evaluation.predict(network, DATA.card, DATA.test)
        curve.append(evaluation.metrics(logits, labels, "logits"))
    return curve


def run(setting: str, seed: int) -> dict[str, Any]:
    """Train one setting and return its row."""
    build, compared = RUNS[setting]
    row = {"setting": setting, "compared_with": compared, "seed": seed, "status": "ok"}
    try:
        network = build(seed)
    except CollapseError:
        return {**row, "status": "collapsed"}
    image = torch.zeros(1, 1, 8, 8)
    nonzero, executed = cost.inference_macs(network, image)
    curve = train(network, seed)
    last = curve[-1]
    return {
        **row,
        "accuracy": f"{last['accuracy']:.2f}",
        "nll": f"{last['nll']:.4f}",
        "ece": f"{last['ece']:.4f}",
        "best_test_accuracy": f"{max(row['accuracy'] for row in curve):.2f}",
        "best_test_nll": f"{min(row['nll'] for row in curve):.4f}",
        "parameters": cost.parameters(network),
        "macs_nonzero": nonzero,
        "macs_executed": executed,
    }


def cost_rows() -> list[dict[str, Any]]:
    """Return what departures d, g and h cost on networks of the paper's kind."""

    def plain(name: str) -> Backbone:
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


def difference(what: str, gaps: list[float]) -> None:
    """Print the mean of paired differences and its standard error."""
    error = np.std(gaps, ddof=1) / len(gaps) ** 0.5
    print(f"{what} {np.mean(gaps):+.3f} ± {error:.3f} (n = {len(gaps)})")


def summary(rows: list[dict[str, Any]]) -> None:
    """Print the paired differences over the seeds in which both runs are complete."""
    by = {(row["setting"], row["seed"]): row for row in rows if row["status"] == "ok"}
    pairs = [(s, compared) for s, (_, compared) in RUNS.items() if compared]
    for metric in ("accuracy", "nll"):
        for setting, compared in pairs:
            both = [s for s in SEEDS if (setting, s) in by and (compared, s) in by]
            gaps = [float(by[setting, s][metric]) - float(by[compared, s][metric]) for s in both]
            difference(f"{setting} − {compared}: {metric}", gaps)
        own = [row for (setting, _), row in by.items() if setting == "ours"]
        gaps = [float(row[f"best_test_{metric}"]) - float(row[metric]) for row in own]
        difference(f"f (best epoch on test) − ours: {metric}", gaps)


def main() -> None:
    """Train everything and write the tables."""
    torch.set_num_threads(1)
    made_with = environment(torch.device("cpu"))
    rows = [run(setting, seed) for setting in RUNS for seed in SEEDS]
    write_csv(FOLDER / "audit.csv", list(rows[0]), rows)
    costs = cost_rows()
    write_csv(FOLDER / "audit_cost.csv", list(costs[0]), costs)
    configuration = {
        "dataset": DATA.card.name,
        "architecture": ARCHITECTURE,
        "epochs": EPOCHS,
        "seeds": list(SEEDS),
        "recipe": vars(Recipe(BATCH)),
        "snip_sparsity": SPARSITY,
    }
    write_json(FOLDER / "audit.json", {"configuration": configuration, "environment": made_with})
    summary(rows)


if __name__ == "__main__":
    main()
