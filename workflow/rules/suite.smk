# The suite, expanded once: which runs there are and where their files stand.
import functools
import itertools
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from nfe.cluster import estimate, packing, site
from nfe.data import outliers
from nfe.common.errors import InputError
from nfe.common.files import make_directory, read_json, write_json
from nfe.suite.outputs import RESULT_FILES, evaluation_files, network_name
from nfe.suite.expansion import SCHEMA, check_groups, expand, read_config, timed
from nfe.suite.expansion import told_readers
from nfe.report.catalogue import FORMATS, available

try:
    # Snakemake has read them, but takes keys that stand twice and 010 for 8.
    for file in workflow.configfiles:
        read_config(Path(file))
    SUITE = expand(config)
    # Jobs read the plan from a file of its own content: it cannot change under a running job.
    PLAN = Path(".snakemake", "plans", f"{SUITE.name}-{SUITE.digest}.json")
    # What it tells readers is no part of its name: tables and figures need it as it is now.
    record = SUITE.record()
    told = read_json(PLAN) if PLAN.exists() else None
    if told is None or told_readers(told) != told_readers(record):
        make_directory(PLAN.parent)
        write_json(PLAN, record)
    # What is asked for beyond clean accuracy, and of which runs.
    EVALUATE = config.get("evaluate", {"groups": []})
    asked = EVALUATE.get("groups", config["groups"])
    check_groups(config, asked, "evaluate")
    EVALUATED = [p.run for p in SUITE.runs if set(asked) & set(p.groups)]
    TIMED = timed(config, SUITE.runs)
    for name in EVALUATE.get("ood", []):
        if not any(outliers.fits(planned.run.card, name) for planned in SUITE.runs):
            outliers.check(SUITE.runs[0].run.card, name)
except InputError as error:
    raise WorkflowError(str(error)) from None

ROOT = Path(config.get("output", "."))
RESULTS = ROOT / "results" / SUITE.name
# The environment of snakemake itself, whether or not it is activated.
BENCH = f"{shlex.quote(sys.executable)} -m nfe"
SITE = site.load()
GPUS = config.get("gpus", 0)
# Jobs that ask for a GPU do not fall back to the CPU in silence.
ASKED = f" --gpus {GPUS}" if GPUS else ""
# Jobs on a cluster get their own beginning from nfe.cluster.executor. Snakemake formats the prefix:
# doubled braces stay braces.
shell.prefix(f"set -euo pipefail; {site.HERE}".replace("{", "{{").replace("}", "}}"))
START = "stay "
STAGE = site.SCRATCH_OPTION if SITE.scratch else ""
TRAIN = f"{START}{BENCH}{ASKED}"
# What others have trained is combined without a GPU, and nothing is trained in its place.
COMBINE = f"{START}env CUDA_VISIBLE_DEVICES= {BENCH}" if GPUS else TRAIN
TRAINED = "--trained" if GPUS else ""
DATA_ROOT = (
    f"--data-root {shlex.quote(config['data_root'])}" if "data_root" in config else ""
)


def devices(runs):
    """Return over how many GPUs a job divides its runs."""
    return packing.devices(runs, SITE, GPUS)


def at_once(runs):
    """Return how many of a job's runs train at the same time."""
    return min(SITE.gpus_per_job * SITE.workers_per_gpu, len(runs)) if GPUS else 1


def beside(runs):
    """Return the options of a job that trains several runs at the same time."""
    shared = f" --devices {devices(runs)}" if devices(runs) > 1 else ""
    return f"--workers {at_once(runs)}{shared}" if at_once(runs) > 1 else ""


def training_minutes(runs):
    """Return the time that a job is estimated to train."""
    return estimate.minutes(runs, GPUS, devices(runs))


def demand(runs, minutes):
    """Return the resources of a job that trains some runs for so long."""
    megabytes = at_once(runs) * estimate.memory_mb(runs)
    return growing(minutes, megabytes, on_gpu(devices(runs)), cuts(minutes))


def cuts(minutes):
    """Return how often a job of so many minutes is expected to reach its time limit and to go on."""
    return estimate.restarts(minutes, SITE.max_minutes)


def growing(minutes, megabytes, more, cuts=0):
    """Return a job's resources; time and memory grow with each attempt.

    With the last attempt memory has grown as it would without foreseen cuts.
    """

    def runtime(wildcards, attempt):
        return min(minutes * attempt, SITE.max_minutes)

    def mem_mb(wildcards, attempt):
        if not SITE.request_memory:
            return 0
        # None while the graph is made, and 0 within a job.
        settings = workflow.execution_settings
        failures = max(1, settings.retries if settings else 0)
        return round(megabytes * (1 + (attempt - 1) * failures / (failures + cuts)))

    return {"runtime": runtime, "mem_mb": mem_mb, **more}


def on_gpu(count=1):
    """Return what a job asks for that computes networks, on so many GPUs or the suite's."""
    if not GPUS:
        return off_gpu()
    return {
        "gpu": max(GPUS, count),
        **({"gpu_model": SITE.gpu_model} if SITE.gpu_model else {}),
    }


def off_gpu():
    """Return what a job asks for that computes no network."""
    return {"slurm_partition": SITE.cpu_partition} if SITE.cpu_partition else {}


def lacking(folder, names):
    """Return of files that one job makes, in the order of their writing, the one to ask for.

    The last that is not there, or the last of all: it stands for them. Snakemake's time goes with
    the number of files it is told of, and a suite has many.
    """
    missing = [name for name in names if not os.path.exists(folder / name)]
    return folder / (missing or names)[-1]


def run_files(runs):
    """Return the file of each run that is asked for: the one that says that it is complete, if so."""
    return [lacking(RESULTS / "runs" / run.name, RESULT_FILES) for run in runs]


@functools.cache
def of_card(card):
    """Return the out-of-distribution sets of the configuration that fit a data set."""
    return [name for name in EVALUATE.get("ood", []) if outliers.fits(card, name)]


def fitting(runs):
    """Return the out-of-distribution sets of the configuration that fit some of the runs."""
    found = {name for run in runs for name in of_card(run.card)}
    return [name for name in EVALUATE.get("ood", []) if name in found]


def evaluations(runs):
    """Return the file of each run's evaluations that is asked for."""
    corrupted = EVALUATE.get("corruptions", False)
    return [
        lacking(
            RESULTS / "runs" / run.name, evaluation_files(fitting([run]), corrupted)
        )
        for run in runs
    ]


def finished(runs):
    """Return the files that say that runs are complete, as what is made from them needs them.

    ancient(): a file that is there is good, since its folder's name holds what it was made from;
    in a clone its modification time says nothing. One that is missing is made, and what
    depends on it is made again.
    """
    return list(map(ancient, run_files(runs)))


def asked_for():
    """Return what is asked for beside tables and figures.

    A file of each job that computes networks: where it is there but not known to be whole, as a
    killed snakemake leaves it, nothing behind ancient() follows, and what asks for it makes all
    that is missing behind it. And what is missing although the tables are there; where they are
    not, they ask for it.
    """
    each = [run_files(pack.runs[:1]) for pack in (*TRAININGS, *COMBINATIONS)]
    each += [evaluations(pack.runs[:1]) for pack in EVALUATIONS]
    files = [*itertools.chain(*each), *LATENCIES[:1]]
    if all(map(os.path.exists, TABLES)):
        behind = [*run_files(RUNS), *LATENCIES, *evaluations(EVALUATED)]
        files += [file for file in behind if not os.path.exists(file)]
    return list(dict.fromkeys(files))


RUNS = [planned.run for planned in SUITE.runs]
TRAININGS = packing.training(SUITE, SITE, GPUS)
COMBINATIONS = packing.brief(SUITE, "combine", SUITE.combined())
EVALUATIONS = packing.brief(SUITE, "evaluate", EVALUATED)
# For nfe-bench status.
packing.note(SUITE.name, [*TRAININGS, *COMBINATIONS])
LATENCIES = sorted({RESULTS / "latency" / f"{network_name(run)}.json" for run in TIMED})
# The plan's digest in the name makes tables follow the configuration, not modification times.
PLANNED = RESULTS / f"plan-{SUITE.digest}.json"
TABLE_NAMES = ("runs.csv", "summary.csv", "summary.md")
FOR_TOOLS = ("summary.tex", "summary.json", "curves.csv", "comparisons.csv")
if EVALUATED:
    FOR_TOOLS = (*FOR_TOOLS, "evaluation.csv")
if any(run.audit for run in RUNS):
    FOR_TOOLS = (*FOR_TOOLS, "selection.csv")
TABLES = [*(RESULTS / name for name in (*TABLE_NAMES, *FOR_TOOLS)), PLANNED]
PAGE = RESULTS / "index.html"
FIGURE_NAMES = available({group for planned in SUITE.runs for group in planned.groups})
FIGURE_FOLDER = ROOT / "figures" / SUITE.name
FIGURES = [
    FIGURE_FOLDER / f"{name}.{kind}" for name in FIGURE_NAMES for kind in FORMATS
]
