"""Whether a cluster has what slurm/site.yaml asks it for."""

import dataclasses
import getpass
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nfe.cluster import limits, site
from nfe.cluster.finding import Finding, ask

# What srun says of options that only sbatch has.
_UNKNOWN_OPTION = re.compile("(unrecognized|invalid|unknown) option", re.IGNORECASE)
# A node is waited for so long.
_NODE_SECONDS = 60
# On a node: what a job of the suite does in its first second, and which device it has then.
_PROBE = """\
from pathlib import Path
from nfe.common.errors import InputError
from nfe.common.precision import default_device, require_gpu
from nfe.engine.environment import device_name
for folder in {folders}:
    if not Path(folder).is_dir():
        raise SystemExit(folder + ": no such folder there")
try:
    if {gpus}:
        require_gpu()
except InputError as error:
    raise SystemExit(str(error))
print(device_name(default_device()))
"""


def findings(chosen: site.Site, gpus: int, folders: Sequence[str] = ()) -> Iterator[Finding]:
    """Yield what was found out about every key of the site.

    Args:
        chosen: the site's settings.
        gpus: GPUs that a job asks for.
        folders: what it needs besides the working directory.
    """
    # SLURM's tools take several; each has partitions, accounts and limits of its own.
    good = True
    for cluster in [c.strip() for c in chosen.clusters.split(",")]:
        pinged = ask("scontrol", *_at(cluster), "ping")
        if pinged is None or "UP" not in pinged:
            more = " ".join(["scontrol", *_at(cluster), "ping"])
            yield Finding(False, "slurm", f"the controller does not answer: {more}")
            good = False
            continue
        yield Finding(True, "slurm", pinged.splitlines()[0])
        partitions = list(_partitions(chosen, gpus, cluster))
        yield from partitions
        good = good and all(finding.good for finding in partitions)
        yield from _account(chosen, cluster)
    yield from _paths(chosen)
    if good:
        yield from _submission(chosen, gpus)
        yield _node(chosen, gpus, folders)


def _at(cluster: str) -> list[str]:
    """Return the option with which SLURM's tools ask another cluster than the default one."""
    return [f"--clusters={cluster}"] if cluster else []


def _partitions(chosen: site.Site, gpus: int, cluster: str) -> Iterator[Finding]:
    """Check the partitions: that they are up, their limits and their GPUs.

    SLURM takes several, separated by commas: a job goes to the one that starts it first.
    """
    told = ask("sinfo", *_at(cluster), "-h", "-o", "%P|%a|%l|%G") or ""
    # With --clusters a line comes before that names the cluster.
    listed = [line.split("|") for line in told.split() if line.count("|") == 3]
    names = sorted({line[0].rstrip("*") for line in listed})
    default = next((p[0][:-1] for p in listed if p[0].endswith("*")), "")
    wanted = [p.strip() for p in (chosen.partition or default).split(",") if p.strip()]
    without = [p.strip() for p in chosen.cpu_partition.split(",") if p.strip()]
    unknown = [name for name in [*wanted, *without] if name not in names]
    if unknown or not wanted:
        named = ", ".join(map(repr, unknown)) or "no default one"
        said = f"{named}: set partition in {site.FILE} to one of {', '.join(names)}"
        yield Finding(False, "partition", said)
        return
    found = [line for line in listed if line[0].rstrip("*") in wanted]
    shown = {name: _shown(name, cluster) for name in dict.fromkeys([*wanted, *without])}
    for name, settings in shown.items():
        up, limit = next(line[1:3] for line in listed if line[0].rstrip("*") == name)
        yield Finding(up == "up", "partition", f"{name}: {up}, time limit {limit}")
        yield from _admission(name, chosen, settings)
    # A job that is longer than one of several allows is refused, or never started there.
    minutes = min(limits.minutes(line[2]) for line in found)
    joined = ", ".join(wanted)
    yield from limits.findings(chosen, getpass.getuser(), cluster, shown)
    if minutes < chosen.max_minutes:
        said = f"max_minutes is {chosen.max_minutes}, {joined} allows {minutes:g}: set it so"
        yield Finding(False, "limit", f"{said} in {site.FILE}")
    if gpus:
        yield _gpu(chosen, gpus, joined, {line[3] for line in found})


def _gpu(chosen: site.Site, gpus: int, where: str, offered: set[str]) -> Finding:
    """Check that some node has as many GPUs of the model as a job asks for."""
    model = chosen.gpu_model
    if model and not site.GPU_MODEL.fullmatch(model):
        said = f"gpu_model {model!r}: jobs can ask for letters, digits, _, . and - alone"
        more = "leave it empty and choose the nodes by partition or constraint"
        return Finding(False, "gpu", f"{said}: {more} ({site.FILE})")
    kinds = sorted({gpu for gres in offered for gpu in _gpus(gres)})
    good = any(count >= gpus and model in ("", kind) for kind, count in kinds)
    told = ", ".join(f"{kind or 'GPUs'}:{count}" for kind, count in kinds) or "none"
    asked = f"{model}:{gpus}" if model else str(gpus)
    return Finding(good, "gpu", f"{where} offers {told} a node, each job asks for {asked}")


def _gpus(gres: str) -> Iterator[tuple[str, int]]:
    """Yield type and number of each kind of GPU in a node's generic resources.

    As sinfo prints them: ``gpu:a100-sxm4:4(S:0-1),shard:16``, without a type ``gpu:2``; some
    versions begin with ``gres/``. Without a number it is one.
    """
    for part in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *words = part.strip().removeprefix("gres/").split(":")
        words = [word for word in words if word != "no_consume"]
        if name == "gpu":
            count = words.pop() if words and words[-1].isdecimal() else "1"
            yield ":".join(words), int(count)


def _shown(partition: str, cluster: str) -> dict[str, str]:
    """Return what scontrol shows of a partition."""
    told = ask("scontrol", *_at(cluster), "show", "partition", partition, "--oneliner") or ""
    return dict(word.split("=", 1) for word in told.split() if "=" in word)


def _admission(partition: str, chosen: site.Site, settings: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what of account and quality of service a partition does not admit."""
    for key, value, what in (
        ("Accounts", chosen.account, "account"),
        ("Qos", chosen.qos, "qos"),
    ):
        allowed, denied = settings.get(f"Allow{key}", "ALL"), settings.get(f"Deny{key}", "")
        if value and allowed != "ALL" and value not in allowed.split(","):
            yield Finding(False, what, f"{value}: partition {partition} admits {allowed}")
        if value and value in denied.split(","):
            yield Finding(False, what, f"{value}: partition {partition} denies {denied}")


def _account(chosen: site.Site, cluster: str) -> Iterator[Finding]:
    """Check account and quality of service against what the accounting lets the user have."""
    user = getpass.getuser()
    where = [f"user={user}", *([f"cluster={cluster}"] if cluster else [])]
    told = ask("sacctmgr", "-n", "-P", "list", "associations", *where, "format=account,qos")
    if told is None:
        named = [name for name in (chosen.account, chosen.qos) if name]
        if named:
            said = f"{', '.join(named)}: not checked, the accounting database does not answer"
            yield Finding(None, "account", said)
        else:
            yield Finding(True, "account", "no accounting database answers: the defaults are used")
        return
    rows: dict[str, set[str]] = {}
    for line in told.splitlines():
        account, _, qos = line.partition("|")
        rows.setdefault(account, set()).update(filter(None, qos.split(",")))
    accounts = ", ".join(sorted(rows)) or "none"
    if not chosen.account:
        yield Finding(True, "account", f"the default of {accounts}")
    else:
        good = chosen.account in rows
        yield Finding(good, "account", f"{chosen.account}: {user} may charge {accounts}")
    if chosen.qos:
        charged: Mapping[str, set[str]] = rows
        if chosen.account in rows:
            charged = {chosen.account: rows[chosen.account]}
        offered = set().union(*charged.values())
        said = f"{chosen.qos}: {user} may have {', '.join(sorted(offered)) or 'none'}"
        yield Finding(chosen.qos in offered, "qos", said)


def _paths(chosen: site.Site) -> Iterator[Finding]:
    """Yield which files that the site names are missing."""
    for key, path in (
        ("partition_limits", chosen.partition_limits),
        ("container", chosen.container),
    ):
        if path and not Path(path).exists():
            yield Finding(False, "site", f"{key}: no file {path} ({site.FILE})")


def _submission(chosen: site.Site, gpus: int) -> Iterator[Finding]:
    """Yield what sbatch says of a job's options, all of them as they are; it submits nothing."""
    options = [*_requested(chosen, gpus), f"--time={chosen.max_minutes}", "--requeue"]
    options += shlex.split(chosen.extra)
    command = ["sbatch", "--test-only", *options, "--wrap", "true"]
    try:
        done = _run(command, _NODE_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding(None, "sbatch", f"sbatch --test-only: {error}")
        return
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = said or [f"exit status {done.returncode}"]
        yield Finding(False, "sbatch", f"{said[-1]} ({' '.join(options)})")


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=seconds,
        check=False,
    )


def _requested(chosen: site.Site, gpus: int) -> list[str]:
    """Return the options that jobs have whether sbatch or srun starts them."""
    options = ["--nodes=1", "--ntasks=1", *chosen.srun_options()]
    if gpus:
        options.append(
            f"--gpus={chosen.gpu_model}:{gpus}" if chosen.gpu_model else f"--gpus={gpus}"
        )
    return options


def _node(chosen: site.Site, gpus: int, folders: Sequence[str]) -> Finding:
    """Start on a node what a job starts: modules, container, scratch, Python, the GPU.

    With ``extra``, or where srun has not all these options of sbatch, without.
    """
    if shutil.which("srun") is None:
        return Finding(None, "node", "no srun on PATH: modules, container, scratch, GPU not tried")
    extra = shlex.split(chosen.extra)
    script = _script(chosen, gpus, folders)
    found = _started(chosen, gpus, extra, script)
    if not found.good and extra and _UNKNOWN_OPTION.search(found.said):
        found = _started(chosen, gpus, [], script)
        return dataclasses.replace(found, said=f"{found.said} (tried without {chosen.extra})")
    return found


def _started(chosen: site.Site, gpus: int, extra: list[str], script: str) -> Finding:
    options = [f"--immediate={_NODE_SECONDS}", "--time=5", *_requested(chosen, gpus), *extra]
    command = ["srun", "--quiet", *options, "bash", "-c", script]
    try:
        done = _run(command, _NODE_SECONDS + 300)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(None, "node", f"srun: {error}")
    lines = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    if done.returncode == 0 and lines:
        return Finding(
            True, "node", f"a job starts there, on {done.stdout.strip().splitlines()[-1]}"
        )
    if re.search("nodes are busy|[Ii]mmediate", done.stderr):
        said = f"none free within {_NODE_SECONDS} s: modules, container, scratch, GPU not tried"
        return Finding(None, "node", f"{said} ({lines[-1].strip()})")
    if unknown := next((line for line in lines if _UNKNOWN_OPTION.search(line)), None):
        return Finding(False, "node", unknown.strip())
    # What the job itself says stands before what srun says of its end.
    own = [line for line in lines if not line.startswith("srun: ")] or lines or ["srun failed"]
    return Finding(False, "node", own[-1].strip())


def _script(chosen: site.Site, gpus: int, folders: Sequence[str]) -> str:
    """Return the shell commands of a job that only looks around."""
    scratch = ""
    if chosen.scratch:
        where = shlex.quote(chosen.scratch)
        scratch = (
            f"mkdir -p {where} && [ -w {where} ] || "
            f"{{ echo scratch: cannot write to {where} >&2; exit 1; }}; "
        )
    probe = _PROBE.format(gpus=gpus, folders=[str(Path.cwd()), *folders])
    python = shlex.join([sys.executable, "-c", probe])
    return f"{chosen.setup(gpus, folders)}{scratch}stay {python}"
