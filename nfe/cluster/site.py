"""What a cluster's site decides: slurm/site.yaml, each key also by environment."""

import dataclasses
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nfe.cluster import container
from nfe.common import strict_yaml
from nfe.common.errors import InputError, unknown

FILE = Path("slurm", "site.yaml")
PREFIX = "NFE_SLURM_"

# What stands in --gpus=TYPE:1 of a call that a shell reads.
GPU_MODEL = re.compile(r"[a-zA-Z0-9_.\-]+")

# Shell code of a command that is not in a job: exec, so that the signal that asks a run to save its
# state reaches the process that trains.
HERE = 'stay() { exec "$@"; }; '
# In a job, the folder that data are copied to: the option for it, where there is one.
SCRATCH = "NFE_JOB_SCRATCH"
SCRATCH_OPTION = f'${{{SCRATCH}:+--scratch "${SCRATCH}"}}'

# SIGTERM comes before pre-emption, cancellation and the time limit. A job that then ended by itself
# would count as failed, and SLURM would not put it back into the queue: so once the state is saved
# it stays until SLURM ends it. Bash runs the trap when the command has ended.
_STAY = (
    'stay() {{ {}local told= status=0; trap told=1 TERM; {}"$@" || status=$?; '
    '[ -z "$told" ] || sleep 300; return $status; }}; '
)
# Without its modules a job could run on other libraries, or on none: it ends, and says why.
_LOAD = (
    "module load {0} || "
    "{{ echo 'slurm/site.yaml, modules: module load {0} failed' >&2; return 1; }}; "
)


@dataclass(frozen=True)
class Site:
    """The settings of a site; empty means that the cluster's default applies.

    Attributes:
        partition: partition of every job.
        cpu_partition: partition of jobs that need no GPU, where that of the others refuses these.
        partition_limits: YAML file of partitions and their limits; each job then goes to the one
            that fits it best, unless ``partition`` is set.
        account: account to charge.
        qos: quality of service.
        gpu_model: type of GPU, as in ``--gpus=TYPE:1``.
        constraint: node features.
        reservation: reservation to run in.
        exclude: nodes to stay away from, as ``sbatch --exclude`` takes them.
        clusters: cluster to submit to, where there are several.
        extra: further options of sbatch, as they are typed.
        request_memory: whether jobs ask for memory (``--mem``); some sites refuse that.
        modules: environment modules that each job loads, separated by spaces.
        container: Apptainer image in which each job's commands run, with the image's own Python.
        container_options: further options of ``apptainer exec``, as they are typed.
        scratch: folder on each node's own disk to which data are copied once.
        workers_per_gpu: how many runs of one job train on a GPU at the same time, in processes of
            their own; also of jobs on this machine. The runs are the same.
        gpus_per_job: GPUs over which a job of several runs divides them; each run uses one.
        target_minutes: how long a job that trains should take at most, as estimated: short runs are
            put together up to that, the longest first. 0: as many as the suite says.
        max_minutes: longest time limit that a job may ask for; longer runs continue in the next.
        max_jobs: how many jobs may be queued or running at once.
    """

    partition: str = ""
    cpu_partition: str = ""
    partition_limits: str = ""
    account: str = ""
    qos: str = ""
    gpu_model: str = ""
    constraint: str = ""
    reservation: str = ""
    exclude: str = ""
    clusters: str = ""
    extra: str = ""
    request_memory: bool = True
    modules: str = ""
    container: str = ""
    container_options: str = ""
    scratch: str = ""
    workers_per_gpu: int = 1
    gpus_per_job: int = 1
    target_minutes: int = 0
    max_minutes: int = 1440
    max_jobs: int = 500

    def resources(self) -> dict[str, str]:
        """Return the default resources of every job, quoted for Snakemake."""
        named = {
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "clusters": self.clusters,
        }
        return {name: repr(value) for name, value in named.items() if value}

    def options(self, more: str = "") -> str:
        """Return the options of sbatch for which Snakemake's plugin has no resource."""
        found = ["--signal=TERM@120", "--open-mode=append", *self._placed()]
        return " ".join([*map(shlex.quote, found), *filter(None, [self.extra, more])])

    def srun_options(self) -> list[str]:
        """Return the options, but for ``extra``, with which srun starts where a job could."""
        named = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "clusters": self.clusters,
        }
        found = [f"--{name}={value}" for name, value in named.items() if value]
        return [*found, *self._placed()]

    def _placed(self) -> list[str]:
        named = {"reservation": self.reservation, "exclude": self.exclude}
        return [f"--{name}={value}" for name, value in named.items() if value]

    def setup(self, gpus: int, folders: Sequence[str] = ()) -> str:
        """Return the shell code that each job starts with; it defines ``stay COMMAND …``.

        A job that asked for no GPU sees none, also where the cluster itself would not hide them.

        Args:
            gpus: GPUs that the job asks for.
            folders: what a container has to show besides the working directory and the scratch.
        """
        load = _LOAD.format(self.modules) if self.modules else ""
        hide = "" if gpus else "export CUDA_VISIBLE_DEVICES=; "
        scratch = f"export {SCRATCH}={shlex.quote(self.scratch)}; " if self.scratch else ""
        around = "contained " if self.container else ""
        return f"{hide}{scratch}{self._contained(gpus, folders)}{_STAY.format(load, around)}"

    def _contained(self, gpus: int, folders: Sequence[str]) -> str:
        """Return shell code that defines ``contained COMMAND …`` where there is a container."""
        if not self.container:
            return ""
        shown, make = [*folders], ""
        if self.scratch:
            shown.append(self.scratch)
            make = f"mkdir -p {shlex.quote(self.scratch)}; "
        options = self.container_options
        return make + container.function(self.container, sys.executable, gpus, shown, options)


def load(file: Path = FILE, environment: Mapping[str, str] = os.environ) -> Site:
    """Return the site's settings: the environment's, else the file's, else the defaults.

    Args:
        file: the YAML file; it may be missing.
        environment: where NFE_SLURM_PARTITION and its like are looked up.

    Raises:
        InputError: a key is unknown or a value is of the wrong kind.
    """
    fields = {field.name: field for field in dataclasses.fields(Site)}
    values = strict_yaml.load(file) or {} if file.exists() else {}
    for key in values:
        if key not in fields:
            raise unknown(f"key in {file}:", key, fields)
    for variable in (v for v in environment if v.startswith(PREFIX)):
        key = variable.removeprefix(PREFIX).lower()
        if key not in fields:
            raise unknown(f"setting in {variable} (environment):", key, fields)
        values[key] = environment[variable]
    values = {key: "" if value is None else str(value) for key, value in values.items()}
    asks = _flag(values, "request_memory", file)
    numbers = {
        "workers_per_gpu": _whole(values, "workers_per_gpu", "whole numbers from 1", file),
        "gpus_per_job": _whole(values, "gpus_per_job", "whole numbers from 1", file),
        "target_minutes": _whole(values, "target_minutes", "whole minutes from 0", file, 0),
        "max_minutes": _whole(values, "max_minutes", "whole minutes from 1", file),
        "max_jobs": _whole(values, "max_jobs", "whole numbers from 1", file),
    }
    return Site(**{**values, **numbers, "request_memory": asks})


def _flag(values: Mapping[str, str], key: str, file: Path) -> bool:
    """Return a setting that is true or false."""
    text = values.get(key, "true").lower()
    if text not in ("true", "false"):
        raise InputError(f"{key} is {text!r} ({file}): allowed: true, false")
    return text == "true"


def _whole(values: Mapping[str, str], key: str, allowed: str, file: Path, least: int = 1) -> int:
    """Return a setting that is a whole number."""
    text = values.get(key, str(getattr(Site, key)))
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"{key} is {text!r} ({file}): allowed: {allowed}")
    return int(text)
