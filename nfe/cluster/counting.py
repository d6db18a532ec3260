"""Count what runs take, on networks whose tensors have shapes and types but no numbers.

    python -m nfe.cluster.counting config/*.yaml

counts what the suites need and costs.json lacks, and drops what none of them needs.
"""

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from nfe.cluster import costs
from nfe.cluster.costs import Cost
from nfe.common.files import read_json, write_json
from nfe.common.macs import MacCounter
from nfe.common.precision import InPrecision
from nfe.common.seeds import generator, global_stream
from nfe.method.context import Context
from nfe.method.interface import Method, skeleton
from nfe.method.optional import DrawsOnCpu, FormsBatches, LooksAtData, Phases
from nfe.method.step import Step
from nfe.suite.expansion import expand, read_config
from nfe.suite.run import Run

# Any moment of a run that is long enough for every method's phases.
_MOMENT = Step(0, 1000, 100)
# Distinct images of the two batches that are looked at.
_FEW, _MORE = 6, 12


def count(run: Run) -> Cost:
    """Return what a run takes that trains itself; nothing is trained, no data are looked at."""
    try:
        return _count(run, fake=True)
    except (DataDependentOutputException, DynamicOutputShapeException):
        # The method reads numbers: it gets some.
        return _count(run, fake=False)


def _count(run: Run, fake: bool) -> Cost:
    card, method = run.card, run.build_method()
    with global_stream(run.seed, "initialization"):
        network = skeleton(method, _context(run)).train()
        stored = _bytes(iter(network.state_dict().values()))
        with FakeTensorMode() if fake else nullcontext() as mode:
            network = network._apply(mode.from_tensor) if mode else network
            seen = _inference(run, network)
            few, more = (_run(run, method, network, images) for images in (_FEW, _MORE))
    own = _bytes(network.parameters()) + _bytes(network.buffers())
    each = (more.kept - few.kept) / (_MORE - _FEW)
    size = card.channels, card.classes, card.resolution
    return Cost(
        step_macs=few.macs / _FEW,
        inference_macs=seen,
        step_outputs=few.outputs / _FEW,
        stored_bytes=stored,
        building_mb=LooksAtData.of(method).building_mb(run.backbone, *size),
        state_bytes=own + 2 * few.trained,
        kept_bytes=few.kept - each * _FEW,
        kept_bytes_each=each,
    )


def _context(run: Run) -> Context:
    card = run.card
    return Context(
        architecture=run.backbone.untrained(),
        channels=card.channels,
        classes=card.classes,
        resolution=card.resolution,
        seed=run.seed,
        example=_no_images,
    )


@dataclasses.dataclass(frozen=True)
class _Step:
    """What a step takes: multiply-adds, numbers that convolutions give, bytes that are kept.

    ``trained`` are the bytes of the weights that it changes, which have gradient and momentum.
    """

    macs: float
    outputs: float
    kept: int
    trained: int


def _run(run: Run, method: Method, network: nn.Module, images: int) -> _Step:
    """Return what a run's steps take: multiply-adds and numbers on average, bytes at most."""
    phases, found = Phases.of(method), []
    for first, count in phases.kinds(_MOMENT):
        phases.before_step(network, first)
        found.append((_step(run, method, network, images), count / _MOMENT.steps))
    return _Step(
        macs=sum(step.macs * share for step, share in found),
        outputs=sum(step.outputs * share for step, share in found),
        kept=max(step.kept for step, _ in found),
        trained=max(step.trained for step, _ in found),
    )


def _step(run: Run, method: Method, network: nn.Module, images: int) -> _Step:
    card, draws = run.card, generator("cpu", run.seed, "count")
    blank = torch.zeros(images, card.channels, card.resolution, card.resolution)
    inputs, targets = FormsBatches.of(method).training_batch(
        blank, torch.arange(images) % card.classes, draws
    )
    DrawsOnCpu.of(method).draw(network, inputs)
    kept: dict[int, Tensor] = {}
    outputs: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    def given(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs.append(output.numel())

    own = {t.untyped_storage()._cdata for t in (*network.parameters(), *network.buffers())}
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    hooks = [layer.register_forward_hook(given) for layer in layers]
    try:
        with MacCounter(executed_only=True) as counter:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                forward = InPrecision(network, run.precision, lift=not method.lifts)
                loss, _ = method.loss(forward, inputs, targets)
            loss.backward()
    finally:
        for hook in hooks:
            hook.remove()
    trained = _bytes(p for p in network.parameters() if p.grad is not None)
    network.zero_grad()
    size = sum(t.untyped_storage().nbytes() for name, t in kept.items() if name not in own)
    return _Step(counter.executed, sum(outputs), size, trained)


@torch.no_grad()
def _inference(run: Run, network: nn.Module) -> float:
    """Return the multiply-adds of the finished network for each image."""
    card = run.card
    blank = torch.zeros(_FEW, card.channels, card.resolution, card.resolution)
    network.eval()
    with MacCounter(executed_only=True) as counter:
        network(blank)
    network.train()
    return float(counter.executed / _FEW)


def _no_images(per_class: int) -> tuple[Tensor, Tensor]:
    raise AssertionError(f"a skeleton looks at no images, and {per_class} of a class are asked for")


def _bytes(tensors: Iterator[Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def main(paths: list[str]) -> None:
    """Bring costs.json up to date with suites."""
    wanted: dict[str, Run] = {}
    for path in paths:
        suite = expand(read_config(Path(path)))
        trained = [run for chunk in suite.chunks() for run in chunk]
        wanted |= {costs.key(r): r for run in trained for r in (run, costs.plain(run))}
    known = _known()
    found = {}
    for number, (name, run) in enumerate(sorted(wanted.items()), start=1):
        print(f"{number}/{len(wanted)} {run.name}", file=sys.stderr)
        found[name] = known.get(name) or list(dataclasses.astuple(count(run)))
        write_json(costs.TABLE, found)


def _known() -> dict[str, list[float]]:
    # Rows from before a column was added or dropped are counted again.
    rows = read_json(costs.TABLE) if costs.TABLE.exists() else {}
    width = len(dataclasses.fields(costs.Cost))
    return {name: row for name, row in rows.items() if len(row) == width}


if __name__ == "__main__":
    main(sys.argv[1:])
