"""``nfe-bench run --workers``: several runs at a time, each as if it were alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import same_files
from processes import PATIENCE, states

from nfe.cli.main import main
from nfe.cli.status import FAILED, INTERRUPTED
from nfe.common.files import read_json, write_json
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.suite.expansion import Suite, expand

CONFIG = {
    "suite": "beside",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 2,
    "seeds": 2,
}
SAME = ("config.json", "metrics.json", "history.csv", "per_image.npz")
ENSEMBLE = [{"method": "single"}, {"method": "deep_ensemble", "members": 2}]


def planned(root: Path, settings: list[dict], **changed) -> Suite:
    suite = expand({**CONFIG, **changed, "groups": {"headline": settings}})
    root.mkdir(exist_ok=True)
    write_json(root / "plan.json", suite.record())
    return suite


def folder(root: Path, name: str) -> Path:
    return root / "results" / "beside" / "runs" / name


def command(root: Path, suite: Suite) -> list[str]:
    names = [each.run.name for each in suite.runs]
    options = ["--plan", f"{root}/plan.json", "--root", str(root), "--workers", "2"]
    return ["run", *options, "--run", *names]


def begin(root: Path, suite: Suite) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "nfe", *command(root, suite)],
        stderr=(root / "said").open("ab"),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_lines(root: Path, suite: Suite) -> None:
    """Wait until every run has finished an epoch."""
    until = time.monotonic() + PATIENCE
    while (root / "said").read_text().count(" epoch 1/") < len(suite.runs):
        assert time.monotonic() < until, (root / "said").read_text()
        time.sleep(0.01)


def check_as_alone(root: Path, apart: Path, suite: Suite, count: int) -> None:
    """Compare the first runs with the same ones made in this process."""
    for each in suite.runs[:count]:
        alone = RunFolders.under(apart, "beside", each.run)
        execute(each.run, alone, Worker())
        assert same_files(alone.output, folder(root, each.run.name), SAME)


def test_runs_at_once_are_the_runs_one_by_one(tmp_path):
    """What combines others waits for them, in whatever order they are named."""
    suite = planned(tmp_path, ENSEMBLE[::-1])
    assert main(command(tmp_path, suite)) == 0
    check_as_alone(tmp_path, tmp_path / "apart", suite, len(suite.runs))
    for each in suite.runs:
        timing = read_json(folder(tmp_path, each.run.name) / "timing.json")
        assert timing["runs_at_once"] == 2


def test_a_run_that_fails_leaves_its_neighbours_be(tmp_path):
    suite = planned(tmp_path, [{"method": "single"}, {"method": "single", "recipe": {"lr": 1e30}}])
    assert main(command(tmp_path, suite)) == FAILED
    made = [folder(tmp_path, each.run.name) for each in suite.runs]
    failed = [path for path in made if (path / "failure.json").exists()]
    assert len(failed) == 2
    assert "the loss is" in read_json(failed[0] / "failure.json")["reason"]
    assert all((path / "metrics.json").exists() for path in set(made) - set(failed))


def test_a_signal_lets_every_run_save_its_state(tmp_path):
    suite = planned(tmp_path, ENSEMBLE[:1], epochs=30)
    process = begin(tmp_path, suite)
    wait_for_lines(tmp_path, suite)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == INTERRUPTED, (tmp_path / "said").read_text()
    for each in suite.runs:
        assert len(states(folder(tmp_path, each.run.name))) == 1
    assert main(command(tmp_path, suite)) == 0
    check_as_alone(tmp_path, tmp_path / "apart", suite, 1)


def test_runs_end_with_a_parent_that_is_killed(tmp_path):
    suite = planned(tmp_path, ENSEMBLE[:1], epochs=1000)
    process = begin(tmp_path, suite)
    wait_for_lines(tmp_path, suite)
    process.kill()
    process.wait()
    until = time.monotonic() + PATIENCE
    while any((folder(tmp_path, each.run.name) / ".lock").exists() for each in suite.runs):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert all(states(folder(tmp_path, each.run.name)) for each in suite.runs)


def test_workers_are_counted_from_one(tmp_path, capsys):
    suite = planned(tmp_path, ENSEMBLE[:1])
    words = command(tmp_path, suite)
    words[words.index("--workers") + 1] = "0"
    assert main(words) == 2
    assert "workers is 0: allowed: from 1" in capsys.readouterr().err


def test_runs_are_divided_over_the_gpus_of_a_job(tmp_path, monkeypatch):
    """Each process sees one, in turn, and the runs are what they are alone."""
    suite = planned(tmp_path, ENSEMBLE[:1])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    words = command(tmp_path, suite)
    with (tmp_path / "said").open("ab") as said:
        told = [sys.executable, "-m", "nfe", *words[:-3], "--devices", "2", *words[-3:]]
        subprocess.run(told, stderr=said, check=True)
    lines = (tmp_path / "said").read_text().splitlines()
    seen = {line.split()[2]: line.split()[-1] for line in lines if " on GPUs " in line}
    assert sorted(seen.values()) == ["4", "6"]
    check_as_alone(tmp_path, tmp_path / "apart", suite, 1)
    for each in suite.runs:
        timing = read_json(folder(tmp_path, each.run.name) / "timing.json")
        # Nothing shares a device.
        assert timing.get("runs_at_once", 1) == 1


@pytest.mark.parametrize(("visible", "said"), [("3", "allowed: 1 to 1"), ("", "no GPU is visible")])
def test_gpus_that_are_not_there_are_not_divided(visible, said, tmp_path, capsys, monkeypatch):
    suite = planned(tmp_path, ENSEMBLE[:1])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    words = command(tmp_path, suite)
    assert main([*words[:-3], "--devices", "2", *words[-3:]]) == 2
    assert said in capsys.readouterr().err


def test_devices_are_no_more_than_workers(tmp_path, capsys):
    suite = planned(tmp_path, ENSEMBLE[:1])
    words = command(tmp_path, suite)
    assert main([*words[:-3], "--devices", "3", *words[-3:]]) == 2
    assert "devices is 3: allowed: from 1 to workers (2)" in capsys.readouterr().err
