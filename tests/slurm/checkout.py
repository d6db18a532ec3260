"""Suites made on the cluster, as a user makes them, and what they must look like."""

import contextlib
import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import yaml
from cluster import Cluster, wait_until

from nfe.report.schema import TIMING

ROOT = Path(__file__).resolve().parents[2]

# Two runs in one job: one that is soon finished, and one that lasts long enough to be disturbed.
DISTURBED = {
    "suite": "tiny",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 2,
    "seeds": 1,
    "gpus": 1,
    "runs_per_process": 2,
    "checkpoint_seconds": 0.5,
    "groups": {
        "first": [{"method": "single"}],
        "further": [{"method": "nfe", "exits": 2, "epochs": 120}],
    },
}


class Checkout:
    """A folder with the workflow, in which a suite is made.

    Attributes:
        folder: the repository's root, as far as the workflow sees.
        suite: the suite's name.
        started: every snakemake that any of them has started.
    """

    started: ClassVar[list[subprocess.Popen[str]]] = []

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.suite = config["suite"]
        folder.mkdir()
        for name in ("Snakefile", "workflow", "profiles", "config", "slurm"):
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / name)
        self.configure(config)

    @classmethod
    def standing(cls, folder: Path, suite: str) -> "Checkout":
        """Return one that another process has made."""
        found = cls.__new__(cls)
        found.folder, found.suite = folder, suite
        return found

    def configure(self, config: dict[str, Any]) -> None:
        """Write the suite's configuration."""
        (self.folder / "suite.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def start(self, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
        """Start snakemake; what it says goes to a file of its own."""
        with open(self.folder / "said.txt", "a") as said:
            process = subprocess.Popen(
                # However the tests end, snakemake does not outlive them.
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    sys.executable,
                    "-m",
                    "snakemake",
                    "--configfile",
                    "suite.yaml",
                    *arguments,
                ],
                cwd=self.folder,
                # The cluster's GPUs are files without a device behind them.
                env={**environment, "OMP_NUM_THREADS": "1", "NFE_ALLOW_CPU": "1"},
                stdout=said,
                stderr=said,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    @classmethod
    def kill_all(cls) -> None:
        """Kill every snakemake that still runs."""
        while cls.started:
            process = cls.started.pop()
            process.kill()
            process.wait()

    def submit(self, cluster: Cluster, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """Start snakemake with the profile; only its first look at the jobs comes sooner."""
        sooner = ("--nfe-slurm-init-seconds-before-status-checks", "2")
        return self.start(
            {**cluster.environment, **settings}, "--profile", "slurm", *sooner, *arguments
        )

    def said(self) -> str:
        """Return all that snakemake has said so far."""
        return (self.folder / "said.txt").read_text()

    def finish(self, process: subprocess.Popen[str], seconds: float = 900) -> None:
        """Wait until snakemake has made everything; the limit is for one that hangs."""
        status = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(seconds)
        finally:
            process.kill()
        assert status == 0, f"status {status} (None: not finished in {seconds} s)\n{self.said()}"

    def logs(self) -> str:
        """Return the logs of all training jobs."""
        found = sorted((self.folder / "logs" / self.suite).glob("train_*.log"))
        return "".join(path.read_text() for path in found)

    def gpus(self) -> list[str]:
        """Return the GPUs that each training job has seen."""
        return [line.split("GPUs ")[1] for line in self.logs().splitlines() if "GPUs " in line]

    def runs(self) -> dict[str, Path]:
        """Return the folders of the finished runs by name."""
        metrics = self.folder.glob(f"results/{self.suite}/runs/*/metrics.json")
        return {path.parent.name: path.parent for path in metrics}

    def timings(self) -> dict[str, str]:
        """Return what each finished run says of its making: when, how long."""
        return {name: (run / "timing.json").read_text() for name, run in self.runs().items()}

    def table(self) -> list[dict[str, str]]:
        """Return runs.csv without the columns that depend on the clock."""
        with open(self.folder / "results" / self.suite / "runs.csv", newline="") as file:
            return [
                {k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(file)
            ]

    def wait_for_state(self) -> None:
        """Wait until the longer run is under way and has saved its state."""
        pattern = f"results/{self.suite}/runs/*_nfe_*/.state/step-*"
        wait_until(f"{pattern}", lambda: any(self.folder.glob(pattern)), 400)


def same(first: Checkout, second: Checkout) -> None:
    """Check that two suites' runs and tables are the same."""
    assert first.table() == second.table()
    assert set(first.runs()) == set(second.runs())
    for name, run in first.runs().items():
        for file in ("config.json", "metrics.json", "history.csv"):
            assert (run / file).read_bytes() == (second.runs()[name] / file).read_bytes()
