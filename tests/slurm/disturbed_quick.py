"""The released quick suite on a real cluster with failures injected: a transcript.

    python tests/slurm/disturbed_quick.py

makes config/quick.yaml, all epochs, through the profile; while it is made jobs are cancelled, a
node dies, the controller restarts and snakemake is killed and started again. Prints what happened
when, and how the tables differ from results/quick. Exit status 1 where they do.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from checkout import ROOT, Checkout
from cluster import NODES, Cluster, wait_until

STARTED = time.monotonic()


def say(what: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:5.0f} s  {what}", flush=True)


class Disturbed:
    """The quick suite under way, and what is done to it."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        config = yaml.safe_load((ROOT / "config" / "quick.yaml").read_text())
        config |= {"checkpoint_seconds": 0.3, "runs_per_process": 8}
        self.cluster = cluster
        self.checkout = Checkout(folder, config)
        self.resumed: set[str] = set()
        self.submit()

    def submit(self) -> None:
        """Type the command."""
        self.snakemake = self.checkout.submit(self.cluster)
        say("snakemake --profile slurm started")

    def running(self) -> list[str]:
        """Return the numbers of the jobs that train now."""
        jobs = self.cluster.training_jobs(self.checkout.folder)
        states = dict(line.split("|") for line in self.cluster.queue("%i|%T"))
        return [job for job in jobs if states.get(job) == "RUNNING"]

    def status(self) -> str:
        """Return how far the suite is."""
        return f"{len(self.checkout.runs())} runs finished, jobs {', '.join(self.running())} run"

    def cancel(self) -> None:
        """Cancel the jobs that train."""
        jobs = self.running()
        self.cluster.client("scancel", *jobs)
        say(f"jobs {', '.join(jobs)} cancelled")

    def lose_node(self) -> None:
        """Let a node die, and come back."""
        job = self.running()[-1]
        node = self.cluster.fail(job)
        say(f"node {node} died, with its jobs")
        wait_until("requeued", lambda: self.cluster.queue("%T", "-j", job) == ["PENDING"], 120)
        say(f"SLURM has put job {job} back into the queue")
        self.cluster.start(node)
        say(f"node {node} is back")

    def restart_controller(self) -> None:
        """Stop the controller for ten seconds."""
        self.cluster.stop("slurmctld")
        say("controller stopped")
        time.sleep(10)
        self.cluster.start("slurmctld")
        say("controller started")

    def note_resumed(self) -> None:
        """Keep what the logs say of resumed runs: a job's next attempt empties its log."""
        lines = self.checkout.logs().splitlines()
        self.resumed |= {line for line in lines if "resumed from epoch" in line}

    def kill_snakemake(self) -> None:
        """Kill snakemake; its jobs live on."""
        self.snakemake.send_signal(signal.SIGKILL)
        self.snakemake.wait()
        say("snakemake killed")
        time.sleep(5)
        self.submit()

    def after(self, runs: int, disturb: Callable[[], None]) -> None:
        """Do something once so many runs are finished and another has saved its state."""
        states = f"results/{self.checkout.suite}/runs/*/.state/step-*"

        def ready() -> bool:
            self.note_resumed()
            saved = any(self.checkout.folder.glob(states))
            return len(self.checkout.runs()) >= runs and saved and bool(self.running())

        wait_until(f"{runs} runs", ready, 900)
        say(self.status())
        disturb()


def main() -> int:
    """Make the suite and print the transcript."""
    with tempfile.TemporaryDirectory() as folder, Cluster() as cluster:
        say(f"cluster of nodes {', '.join(NODES)} is up")
        suite = Disturbed(Path(folder, "checkout"), cluster)
        suite.after(2, suite.cancel)
        suite.after(6, suite.lose_node)
        suite.after(12, suite.restart_controller)
        suite.after(18, suite.kill_snakemake)
        suite.checkout.finish(suite.snakemake, 1500)
        say(f"{len(suite.checkout.runs())} runs finished, tables and figures made")
        suite.note_resumed()
        say(f"at least {len(suite.resumed)} times a run continued from its saved state")
        made = suite.checkout.folder / "results" / "quick"
        compare = ["-m", "nfe", "diff", "results/quick", str(made)]
        return subprocess.run([sys.executable, *compare], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
