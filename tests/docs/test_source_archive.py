"""In a downloaded source archive, which has no git, the README's commands work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "nfe-bench"
    folder.mkdir()
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "x"], cwd=folder, input=packed.stdout, check=True)
    return folder


def run(archive: Path, command: str) -> str:
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(archive),
        # No folder above it, where a repository may be, has anything to say.
        "GIT_CEILING_DIRECTORIES": str(archive.parent),
    }
    done = subprocess.run(
        command.split(), cwd=archive, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "make -n benchmark",
        "nfe-bench list methods",
        "nfe-bench plan --config config/quick.yaml --summary --gpu a100",
    ],
)
def test_a_command_works(archive: Path, command: str) -> None:
    assert run(archive, command)


@pytest.mark.slow
def test_artifacts_are_pulled(archive: Path) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    tell = "dvc config --local core.no_scm true"
    assert f"```sh\n{tell}\n```" in page
    run(archive, tell)
    run(archive, "dvc pull")
    assert list((archive / "artifacts").glob("*/*/predictions.npz"))
