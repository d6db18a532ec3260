"""Installations for other drivers: the second lock, versions of the lock, words that uv takes."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

PAGE = (ROOT / "docs" / "slurm.md").read_text()
REQUIREMENTS = ROOT / "requirements"
# PyTorch, and what it brings along on a machine with an NVIDIA GPU.
PYTORCH = re.compile("torch|torchvision|triton|(nvidia|cuda)-.+")


def locked(name: str) -> dict[str, str]:
    """Return each package of a lock with its versions, markers included."""
    text = (REQUIREMENTS / name).read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for package, version in re.findall(r"^([\w.\-\[\],]+)==(.+?) \\$", text, re.MULTILINE):
        found.setdefault(package, []).append(version)
    return {package: ", ".join(versions) for package, versions in found.items()}


def others(name: str) -> dict[str, str]:
    return {p: version for p, version in locked(name).items() if not PYTORCH.fullmatch(p)}


def test_the_second_lock_is_the_first_but_for_pytorch() -> None:
    assert len(others("lock.txt")) > 200
    assert others("cuda12.txt") == others("lock.txt")


@pytest.mark.parametrize(("name", "cuda"), [("lock", "13"), ("cuda12", "12")])
def test_a_lock_s_pytorch_is_of_its_cuda(name: str, cuda: str) -> None:
    asked = (REQUIREMENTS / f"{name}.in").read_text().splitlines()
    found = locked(f"{name}.txt")
    wanted = dict(line.split("==") for line in asked if line.startswith("torch"))
    assert {package: found[package] for package in wanted} == wanted
    assert f"nvidia-cudnn-cu{cuda}" in found
    assert not any(p.endswith(f"-cu{25 - int(cuda)}") for p in found)


def test_every_file_of_the_second_lock_has_a_checksum() -> None:
    text = (REQUIREMENTS / "cuda12.txt").read_text(encoding="utf-8")
    pinned = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in pinned)


@pytest.mark.parametrize("name", ["lock", "cuda12"])
def test_the_project_supports_the_versions_of_each_lock(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = locked(f"{name}.txt")
    for line in project["dependencies"]:
        need = Requirement(line)
        if PYTORCH.fullmatch(need.name):
            assert need.specifier.contains(found[need.name]), line


def steps(folder: Path, *words: str) -> str:
    """Return what make would do in a folder that has the Makefile and the locks."""
    done = subprocess.run(
        ["make", "--dry-run", ".venv", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_an_environment_stays_with_its_lock(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(REQUIREMENTS, tmp_path / "requirements")
    second = "LOCK=requirements/cuda12.txt"
    assert "requirements/lock.txt" in steps(tmp_path)
    assert "bootstrap.txt requirements/cuda12.txt" in steps(tmp_path, second)
    # As it stands after the installation.
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".lock").write_text("requirements/cuda12.txt\n")
    (tmp_path / ".venv" / ".complete").touch()
    assert "uv pip sync" not in steps(tmp_path)
    assert "uv pip sync" not in steps(tmp_path, second)
    assert "bootstrap.txt requirements/lock.txt" in steps(tmp_path, "LOCK=requirements/lock.txt")


def command() -> list[str]:
    (line,) = re.findall(r"^\.venv/bin/uv pip install .*$", PAGE, re.MULTILINE)
    return shlex.split(line)


def test_the_versions_are_those_of_the_lock() -> None:
    wanted = {word for word in command() if "==" in word}
    lock = (REQUIREMENTS / "lock.in").read_text().splitlines()
    assert wanted == {line for line in lock if line.startswith("torch")}


def test_uv_takes_its_words(tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    # Nothing is installed: there is no such Python, of which uv speaks after it has read its words.
    words = [uv, *command()[1:]]
    words[words.index("--python") + 1] = str(tmp_path / "none")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert str(tmp_path / "none") in done.stderr
    words = [word.replace("rocm7.1", "rocm1") for word in map(str, words)]
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "invalid value 'rocm1'" in refused.stderr
