"""A real SLURM cluster on one machine: its daemons, run for as long as they are needed.

    python tests/slurm/cluster.py COMMAND …

starts a controller, accounting on MariaDB, and two nodes with GPUs, runs COMMAND with SLURM's
client tools on its PATH, and stops everything. Needs root and the packages of install.sh.
Nothing outside the cluster's own folder under /tmp is touched, so several can run side by side.
"""

import contextlib
import dataclasses
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Where install.sh puts the client tools: not on anyone's PATH (see there).
CLIENT_TOOLS = Path("/opt/nfe-bench-slurm/bin")
NODES = ("n1", "n2")
# SLURM counts device files and asks nothing of them: these stand for two GPUs on each node.
GPUS = "/dev/null,/dev/zero"
CPUS_PER_NODE = 4

_SLURM_CONF = """\
ClusterName=nfe
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/ctld
SlurmctldPidFile={folder}/ctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
# One kernel for all nodes, and no cgroups in many containers.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=limits
JobAcctGatherType=jobacct_gather/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
# Seconds, so that tests need not wait: what is minutes on a large cluster.
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,sched_min_interval=0
KillWait=15
SlurmdTimeout=15
ReturnToService=2
MinJobAge=300
MaxJobCount=20000
NodeName=DEFAULT CPUs={cpus} RealMemory=64000 Gres=gpu:{gpus} State=UNKNOWN
{nodes}
PartitionName=DEFAULT Nodes=ALL MaxTime=1-00:00:00 State=UP
PartitionName=low Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=15
PartitionName=high PriorityTier=10 PreemptMode=OFF
"""

_SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdPort={dbd}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageLoc=slurm
StorageUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
"""


def _free_ports(count: int) -> list[int]:
    """Return ports of which nothing listens: below those that outgoing connections take.

    Each process looks from a place of its own, so that clusters that start together do not meet.
    """
    first, last = 15000, 32000
    found: list[int] = []
    for port in range(first + os.getpid() * 10 % (last - first), last):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"no {count} free ports below {last}")


def wait_until(what: str, true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until ``true()`` holds.

    Raises:
        TimeoutError: it did not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


@dataclasses.dataclass
class Cluster:
    """The daemons of one cluster. Use it as a context manager.

    Attributes:
        folder: configuration, state, sockets and logs.
        environment: what a process needs to be a user of the cluster.
        cpus: CPUs that each node claims to have, which may be more than there are.
    """

    folder: Path = dataclasses.field(
        default_factory=lambda: Path(tempfile.mkdtemp(prefix="nfe-slurm-", dir="/tmp"))
    )
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    cpus: int = CPUS_PER_NODE
    _daemons: dict[str, subprocess.Popen[bytes]] = dataclasses.field(default_factory=dict)

    def __enter__(self) -> "Cluster":
        self._configure()
        try:
            self.start("munged")
            self.start("mariadbd")
            self.start("slurmdbd")
            self.start("slurmctld")
            for node in NODES:
                self.start(node)
            self._wait_for_nodes()
            self._run("sacctmgr", "-i", "add", "account", "bench", check=False)
            self._run("sacctmgr", "-i", "add", "user", "root", "account=bench", check=False)
        except BaseException as error:
            # The folder goes with the cluster: what its daemons said goes into the error.
            error.add_note("\n".join(self._last_words()))
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        if "slurmctld" in self._daemons:
            with contextlib.suppress(TimeoutError, RuntimeError):
                self.clear()
        for name in reversed(list(self._daemons)):
            self.stop(name)
        # A job's step daemon outlives slurmd by design.
        self._kill("SLURM_JOB_ID=", "slurmstepd: ")
        shutil.rmtree(self.folder)

    def start(self, name: str) -> None:
        """Start a daemon: a node's name, or slurmctld, slurmdbd, mariadbd, munged."""
        log = open(self.folder / f"{name}.out", "ab")  # noqa: SIM115
        self._daemons[name] = subprocess.Popen(
            # However this process ends, its daemons do not outlive it.
            ["setpriv", "--pdeathsig", "TERM", *self._command(name)],
            env=self.environment,
            # Should one crash, its core goes with the folder.
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        if ready := self._ready(name):
            wait_until(f"{name} (see {self.folder})", ready)

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """Stop a daemon and wait until it has ended."""
        daemon = self._daemons.pop(name)
        daemon.send_signal(number)
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def clear(self) -> None:
        """Cancel all jobs and wait until they are gone.

        Raises:
            TimeoutError: one is left after a minute.
        """
        self._run("scancel", "--full", "--user=root", check=False)
        wait_until("no job left", lambda: not self.queue("%i"))

    def queue(self, what: str, *options: str) -> list[str]:
        """Return one formatted line per job (see ``man squeue``, --format)."""
        return self._run("squeue", "-h", "-o", what, *options).split("\n")[:-1]

    def state(self, node: str) -> str:
        """Return a node's state in lower case.

        Of scontrol: sinfo (22.05) goes on calling a node mixed that has come back without its jobs.
        """
        told = self.control("show", "node", node, "--oneliner")
        return told.partition(" State=")[2].partition(" ")[0].lower()

    def training_jobs(self, folder: Path) -> list[str]:
        """Return the numbers of the jobs that train in a checkout and are not yet done."""
        lines = (line.split("|") for line in self.queue("%i|%Z|%k"))
        return [i for i, at, what in lines if at == str(folder) and "train" in what]

    @contextlib.contextmanager
    def forgetful(self) -> Iterator[None]:
        """Let the controller lose all jobs, and run without accounting meanwhile."""
        path = self.folder / "slurm.conf"
        written = path.read_text()
        kept = [line for line in written.splitlines() if not line.startswith("AccountingStorage")]
        self.stop("slurmctld")
        shutil.rmtree(self.folder / "ctld")
        (self.folder / "ctld").mkdir()
        path.write_text("\n".join([*kept, "AccountingStorageType=accounting_storage/none", ""]))
        self.start("slurmctld")
        self._wait_for_nodes()
        try:
            yield
        finally:
            self.stop("slurmctld")
            path.write_text(written)
            self.start("slurmctld")
            self._wait_for_nodes()

    @contextlib.contextmanager
    def paused(self, job: str) -> Iterator[None]:
        """Let the processes that train in a job stand still, unless SLURM wakes them."""
        training = [
            number for number in self._processes(f"SLURM_JOB_ID={job}\0") if _is_training(number)
        ]
        for number in training:
            os.kill(number, signal.SIGSTOP)
        try:
            yield
        finally:
            for number in training:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGCONT)

    def fail(self, job: str) -> str:
        """Let a job's node die, with all that runs there; return the node's name."""
        (node,) = self.queue("%N", "-j", job)
        jobs = self.queue("%i", "-w", node)
        self.stop(node, signal.SIGKILL)
        for lost in jobs:
            self._kill(f"SLURM_JOB_ID={lost}\0", f"slurmstepd: [{lost}.")
        return node

    def start_requeued(self, job: str) -> None:
        """Wait until a job is back in the queue; spare it the two minutes it would wait there."""
        wait_until("requeued", lambda: self.queue("%T", "-j", job) == ["PENDING"], 90)
        self.control("update", f"JobId={job}", "StartTime=now")

    def pre_empt(self, command: str) -> None:
        """Run a command as a job that takes both nodes from all others; wait until it has begun.

        Raises:
            TimeoutError: it has not after minutes, more than the others are given to end.
        """
        wrapped = ("-N2", "--exclusive", "-o", "/dev/null", "--wrap", command)
        job = self._run("sbatch", "--parsable", "-p", "high", *wrapped).strip()
        # A job of seconds may have ended before squeue looks.
        wait_until(
            f"urgent job {job} runs",
            lambda: self.queue("%T", "-j", job, "--states=all") != ["PENDING"],
            240,
        )

    def control(self, *arguments: str) -> str:
        """Run scontrol and return what it prints."""
        return self._run("scontrol", *arguments)

    def client(self, *arguments: str) -> str:
        """Run one of the client tools and return what it prints."""
        return self._run(*arguments)

    def _run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _configure(self) -> None:
        self.folder.chmod(0o755)
        ctld, dbd, *slurmd = _free_ports(2 + len(NODES))
        host = socket.gethostname().split(".")[0]
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            for node, port in zip(NODES, slurmd, strict=True)
        ]
        values = {
            "folder": self.folder,
            "host": host,
            "ctld": ctld,
            "dbd": dbd,
            "cpus": self.cpus,
            "gpus": len(GPUS.split(",")),
            "nodes": "\n".join(nodes),
        }
        self._write("slurm.conf", _SLURM_CONF.format(**values))
        self._write("slurmdbd.conf", _SLURMDBD_CONF.format(**values), 0o600)
        self._write("cgroup.conf", "CgroupPlugin=cgroup/v1\n")
        self._write("gres.conf", "".join(f"NodeName={n} Name=gpu File={GPUS}\n" for n in NODES))
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        for name in ("bin", "ctld", "mariadb", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir()
        # The plugin starts each job's step without the job's SLURM_CONF.
        conf = self.folder / "slurm.conf"
        srun = f'#!/bin/sh\nSLURM_CONF={conf} exec {CLIENT_TOOLS}/srun "$@"\n'
        self._write("bin/srun", srun, 0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{self.folder}/bin:{CLIENT_TOOLS}:{os.environ['PATH']}",
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "MYSQL_UNIX_PORT": str(self.folder / "mariadb.socket"),
        }

    def _write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)

    def _command(self, name: str) -> list[str]:
        folder = self.folder
        if name == "munged":
            return [
                "munged",
                "--foreground",
                "--force",
                f"--socket={folder}/munge.socket",
                f"--key-file={folder}/munge.key",
                f"--pid-file={folder}/munge.pid",
                f"--seed-file={folder}/munge.seed",
                f"--log-file={folder}/munge.log",
            ]
        if name == "mariadbd":
            # Databases that start together and share /tmp delete each other's temporary tables.
            own = [f"--datadir={folder}/mariadb", f"--tmpdir={folder}"]
            options = ["--no-defaults", *own, "--user=root"]
            self._run("mariadb-install-db", *options, "--auth-root-authentication-method=normal")
            return [
                "mariadbd",
                *options,
                "--skip-networking",
                f"--socket={folder}/mariadb.socket",
                f"--pid-file={folder}/mariadb.pid",
                "--innodb-lock-wait-timeout=900",
            ]
        if name in ("slurmdbd", "slurmctld"):
            return [name, "-D"]
        return ["slurmd", "-D", "-N", name]

    def _ready(self, name: str) -> Callable[[], bool] | None:
        if name == "munged":
            return (self.folder / "munge.socket").exists
        if name == "mariadbd":
            return (self.folder / "mariadb.socket").exists
        if name == "slurmdbd":
            return lambda: "DBD rollup" in self._run("sacctmgr", "show", "stats", check=False)
        if name == "slurmctld":
            return lambda: "UP" in self._run("scontrol", "ping", check=False)
        return None

    def _last_words(self) -> Iterator[str]:
        for name in self._daemons:
            said = (self.folder / f"{name}.out").read_text(errors="replace")
            yield f"{name}: {said[-1000:]}"

    def _wait_for_nodes(self) -> None:
        wait_until("all nodes idle", lambda: all(self.state(n) == "idle" for n in NODES))

    def _kill(self, setting: str, title: str) -> None:
        for number in self._processes(setting, title):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def _processes(self, setting: str, title: str = "\0") -> Iterator[int]:
        """Yield processes of this cluster by an environment setting or how their title begins."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                settings = (process / "environ").read_bytes()
                named = (process / "cmdline").read_bytes().startswith(title.encode())
                ours = str(self.folder).encode() in settings
                if ours and (named or setting.encode() in settings):
                    yield int(process.name)


def _is_training(number: int) -> bool:
    words = Path("/proc", str(number), "cmdline").read_bytes().split(b"\0")
    return words[1:4] == [b"-m", b"nfe", b"run"]


def main() -> int:
    """Run a command on a cluster of its own and return its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Cluster() as cluster:
        return subprocess.run(sys.argv[1:], env=cluster.environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
