"""How much memory of a GPU a run's training takes, estimated without one.

Weights, gradients and momentum, and what a step keeps for its backward pass. The latter is counted
in the forward pass of two tiny batches on the CPU, in the run's precision, and scaled to its batch.
"""

from collections.abc import Hashable, Iterator, Sequence

import torch
from torch import Tensor, nn

from nfe.backbones import architecture
from nfe.cluster import estimate
from nfe.common.precision import InPrecision
from nfe.common.seeds import generator, global_stream
from nfe.data import Card
from nfe.method.interface import Context
from nfe.method.step import Step
from nfe.suite.run import Run

# cuBLAS's workspaces with the repeatable configuration: of two handles, on the stream and on the
# one that records. What CUDA itself takes beside them depends on the GPU.
WORKSPACES = 4 * 2**25
# Rows of both batches.
_FEW, _MORE = 2, 4
# Any moment of a run that is long enough for every method's phases.
_MOMENT = Step(0, 1000, 100)
# How many kinds of runs are built to find the largest: all of a suite's would take minutes.
_CANDIDATES = 4


def peak_mb(run: Run, card: Card | None = None) -> float:
    """Return the peak of a run's training on a GPU, in MB, CUDA's own share left out.

    Args:
        run: the run.
        card: of other images than the run's, if given.
    """
    card, method = card or run.card, run.build_method()
    context = Context(
        architecture=architecture(run.architecture),
        channels=card.channels,
        classes=card.classes,
        resolution=card.resolution,
        seed=run.seed,
        example=_no_images,
    )
    with global_stream(run.seed, "memory"):
        network = method.skeleton(context).train()
        few, more = (_kept(run, card, network, rows) for rows in (_FEW, _MORE))
    kept = few + (more - few) * (run.recipe.batch_size - _FEW) / (_MORE - _FEW)
    weights = _bytes(p for p in network.parameters() if p.requires_grad)
    return (3 * weights + _bytes(network.buffers()) + kept + WORKSPACES) / 1e6


def _no_images(per_class: int) -> tuple[Tensor, Tensor]:
    raise AssertionError(f"a skeleton looks at no images, and {per_class} of a class are asked for")


def _bytes(tensors: Iterator[Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def _kept(run: Run, card: Card, network: nn.Module, rows: int) -> int:
    """Return the bytes that a step on a batch keeps, beside the network's own."""
    method = run.build_method()
    own = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # A tensor is held on to, or its memory would become another one's.
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    images = torch.zeros(rows, card.channels, card.resolution, card.resolution)
    labels = torch.arange(rows) % card.classes
    method.before_step(network, _MOMENT)
    inputs, targets = method.training_batch(images, labels, generator("cpu", run.seed, "memory"))
    method.draw(network, inputs)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        method.loss(InPrecision(network, run.precision, lift=not method.lifts), inputs, targets)
    return sum(t.untyped_storage().nbytes() for pointer, t in kept.items() if pointer not in own)


def _kind(run: Run) -> Hashable:
    """Return what decides a run's memory, as far as the search for the largest tells runs apart."""
    size = run.card.resolution, run.recipe.batch_size
    return run.method, run.architecture, size, run.precision


def said(runs: Sequence[Run]) -> str:
    """Return what the largest run takes, and which GPUs of gpus.yaml have it, in a line."""
    run, peak = largest(runs)
    fits = [device.name for device in estimate.gpus().values() if device.holds(peak)]
    return (
        f"GPU memory: at most some {peak / 1000:,.1f} GB and {estimate.CUDA_GB:g} GB for CUDA "
        f"({run.name}); enough have {', '.join(fits) or 'none of the named GPUs'}"
    )


def largest(runs: Sequence[Run]) -> tuple[Run, float]:
    """Return the run whose training takes most, with its peak in MB.

    Built are only the runs whose convolutions give most in a step, each of another method,
    network, image size, batch or precision.
    """
    kinds: dict[Hashable, Run] = {}
    for run in sorted(runs, key=estimate.step_outputs, reverse=True):
        kinds.setdefault(_kind(run), run)
    peaks = [(run, peak_mb(run)) for run in list(kinds.values())[:_CANDIDATES]]
    return max(peaks, key=lambda found: found[1])
