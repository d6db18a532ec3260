"""Overhead per job and efficiency on a real SLURM scheduler, with runs that only sleep.

    tests/slurm/install.sh; .venv/bin/python benchmarks/slurm_scale.py

starts the tests' cluster with nodes that claim many CPUs, and writes slurm_scale.json: first
the scheduler alone, then snakemake with the profile's own throttles. See docs/slurm.md.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tests" / "slurm"))

from cluster import Cluster, wait_until  # noqa: E402

CPUS = 64
SUBMITTED = 200
ALONE_SECONDS, ALONE_WORKERS = 10, (1, 4, 16, 64, 128)
WHOLE_SECONDS, WHOLE_WORKERS = 30, (1, 2, 4, 8)
JOBS_PER_WORKER = 2

SNAKEFILE = """\
localrules: all
rule all:
    input: [f"done/{{n}}" for n in range({jobs})]
for n in range({jobs}):
    rule:
        name: f"stub_{{n}}"
        output: f"done/{{n}}"
        resources: runtime=10, mem_mb=10
        shell: "sleep {seconds}; touch {{output}}"
"""


def efficiency(jobs: int, seconds: float, workers: int, wall: float) -> dict[str, Any]:
    """Return what N jobs on W workers took, and the share of it that was work."""
    ideal = jobs * seconds / workers
    return {
        "workers": workers,
        "jobs": jobs,
        "job_seconds": seconds,
        "wall_seconds": round(wall, 1),
        "efficiency": round(ideal / wall, 3),
        "machine_load": round(os.getloadavg()[0], 1),
        "overhead_seconds_per_job": round((wall - ideal) * workers / jobs, 2),
    }


def submission(cluster: Cluster) -> dict[str, Any]:
    """Return how many jobs a second sbatch submits, one by one, and the time of a query."""
    started = time.monotonic()
    for _ in range(SUBMITTED):
        cluster.client("sbatch", "--hold", "-o", "/dev/null", "--mem=10", "--wrap", "true")
    submitted = time.monotonic()
    cluster.queue("%i|%T", "--states=all")
    queried = time.monotonic()
    cluster.client("scancel", "--user=root")
    wait_until("queue is empty", lambda: not cluster.queue("%i"), 60)
    return {
        "jobs_per_second": round(SUBMITTED / (submitted - started), 1),
        "query_seconds": round(queried - submitted, 3),
    }


def alone(cluster: Cluster, workers: int) -> dict[str, Any]:
    """Return the scheduler's own efficiency: an array of sleeping jobs, some at a time."""
    jobs = JOBS_PER_WORKER * workers
    started = time.monotonic()
    cluster.client(
        "sbatch", f"--array=1-{jobs}%{workers}", "-o", "/dev/null", "--mem=10",
        "--wrap", f"sleep {ALONE_SECONDS}",
    )  # fmt: skip
    wait_until("all done", lambda: not cluster.queue("%i"), 600)
    return efficiency(jobs, ALONE_SECONDS, workers, time.monotonic() - started)


def whole(cluster: Cluster, workers: int) -> dict[str, Any]:
    """Return the efficiency of snakemake with the profile, and its own CPU time per job."""
    jobs = JOBS_PER_WORKER * workers
    with tempfile.TemporaryDirectory(prefix="nfe-scale-") as folder:
        Path(folder, "Snakefile").write_text(
            SNAKEFILE.format(jobs=jobs, seconds=WHOLE_SECONDS), encoding="utf-8"
        )
        Path(folder, "empty.yaml").write_text("{}\n", encoding="utf-8")
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "snakemake", "--profile", str(HERE.parent / "slurm"),
             "--configfile", "empty.yaml", "--jobs", str(workers), "--latency-wait", "5",
             "--nfe-slurm-init-seconds-before-status-checks", "2", "--quiet", "all"],
            cwd=folder, env=cluster.environment, check=True,
        )  # fmt: skip
        wall = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    measured = efficiency(jobs, WHOLE_SECONDS, workers, wall)
    return {**measured, "snakemake_cpu_seconds": round(cpu, 1)}


def main() -> None:
    """Measure and write."""
    with Cluster(cpus=CPUS) as cluster:
        record = {
            "cores": os.cpu_count(),
            "submission": submission(cluster),
            "scheduler": [alone(cluster, workers) for workers in ALONE_WORKERS],
            "snakemake": [whole(cluster, workers) for workers in WHOLE_WORKERS],
        }
    (HERE / "slurm_scale.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
