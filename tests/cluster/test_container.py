"""Jobs in a container: what apptainer is told. A stand-in for it runs the command here."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from standin import apptainer

from nfe.cluster import container, site

DEFINITION = (ROOT / "requirements" / "image.def").read_text(encoding="utf-8")
IMAGE = site.Site(container="nfe bench.sif")
# What the two kinds of GPU have on their nodes, and the option for each.
DEVICES = {"/dev/nvidiactl": "--nv", "/dev/kfd": "--rocm"}


class Node:
    """A machine with a stand-in for apptainer, and no GPU but what is put there.

    Attributes:
        folder: where a job's commands run.
    """

    def __init__(self, folder: Path, name: str = "apptainer") -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self._devices = folder / "dev"
        self._devices.mkdir()
        self._tools = apptainer(folder, name)

    def plug(self, device: str) -> None:
        """Let a device be there."""
        (self._devices / Path(device).name).touch()

    def run(self, chosen: site.Site, command: str, gpus: int = 1) -> subprocess.CompletedProcess:
        """Run a job's command."""
        script = f"set -eu\n{chosen.setup(gpus, ['/usr'])}\nstay {command}"
        for device in DEVICES:
            script = script.replace(device, str(self._devices / Path(device).name))
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{self._tools}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    def told(self) -> list[str]:
        """Return the words that apptainer got."""
        return (self._tools / "told").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_command_runs_in_the_image_with_its_own_interpreter(node):
    done = node.run(IMAGE, f'{sys.executable} -c "import os; print(os.getcwd())"')
    assert (done.returncode, done.stdout) == (0, f"{node.folder}\n"), done.stderr
    here = ["--bind", str(node.folder), "--pwd", str(node.folder)]
    words = [container.PYTHON, "-c", "import os; print(os.getcwd())"]
    assert node.told() == ["exec", *here, "--bind", "/usr", "nfe bench.sif", *words]


def test_a_command_behind_another_one_as_well(node):
    done = node.run(IMAGE, f"env NFE_TOLD=yes {sys.executable} -c 'print(1)'")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert node.told()[-5:] == ["env", "NFE_TOLD=yes", container.PYTHON, "-c", "print(1)"]


def test_its_status_is_the_job_s(node):
    assert node.run(IMAGE, f"{sys.executable} -c 'raise SystemExit(3)'").returncode == 3


@pytest.mark.parametrize("device", DEVICES)
def test_the_node_s_devices_say_which_libraries_a_gpu_needs(device, node):
    node.plug(device)
    node.run(IMAGE, "true")
    assert node.told()[1] == DEVICES[device]
    # A job without a GPU is shown none.
    node.run(IMAGE, "true", gpus=0)
    assert not set(DEVICES.values()) & set(node.told())


def test_scratch_and_further_options_reach_it(node, tmp_path):
    disk = tmp_path / "local disk"
    chosen = site.Site(
        container="i.sif", container_options="--bind '/a b' --cleanenv", scratch=str(disk)
    )
    done = node.run(chosen, "true")
    assert done.returncode == 0, done.stderr
    assert disk.is_dir()
    told = node.told()
    assert told[told.index("/usr") + 1 : -1] == [
        *("--bind", str(disk), "--bind", "/a b", "--cleanenv", "i.sif")
    ]


def test_singularity_stands_in_for_apptainer(tmp_path):
    node = Node(tmp_path, "singularity")
    assert node.run(IMAGE, "true").returncode == 0
    assert node.told()[0] == "exec"


def test_a_node_without_either_is_told(tmp_path):
    node = Node(tmp_path, "docker")
    done = node.run(IMAGE, "true")
    assert done.returncode == 127
    assert done.stderr == ("slurm/site.yaml, container: no apptainer or singularity on PATH\n")


def test_what_lies_elsewhere_is_shown_too(tmp_path, monkeypatch):
    for name in ("here", "disk", "store"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert container.folders({}) == []
    assert container.folders({"data_root": "data", "output": "reproduction"}) == []
    # Where links lead, whether or not they are the last part of a path.
    Path("data").symlink_to(tmp_path / "store")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    assert container.folders({}) == [str(tmp_path / "store")]
    assert container.folders({"output": "../link"}) == [
        *(str(tmp_path / name) for name in ("store", "link", "disk"))
    ]
    # What is not there cannot be shown.
    assert container.folders({"data_root": "/none"}) == []


def test_the_image_has_the_interpreter_where_jobs_look_for_it():
    folder = container.PYTHON.removesuffix("/.venv/bin/python")
    assert re.search(rf"^    \S+ {folder}$", DEFINITION, re.MULTILINE)
    assert f"    cd {folder}\n" in DEFINITION
    assert f"export PATH={folder}/.venv/bin:" in DEFINITION


def commit(folder: Path) -> None:
    """Make a repository of the files in a folder."""
    who = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    for words in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "-m", "All")):
        subprocess.run(["git", *words], cwd=folder, check=True)


def test_the_image_is_made_from_what_is_committed_and_a_lock(tmp_path):
    tools = apptainer(tmp_path, "apptainer", runs=False)
    folder = tmp_path / "repository"
    for name in ("nfe/run.py", "results/paper/runs.csv", "figures/paper/a.svg"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    shutil.copy(ROOT / "Makefile", folder)
    commit(folder)
    (folder / "nfe" / "extra.py").touch()
    subprocess.run(
        ["make", "--quiet", "image", "IMAGE=i.sif", "LOCK=requirements/cuda12.txt"],
        cwd=folder,
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        check=True,
    )
    told = (tools / "told").read_text(encoding="utf-8").splitlines()
    lock = ["--build-arg", "lock=requirements/cuda12.txt"]
    assert told == ["build", *lock, "i.sif", "requirements/image.def"]
    taken = (tools / "taken").read_text(encoding="utf-8").split()
    assert {"Makefile", "nfe", ".git", "run.py"} <= set(taken)
    assert not {"results", "figures", "extra.py"} & set(taken)
    assert not (folder / ".image").exists()
