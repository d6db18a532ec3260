"""What fission costs as executed, masked and compact: python benchmarks/compact.py

A training step of the engine, inference in PyTorch and in ONNX Runtime: the single network, nfe
with weights divided one by one and with small dense layers (``alternating``; in inference also
its paths side by side in grouped convolutions), Deep Ensemble and SEMBG, in turns in one process,
on random images of 32×32 pixels and 100 classes. A Deep Ensemble's step is one step of each
member.

Writes benchmarks/compact_<device>.csv, one row for each contender of a case, as soon as the case
is measured, and beside it a JSON file with environment and options, and each case's commit and
duration. Milliseconds are processor time of one thread on a CPU, wall time on a GPU; ratios are
medians of each turn's ratio to the single network's, with quartiles. ``bytes`` are those of
weights, gradients and momentum (training), of the deployed weights (inference), of the file
(onnx). Rows that stand there are kept, those of the cases measured again are replaced.

--only words: the cases whose name has all of them; --list names the cases. All of them take
three quarters of an hour on one CPU core, best on an idle machine. Launches: launches.py.
"""

import argparse
import csv
import math
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import onnxruntime
import torch
import turns
from torch import nn

from nfe import fission
from nfe.backbones import architecture
from nfe.common.files import read_json, write_csv, write_json
from nfe.common.precision import InPrecision, default_device, prepare_process
from nfe.engine.environment import device_name, environment
from nfe.engine.latency import deployed
from nfe.engine.throughput import Meter, noise
from nfe.engine.trainer import build_network
from nfe.splitting.compact.network import CompactNetwork
from nfe.splitting.export import export_onnx
from nfe.suite.run import Run, specify

FOLDER = Path(__file__).parent
PIXELS, CLASSES = 32, 100
ARCHITECTURES = ("wrn-16-4", "resnet18")
PRECISIONS = ("float32", "bfloat16")
SINGLE = "single"
FISSIONED: dict[str, dict[str, Any]] = {
    f"nfe, {granularity}, N = {exits}": {"exits": exits, "granularity": granularity}
    for granularity in ("weight", "alternating")
    for exits in (2, 3)
}
# The method and settings of each contender; three members or branches beside three exits.
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    SINGLE: ("single", {}),
    **{name: ("nfe", settings) for name, settings in FISSIONED.items()},
    "deep_ensemble, M = 3": ("deep_ensemble", {"members": 3}),
    "sembg, N = 3": ("sembg", {"groups": [1, 2, 3]}),
}
# Paths in grouped convolutions: for inference alone.
GROUPED = {f"{name}, side by side": CONTENDERS[name] for name in FISSIONED if "alternating" in name}
CASE = ("question", "architecture", "precision", "batch")
COLUMNS = (
    *CASE,
    "contender",
    *turns.COLUMNS,
    "bytes",
    "bytes_ratio",
)


@dataclass(frozen=True)
class Case:
    """What is measured: ``training``, ``inference`` or ``onnx`` of one network in one way."""

    question: str
    architecture: str
    precision: str
    batch: int

    @property
    def name(self) -> str:
        """The case in words."""
        return " ".join(str(getattr(self, part)) for part in CASE)


class Contender(Protocol):
    """One network, ready to be measured.

    Attributes:
        size: bytes, see above.
    """

    size: int

    def step(self) -> object:
        """Do what is timed once."""


class Training:
    """A run of the engine, or a Deep Ensemble's runs, trained for as long as it is measured."""

    def __init__(self, case: Case, contender: str, threads: int) -> None:
        run = planned(case, contender, threads)
        runs = run.members() or [run]
        self._meters = [Meter(member, case.batch, PIXELS) for member in runs]
        self.size = sum(_training_bytes(meter) for meter in self._meters)

    def step(self) -> None:
        """Take one step of each network."""
        for meter in self._meters:
            meter.step()


class Inference:
    """A network as it would be deployed."""

    def __init__(self, case: Case, contender: str, threads: int) -> None:
        run, device = planned(case, contender, threads), default_device()
        prepare_process(threads, case.precision)
        built, _ = build_network(run, run.build_method(), noise(run, 1, PIXELS))
        grouped = contender in GROUPED
        network = (cast(CompactNetwork, built).grouped() if grouped else deployed(built)).to(device)
        self.size = _bytes(network.parameters())
        self._network: nn.Module = InPrecision(network, case.precision, lift=False)
        images = torch.randn(case.batch, 3, PIXELS, PIXELS, device=device)
        self._images = images.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def step(self) -> object:
        """Predict one batch."""
        return self._network(self._images)


class Onnx:
    """A network's ensemble prediction in ONNX Runtime, on the CPU."""

    def __init__(self, case: Case, contender: str, threads: int) -> None:
        torch.manual_seed(0)
        backbone = architecture(case.architecture).build(
            channels=3, classes=CLASSES, resolution=PIXELS
        )
        network = fission(backbone, **FISSIONED.get(contender, {"exits": 1})).eval()
        images = torch.randn(case.batch, 3, PIXELS, PIXELS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            export_onnx(network, file, images[:1])
            self.size = file.stat().st_size
            self._session = onnxruntime.InferenceSession(file, options)
        self._images = {"images": images.numpy()}

    def step(self) -> object:
        """Predict one batch."""
        return self._session.run(None, self._images)


QUESTIONS: dict[str, Callable[[Case, str, int], Contender]] = {
    "training": Training,
    "inference": Inference,
    "onnx": Onnx,
}


def cases() -> Iterator[Case]:
    """Yield every case, the quick ones first."""
    for name in ARCHITECTURES:
        for batch in (1, 128):
            yield Case("onnx", name, "float32", batch)
            for precision in PRECISIONS:
                yield Case("inference", name, precision, batch)
    for batch in (64, 128):
        for name in ARCHITECTURES:
            for precision in PRECISIONS:
                yield Case("training", name, precision, batch)


def planned(case: Case, contender: str, threads: int) -> Run:
    """Return the run that stands for a contender."""
    method, settings = (CONTENDERS | GROUPED)[contender]
    return specify(
        dataset="digits",
        architecture_name=case.architecture,
        method=method,
        settings=settings,
        epochs=1,
        precision=case.precision,
        threads=threads,
    )


def _bytes(tensors: Iterator[torch.Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _training_bytes(meter: Meter) -> int:
    """Return the bytes of weights, gradients and momentum after a step."""
    parameters = list(meter.trainer.network.parameters())
    gradients = (p.grad for p in parameters if p.grad is not None)
    states = meter.trainer.optimizer.state.values()
    return (
        _bytes(iter(parameters)) + _bytes(gradients) + sum(_bytes(iter(s.values())) for s in states)
    )


class Watch:
    """Times a contender's steps: processor time on a CPU, wall time on a GPU."""

    def __init__(self, contender: Contender, seconds: float, on_gpu: bool) -> None:
        """Warm up and choose how many steps a turn takes, to last about ``seconds``."""
        self._step = contender.step
        self.clock = turns.Clock(on_gpu)
        self._steps = 1
        once = min(self.turn() for _ in range(2))
        self._steps = max(1, math.ceil(seconds / once))

    def turn(self) -> float:
        """Return the seconds of one step, the mean of a turn's."""
        return self.clock.seconds(self._step, self._steps)


def measured(case: Case, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Let every contender of a case take its turns; return one row for each."""
    # ONNX Runtime is the CPU's here, whatever PyTorch has.
    on_gpu = case.question != "onnx" and default_device().type == "cuda"
    names = {
        "training": [*CONTENDERS],
        "inference": [*CONTENDERS, *GROUPED],
        "onnx": [SINGLE, *FISSIONED],
    }[case.question]
    contenders = {n: QUESTIONS[case.question](case, n, options.threads) for n in names}
    watches = {n: Watch(c, options.seconds, on_gpu) for n, c in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.turns):
        for name, watch in watches.items():
            times[name].append(watch.turn())
    rows = []
    for name in names:
        size = contenders[name].size
        rows.append(
            {
                **{part: getattr(case, part) for part in CASE},
                "contender": name,
                **turns.columns(watches[name].clock, times[name], times[SINGLE], digits=2),
                "bytes": size,
                "bytes_ratio": f"{size / contenders[SINGLE].size:.3f}",
            }
        )
    return rows


def recorded(table: Path, done: Sequence[dict[str, Any]]) -> None:
    """Write the rows of a case beside those of the others, in the order of the cases."""
    rows = list(done)
    replaced = {_name(row) for row in done}
    if table.exists():
        with table.open(newline="", encoding="utf-8") as file:
            rows += [row for row in csv.DictReader(file) if _name(row) not in replaced]
    order = [case.name for case in cases()]
    write_csv(table, COLUMNS, sorted(rows, key=lambda row: order.index(_name(row))))


def _name(row: dict[str, Any]) -> str:
    return " ".join(str(row[part]) for part in CASE)


def noted(record: Path, case: Case, seconds: float, options: argparse.Namespace) -> None:
    """Write when, with what code and how a case was measured."""
    here = environment(default_device())
    found = read_json(record)["cases"] if record.exists() else {}
    found[case.name] = {"seconds": round(seconds), "code": here["code"]}
    settings = {name: getattr(options, name) for name in ("threads", "turns", "seconds")}
    write_json(record, {"options": settings, "cases": found, "environment": here})


_PAIRS = {
    "masked": "nfe, weight, N = {}",
    "compact": "nfe, alternating, N = {}",
    "side by side": "nfe, alternating, N = {}, side by side",
}
_OTHERS = {"Deep Ensemble, M = 3": "deep_ensemble, M = 3", "SEMBG": "sembg, N = 3"}


def markdown(table: Path) -> str:
    """Return a recorded table's ratios as docs/performance.md has them."""
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cases: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        case = (row["question"], row["batch"], row["architecture"], row["precision"])
        cases.setdefault(case, {})[row["contender"]] = f"{float(row['ratio']):.2f}"
    header = ["question", "batch", "network", "precision", *(f"{n}, N = 2 / 3" for n in _PAIRS)]
    lines = [[*header, *_OTHERS], ["---"] * (len(header) + len(_OTHERS))]
    order = {name: place for place, name in enumerate(QUESTIONS)}
    for case in sorted(cases, key=lambda c: (order[c[0]], int(c[1]), *c[2:])):
        found = cases[case]
        pairs = [[found.get(name.format(n)) for n in (2, 3)] for name in _PAIRS.values()]
        others = [found.get(name, "–") for name in _OTHERS.values()]
        lines.append([*case, *(f"{a} / {b}" if a else "–" for a, b in pairs), *others])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def parsed() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="words of a case")
    parser.add_argument("--list", action="store_true", help="name the cases, measure nothing")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one turn, at least")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the table")
    options = parser.parse_args()
    if min(options.threads, options.turns - 1, options.seconds) <= 0:
        parser.error("allowed: threads from 1, turns from 2, seconds above 0")
    return options


def main() -> None:
    """Measure the chosen cases, each written when it is done."""
    options = parsed()
    chosen = [case for case in cases() if set(options.only) <= set(case.name.split())]
    if not chosen:
        raise SystemExit(f"--only {' '.join(options.only)}: no case has these words; see --list")
    if options.list:
        print(*(case.name for case in chosen), sep="\n")
        return
    device = re.sub(r"[^A-Za-z0-9]+", "-", device_name(default_device())).strip("-").lower()
    table = options.output / f"compact_{device}.csv"
    for case in chosen:
        started = time.monotonic()
        rows = measured(case, options)
        recorded(table, rows)
        noted(table.with_suffix(".json"), case, time.monotonic() - started, options)
        for row in rows:
            print(*(row[column] for column in COLUMNS), sep=",", flush=True)


if __name__ == "__main__":
    main()
