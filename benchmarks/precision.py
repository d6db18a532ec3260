"""Whether reduced precision changes accuracy: python benchmarks/precision.py --data-root DATA

Real images (20 classes of Tiny ImageNet at 32×32, prepared by ``nfe-bench data prepare``), five
seeds of the single network and of N = 3 fission, each in float32 and in every precision named on
the command line. Seeds pair the runs: same initial weights, masks and batches. Writes
benchmarks/precision.csv (one row a run) and precision.json (the comparison and the environment).
"""

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from nfe.common.files import read_json, write_csv, write_json
from nfe.engine.environment import environment
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.suite.run import Run, specify

FOLDER = Path(__file__).parent
SEEDS, EPOCHS, CLASSES, IMAGES = range(5), 6, 20, 100
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "single": ("single", {}),
    "nfe, N = 3": ("nfe", {"exits": 3}),
}
METRICS = ("accuracy", "nll", "ece")
COLUMNS = ("method", "precision", "seed", *METRICS)


def planned(method: str, precision: str, seed: int) -> Run:
    """Return one run of the comparison."""
    name, settings = METHODS[method]
    return specify(
        dataset="tiny-imagenet",
        resolution=32,
        num_classes=CLASSES,
        images_per_class=IMAGES,
        architecture_name="wrn-10-1",
        method=name,
        settings=settings,
        precision=precision,
        epochs=EPOCHS,
        seed=seed,
    )


def made(run: Run, folder: Path, worker: Worker) -> dict[str, Any]:
    """Make a run and return its metrics."""
    at = folder / run.name
    execute(run, RunFolders(at, at, folder, folder), worker)
    metrics: dict[str, Any] = read_json(at / "metrics.json")
    return metrics


def compared(
    rows: list[dict[str, Any]], method: str, precision: str, metric: str
) -> dict[str, Any]:
    """Return the difference from float32 beside the seeds' own 95 % interval (Student's t)."""

    def values(of: str) -> Any:
        return np.array([r[metric] for r in rows if r["method"] == method and r["precision"] == of])

    base, other = values("float32"), values(precision)
    t = stats.t.ppf(0.975, len(base) - 1) / np.sqrt(len(base))
    paired, interval = other - base, float(t * base.std(ddof=1))
    return {
        "method": method,
        "precision": precision,
        "metric": metric,
        "float32_mean": round(float(base.mean()), 4),
        "float32_ci95": round(interval, 4),
        "mean": round(float(other.mean()), 4),
        "ci95": round(float(t * other.std(ddof=1)), 4),
        "difference": round(float(paired.mean()), 4),
        "difference_ci95": round(float(t * paired.std(ddof=1)), 4),
        "inside_seeds_interval": bool(abs(paired.mean()) <= interval),
    }


def main() -> None:
    """Make the runs and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("precisions", nargs="*", default=["bfloat16"])
    arguments = parser.parse_args()
    worker = Worker(data_root=arguments.data_root)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        names = ("float32", *arguments.precisions)
        for method, precision, seed in itertools.product(METHODS, names, SEEDS):
            metrics = made(planned(method, precision, seed), Path(folder), worker)
            row = {"method": method, "precision": precision, "seed": seed}
            rows.append(row | {name: metrics[name] for name in METRICS})
            print(rows[-1], flush=True)
    comparison = [
        compared(rows, method, precision, metric)
        for method in METHODS
        for precision in arguments.precisions
        for metric in METRICS
    ]
    write_csv(FOLDER / "precision.csv", COLUMNS, rows)
    write_json(
        FOLDER / "precision.json",
        {
            "epochs": EPOCHS,
            "classes": CLASSES,
            "images_per_class": IMAGES,
            "architecture": "wrn-10-1",
            "comparison": comparison,
            "environment": environment(worker.device),
        },
    )
    for row in comparison:
        print(row)


if __name__ == "__main__":
    main()
