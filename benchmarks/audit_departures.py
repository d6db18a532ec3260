"""The departures of the public reference code, one function each, and ours beside them.

Letters as in docs/reference-audit.md. Each function turns a conventional network into a fissioned
one as the departure would have it, everything else being ours. f (the best epoch on the test set)
and g (full dense copies) need no training of their own.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfe import FissionNetwork, fission
from nfe import data as datasets
from nfe.backbones import Backbone, architecture
from nfe.backbones.stages import staged
from nfe.common.seeds import generator, global_stream
from nfe.engine.batches import example
from nfe.pruning import keep_highest, prunable
from nfe.splitting.grouping import Plan
from nfe.splitting.network import divided

SPARSITY = 0.8


@dataclass(frozen=True)
class Start:
    """What the network of one seed is made from.

    Attributes:
        architecture: the backbone's name.
        data: the images, on the CPU.
        seed: the seed.
    """

    architecture: str
    data: datasets.Data
    seed: int

    def backbone(self) -> Backbone:
        """Return the network that the run starts from, the same one at every call."""
        card = self.data.card
        with global_stream(self.seed, "initialization"):
            return architecture(self.architecture).build(
                channels=card.channels, classes=card.classes, resolution=card.resolution
            )

    def images(self) -> tuple[Tensor, Tensor]:
        """Return the ten training images a class that SNIP scores on."""
        draws = generator("cpu", self.seed, "example")
        return example(self.data.card, self.data.train, 10, draws)


@dataclass(frozen=True)
class Built:
    """A network to train, on the CPU.

    Attributes:
        network: images (batch, channels, h, w) → logits (batch, exits, classes).
        masks: what gradients are multiplied by before a step, by the parameter's name.
    """

    network: nn.Module
    masks: Mapping[str, Tensor] = field(default_factory=dict)


Builder = Callable[[Start, int], Built]


# --- Ours ----------------------------------------------------------------------------------


def ours(start: Start, exits: int) -> Built:
    """Nothing pruned."""
    return Built(fission(start.backbone(), exits, seed=start.seed))


def ours_snip(start: Start, exits: int) -> Built:
    """SNIP at 80 % on the very weights that are trained."""
    network = fission(
        start.backbone(),
        exits,
        sparsity=SPARSITY,
        pruning="snip",
        example=start.images(),
        seed=start.seed,
    )
    return Built(network)


# --- Departures ----------------------------------------------------------------------------


def path_layers(net: FissionNetwork) -> Iterator[tuple[str, int, str]]:
    """Yield (name among the weights, path, name in the network) of layers of one path each."""
    for name in net.weights:
        section, *rest = name.split("/")
        if section == "stages":
            for path in net.get_submodule(f"stages.{rest[0]}"):
                yield name, int(path), ".".join(["stages", rest[0], path, *rest[1:]])


def stale_weights(start: Start, exits: int) -> Built:
    """a: foreign weights start at their random values, get no gradient, and decay."""
    model = start.backbone()
    net = fission(model, exits, seed=start.seed)
    dense, masks = net.materialized(), {}
    for name, path, layer in path_layers(net):
        weight = dense.get_parameter(f"{layer}.weight")
        with torch.no_grad():
            weight.copy_(model.get_submodule(name.replace("/", ".")).weight)
        masks[f"{layer}.weight"] = net.get_submodule(f"weights.{name}").group == path
    return Built(dense, masks)


def independent_draws(start: Start, exits: int) -> Built:
    """b: stage 3's masks of exits 1 and 3 are drawn apart; exit 2's is 1 − m1 − m3: −1 occurs.

    For three exits; with two, one mask is drawn and the other is what it leaves.
    """
    model = start.backbone()
    net = fission(model, exits, seed=start.seed)
    dense, masks = net.materialized(), {}
    draws = generator("cpu", start.seed, "audit")
    drawn: dict[str, dict[int, Tensor]] = {}
    for name, path, layer in path_layers(net):
        weight = dense.get_parameter(f"{layer}.weight")
        if not name.startswith("stages/2/"):
            masks[f"{layer}.weight"] = net.get_submodule(f"weights.{name}").group == path
            continue
        if name not in drawn:
            one, three = ((torch.rand(weight.shape, generator=draws) < 1 / 3).float() for _ in "13")
            drawn[name] = {1: one, 2: 1 - one - three, 3: three}
        mask = drawn[name][path]
        with torch.no_grad():
            weight.copy_(model.get_submodule(name.replace("/", ".")).weight * (mask != 0))
        masks[f"{layer}.weight"] = mask
    return Built(dense, masks)


def unrelated_scores(start: Start, exits: int) -> Built:
    """c: SNIP scores another, Xavier-initialized network by nll_loss on raw logits."""
    scored = start.backbone().train()
    with global_stream(start.seed, "audit"):
        for layer in prunable(scored).values():
            nn.init.xavier_normal_(layer.weight)
    x, y = start.images()
    F.nll_loss(scored(x), y).backward()
    scores = {n: (m.weight.grad * m.weight).abs().detach() for n, m in prunable(scored).items()}
    total = sum(score.numel() for score in scores.values())
    masks = keep_highest(scores, [(tuple(scores), round((1 - SPARSITY) * total))])
    plan = Plan((1 / exits,) * exits, seed=start.seed)
    leave = tuple(range(1, exits))
    return Built(divided(staged(start.backbone()), masks, leave, plan))


def whole_shortcuts(start: Start, exits: int) -> Built:
    """d: every path has a full copy of each 1×1 convolution."""
    return Built(fission(start.backbone(), exits, whole=["pointwise"], seed=start.seed))


def last_batch_statistics(start: Start, exits: int) -> Built:
    """e: the norm before each classifier keeps 10 % of its running statistics."""
    net = fission(start.backbone(), exits, seed=start.seed)
    for head in net.heads:
        head[0].momentum = 0.9
    return Built(net)


def with_late_stride(network: Backbone) -> Backbone:
    """Return a copy with each block's stride in the second 3×3 convolution."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if hasattr(module, "conv2") and hasattr(module, "conv1"):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
    return network


def late_stride(start: Start, exits: int) -> Built:
    """h: the stride stands in the second 3×3 convolution of a block."""
    return Built(fission(with_late_stride(start.backbone()), exits, seed=start.seed))


# --- Settings ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What is trained: ours, or one departure.

    Attributes:
        name: in the tables.
        title: in the document.
        exits: number of exits N.
        build: makes the network.
        compared_with: the name of ours that the departure is compared with; empty for ours.
    """

    name: str
    title: str
    exits: int
    build: Builder
    compared_with: str = ""


def unpruned(exits: int, *letters: str) -> list[Setting]:
    """Return ours with ``exits`` exits and nothing pruned, and departures from it."""
    end = "" if exits == 3 else f", N = {exits}"
    found = [Setting(f"ours{end}", f"ours, N = {exits}", exits, ours)]
    for letter in letters:
        title, build = UNPRUNED[letter]
        found.append(Setting(f"{letter}{end}", f"{letter}. {title}", exits, build, f"ours{end}"))
    return found


UNPRUNED: dict[str, tuple[str, Builder]] = {
    "a": ("masked weights never zeroed", stale_weights),
    "b": ("three independent draws", independent_draws),
    "d": ("1×1 shortcuts whole", whole_shortcuts),
    "e": ("norm momentum 0.9", last_batch_statistics),
    "h": ("late stride", late_stride),
}
PRUNED = [
    Setting("ours, snip 0.8", "ours, N = 2, SNIP at 80 %", 2, ours_snip),
    Setting("c", "c. SNIP scores of another network", 2, unrelated_scores, "ours, snip 0.8"),
]
THREE_EXITS = [*unpruned(3, "a", "b", "d", "e", "h"), *PRUNED]
# b is about three groups; c stands above.
TWO_EXITS = unpruned(2, "a", "d", "e", "h")
SETTINGS = {setting.name: setting for setting in (*THREE_EXITS, *TWO_EXITS)}
