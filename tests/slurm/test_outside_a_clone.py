"""The profile that `nfe-bench new slurm` writes, in a folder that is no clone."""

import subprocess
import sys
from pathlib import Path

from checkout import ROOT
from cluster import NODES, Cluster


def test_a_suite_is_made_from_an_empty_folder(cluster: Cluster, tmp_path: Path) -> None:
    for words in ("suite mine --epochs 1 --architecture wrn-10-1", "slurm mine"):
        new = [sys.executable, "-m", "nfe", "new", *words.split()]
        subprocess.run(new, cwd=tmp_path, check=True, capture_output=True)
    # Only its first look at the jobs comes sooner.
    sooner = ("--nfe-slurm-init-seconds-before-status-checks", "2")
    workflow = ("-s", str(ROOT / "Snakefile"), "--profile", "slurm")
    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "snakemake", *workflow, *sooner],
        cwd=tmp_path,
        env={**cluster.environment, "OMP_NUM_THREADS": "1"},
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "results" / "mine" / "index.html").exists()
    # A job says first on which node it is.
    logs = sorted((tmp_path / "logs" / "mine").glob("train_*.log"))
    assert logs
    for log in logs:
        first = log.read_text(encoding="utf-8").splitlines()[0]
        assert any(f"INFO on {node}, " in first for node in NODES), first
