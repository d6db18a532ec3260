"""Results on one GPU without Snakemake: rehearsed on the CPU, from tuning to a tuned suite."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nfe.common.files import read_json
from nfe.suite.expansion import expand, read_config

ROOT = Path(__file__).resolve().parents[2]
COMMON = {
    "dataset": "digits",
    "num_classes": 3,
    "architecture": "wrn-10-1",
    "protocol": "equal",
    "precision": "float32",
    "threads": 1,
}


def write(folder: Path, name: str, **config: object) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"suite": name, **COMMON, **config}), encoding="utf-8")
    return path


@pytest.fixture
def configs(tmp_path: Path) -> list[Path]:
    methods = {"trial": [{"method": ["single", "nfe"]}]}
    recipe = {name: {"low": 0.001, "high": 0.1, "scale": "log"} for name in ("lr", "weight_decay")}
    own = {"nfe": {"distillation": {"low": 0.25, "high": 4, "scale": "log"}}}
    return [
        write(
            tmp_path,
            "search",
            epochs=1,
            seeds=1,
            tuning={"points": 4, "recipe": recipe, "methods": own},
            groups=methods,
        ),
        write(
            tmp_path,
            "final",
            epochs=1,
            seeds=2,
            finalists=str(tmp_path / "best.yaml"),
            groups=methods,
        ),
        write(
            tmp_path,
            "suite",
            epochs=2,
            seeds=1,
            tuned=str(tmp_path / "tuned.yaml"),
            groups={
                "headline": [
                    {"method": "nfe", "exits": [2, 3]},
                    {"method": "deep_ensemble", "members": 2},
                ]
            },
        ),
    ]


def called(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/gpu_results.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_from_a_bundle_to_a_tuned_suite(tmp_path: Path, configs: list[Path]) -> None:
    images = tmp_path / "images.npz"
    packed = called("pack", "--output", images, *configs)
    assert packed.returncode == 0, packed.stderr
    # All three use one subset.
    assert "1 data sets or subsets" in packed.stdout
    command = ("train", "--bundle", images, "--root", tmp_path, "--device", "cpu", "--workers", 2)
    made = called(*command, *configs)
    assert made.returncode == 0, made.stderr
    tuned = yaml.safe_load((tmp_path / "tuned.yaml").read_text(encoding="utf-8"))
    assert {*tuned} == {"single", "nfe"}
    suite = expand(read_config(configs[-1]))
    for planned in suite.runs:
        folder = tmp_path / "results" / "suite" / "runs" / planned.run.name
        config, metrics = read_json(folder / "config.json"), read_json(folder / "metrics.json")
        assert metrics["status"] == "ok"
        learner = "single" if config["method"] == "deep_ensemble" else config["method"]
        assert config["recipe"]["lr"] == tuned[learner]["recipe"]["lr"]
        if learner == "nfe":
            assert config["settings"]["distillation"] == tuned["nfe"]["settings"]["distillation"]
    # Nothing is made twice.
    again = called(*command, *configs)
    assert again.returncode == 0
    assert "suite: 0 of 4 runs to make" in again.stderr
    assert "search: 0 of 8 runs to make" in again.stderr


def test_out_of_time_nothing_is_chosen_from_half_a_search(
    tmp_path: Path, configs: list[Path]
) -> None:
    images = tmp_path / "images.npz"
    assert called("pack", "--output", images, *configs).returncode == 0
    stopped = called(
        *("train", "--bundle", images, "--root", tmp_path, "--device", "cpu"),
        *("--workers", 1, "--seconds", 0, *configs),
    )
    assert stopped.returncode == 1
    assert "not begun: 8 runs before it are missing" in stopped.stderr
    assert not (tmp_path / "best.yaml").exists()


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    failed = called("pack", "--output", tmp_path / "images.npz", tmp_path / "none.yaml")
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "none.yaml: no such file" in failed.stderr
