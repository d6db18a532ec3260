"""The worked example of CONTRIBUTING.md: a method in a package of its own, found and run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "multi_head"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the example is installed beside this project."""
    target = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([*install, *options, str(EXAMPLE)], check=True)
    return {**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}


def command(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    run = [str(Path(sys.executable).with_name("nfe-bench")), *words]
    return subprocess.run(run, env=environment, capture_output=True, text=True, check=False)


def test_it_is_listed(environment: dict[str, str]) -> None:
    listed = command(environment, "list", "methods", "--json")
    assert "multi_head" in json.loads(listed.stdout)
    assert "multi_head" not in command({**os.environ}, "list", "methods").stdout


def test_it_trains(environment: dict[str, str], tmp_path: Path) -> None:
    words = "train --dataset digits --architecture wrn-10-1 --method multi_head --set members=2"
    output = ["--epochs", "2", "--seed", "0", "--output", str(tmp_path / "run")]
    done = command(environment, *words.split(), *output)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["status"] == "ok"
    assert metrics["members"] == 2
    assert len(metrics["member_accuracy"]) == 2


def test_its_settings_are_checked(environment: dict[str, str], tmp_path: Path) -> None:
    words = "train --dataset digits --architecture wrn-10-1 --method multi_head --set members=0"
    output = ["--epochs", "2", "--seed", "0", "--output", str(tmp_path / "run")]
    done = command(environment, *words.split(), *output)
    assert done.returncode == 2
    assert "members is '0': allowed: whole numbers from 1" in done.stderr


def test_contributing_shows_the_file_as_it_is() -> None:
    text = (EXAMPLE.parents[1] / "CONTRIBUTING.md").read_text()
    for name in ("multi_head.py", "pyproject.toml"):
        assert (EXAMPLE / name).read_text().strip() in text
