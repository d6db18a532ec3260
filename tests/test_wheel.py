"""The built wheel, installed into an empty environment outside the repository, works there."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

pytestmark = pytest.mark.slow

SUITE = {
    "suite": "elsewhere",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 1,
    "groups": {"headline": [{"method": ["single", "nfe"]}]},
}
FISSION = """
import nfe, torch
from nfe import FissionNetwork, fission
from nfe.backbones import architecture
net = architecture("wrn-10-1").build(channels=3, classes=10, resolution=32)
split = fission(net, exits=2)
assert isinstance(split, FissionNetwork)
assert split(torch.zeros(2, 3, 32, 32)).shape == (2, 2, 10)
print(nfe.__version__, nfe.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs: the wheel, and nothing else of its own.

    What the wheel depends on is taken from the environment that runs the tests.
    """
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    home = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    install = [str(uv), "pip", "install", "--quiet", "--offline", "--no-deps", "--python"]
    subprocess.run([*install, str(python), str(wheel)], check=True)
    (packages,) = (home / "lib").glob("python*/site-packages")
    # A line of a .pth file is a folder to import from; the .pth files in it are not read, so that
    # an editable nfe there stays out of sight.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def said(installed: Path, cwd: Path, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [str(installed / program), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("what", ["methods", "datasets", "architectures", "pruning"])
def test_names_are_listed(installed: Path, tmp_path: Path, what: str) -> None:
    here = subprocess.run(
        [sys.executable, "-m", "nfe", "list", what], capture_output=True, text=True, check=True
    )
    assert said(installed, tmp_path, "nfe-bench", "list", what) == here.stdout


def test_a_suite_is_planned_and_the_machine_examined(installed: Path, tmp_path: Path) -> None:
    config = tmp_path / "elsewhere.yaml"
    config.write_text(yaml.safe_dump(SUITE))
    planned = said(installed, tmp_path, "nfe-bench", "plan", "--config", str(config))
    assert "digits8_wrn-10-1_nfe" in planned
    said(installed, tmp_path, "nfe-bench", "doctor", "--config", str(config))


def test_a_run_is_trained(installed: Path, tmp_path: Path) -> None:
    words = "--dataset digits --architecture wrn-10-1 --method nfe --set exits=2 --epochs 1"
    out = said(installed, tmp_path, "nfe-bench", "train", *words.split(), "--output", "run")
    assert "accuracy" in out
    assert (tmp_path / "run" / "metrics.json").exists()


def test_a_suite_is_made_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    said(installed, tmp_path, "nfe-bench", "new", "suite", "mine", "--epochs", "1")
    workflow = said(installed, tmp_path, "nfe-bench", "snakefile").strip()
    assert Path(workflow).is_relative_to(installed.parent)
    words = ["-m", "snakemake", "-s", workflow, "--cores", "1"]
    more = ["--configfile", "config/mine.yaml", "--config", "architecture=wrn-10-1"]
    said(installed, tmp_path, "python", *words, *more)
    assert (tmp_path / "results" / "mine" / "index.html").exists()
    said(installed, tmp_path, "nfe-bench", "verify", "results/mine")
    # The profile beside it is in force: nothing is made twice.
    again = said(installed, tmp_path, "python", *words, "-n", "--quiet", "rules", *more)
    assert "train" not in again


def test_a_clusters_profile_is_written_and_read(installed: Path, tmp_path: Path) -> None:
    said(installed, tmp_path, "nfe-bench", "new", "suite", "mine")
    said(installed, tmp_path, "nfe-bench", "new", "slurm", "mine")
    written = {path.name: path.read_text() for path in (tmp_path / "slurm").iterdir()}
    own = {path.name: path.read_text() for path in (ROOT / "slurm").iterdir()}
    named = ("configfile: config/paper.yaml\n", "configfile: config/mine.yaml\n")
    assert written == own | {"config.yaml": own["config.yaml"].replace(*named)}
    assert named[1] in written["config.yaml"]
    workflow = said(installed, tmp_path, "nfe-bench", "snakefile").strip()
    (tmp_path / "slurm" / "site.yaml").write_text("partition: gpu\n")
    words = ["-m", "snakemake", "-s", workflow, "--profile", "slurm", "--dry-run"]
    planned = said(installed, tmp_path, "python", *words)
    assert "slurm_partition=gpu" in planned and "results/mine/index.html" in planned


def test_a_network_is_split_in_python(installed: Path, tmp_path: Path) -> None:
    version, file = said(installed, tmp_path, "python", "-c", FISSION).split()
    assert version
    assert Path(file).is_relative_to(installed.parent)


def test_every_file_of_the_packages_is_in_the_wheel(installed: Path) -> None:
    (packages,) = (installed.parent / "lib").glob("python*/site-packages")
    listed = ["git", "-C", str(ROOT), "ls-files", "nfe", "baselines"]
    tracked = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in tracked if not (packages / name).exists()] == []
