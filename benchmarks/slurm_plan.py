"""What the paper suite takes on 10, 100 and 1,000 GPUs, and what each of its groups costs.

    .venv/bin/python benchmarks/slurm_plan.py

starts the jobs of config/paper.yaml in their order, each on the GPU that is free first, with the
estimated times and the overhead per job measured by slurm_scale.py. Prints the tables of
docs/slurm.md and docs/paper-suite.md and writes slurm_plan.json.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nfe.cluster import estimate
from nfe.common.files import read_json, write_json
from nfe.suite.expansion import MEMBERS, Suite, expand, read_config

HERE = Path(__file__).resolve().parent
GPUS = (10, 100, 1000)
TABULATED = "a100"


def overhead(measured: dict[str, Any]) -> float:
    """Return the most seconds that a job cost besides its work, of all numbers of workers."""
    return max(float(row["overhead_seconds_per_job"]) for row in measured["snakemake"])


def schedule(suite: Suite, extra: float) -> Iterator[dict[str, Any]]:
    """Yield the predicted wall time for each number of GPUs."""
    modest = estimate.modest(1)
    work = [sum(estimate.seconds(run, modest) for run in chunk) for chunk in suite.chunks()]
    for gpus in GPUS:
        ends = estimate.divided((seconds + extra for seconds in work), gpus)
        yield {
            "gpus": gpus,
            "jobs": len(work),
            "gpu_hours": round(sum(work) / 3600, 1),
            "median_job_hours": round(sorted(work)[len(work) // 2] / 3600, 2),
            "longest_job_hours": round(max(work) / 3600, 1),
            "wall_hours": round(ends / 3600, 1),
            "busy": round(sum(work) / (gpus * ends), 3),
        }


def groups(suite: Suite) -> Iterator[dict[str, Any]]:
    """Yield what each group asks for; a run of several groups counts in each."""
    device = estimate.gpu(TABULATED)
    for name in (*dict.fromkeys(g for p in suite.runs for g in p.groups if g != MEMBERS), MEMBERS):
        runs = [planned.run for planned in suite.runs if name in planned.groups]
        hours = sum(estimate.seconds(run, device) for run in runs) / 3600
        yield {"group": name, "runs": len(runs), f"{TABULATED}_hours": round(hours)}


def main() -> None:
    """Print and write both tables."""
    extra = overhead(read_json(HERE / "slurm_scale.json"))
    suite = expand(read_config(HERE.parent / "config" / "paper.yaml"))
    found = {
        "runs": len(suite.runs),
        "trained": sum(not planned.run.members() for planned in suite.runs),
        "overhead_seconds_per_job": extra,
        "schedule": list(schedule(suite, extra)),
        "groups": list(groups(suite)),
    }
    write_json(HERE / "slurm_plan.json", found)
    for table in ("schedule", "groups"):
        header = list(found[table][0])
        print("| " + " | ".join(header) + " |", "|" + "---|" * len(header), sep="\n")
        for row in found[table]:
            print("| " + " | ".join(map(str, row.values())) + " |")
        print()


if __name__ == "__main__":
    main()
