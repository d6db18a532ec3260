"""nfe-bench status: on one machine with real runs, and with what squeue prints."""

import json
import os
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from conftest import finish, start

from nfe.cluster import packing
from nfe.cluster.jobs import Job, queued
from nfe.cluster.site import Site
from nfe.cluster.standing import State, survey
from nfe.common.errors import InputError
from nfe.common.files import alone, holder, read_json, write_json
from nfe.suite.expansion import Suite, expand

CONFIG = {
    "suite": "tiny",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 2,
    "checkpoint_seconds": 0.2,
    "groups": {"short": [{"method": "single"}], "long": [{"method": "nfe", "epochs": 150}]},
}


@pytest.fixture
def suite() -> Suite:
    return expand(CONFIG)


@pytest.fixture
def checkout(tmp_path, suite, monkeypatch) -> Path:
    """A folder with a suite in which nothing has been made yet."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    write_json(tmp_path / "plan.json", suite.record())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(suite: Suite, method: str) -> list[str]:
    return [p.run.name for p in suite.runs if p.run.method == method]


def make(checkout: Path, *names: str) -> subprocess.Popen[str]:
    return start("run", "--plan", "plan.json", "--run", *names, cwd=checkout)


def status(checkout: Path, *options: str) -> str:
    return finish(start("status", "--config", "tiny.yaml", *options, cwd=checkout))


def squeue(folder: Path, monkeypatch, prints: str, code: int = 0) -> None:
    tool = folder / "bin" / "squeue"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text(f"#!/bin/sh\nprintf '%s' '{prints}'\nexit {code}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")


def wait_for(folder: Path, pattern: str) -> None:
    deadline = time.monotonic() + 100
    while not any(folder.glob(pattern)):
        assert time.monotonic() < deadline, pattern
        time.sleep(0.1)


def test_one_machine_from_nothing_to_a_stopped_run(checkout, suite):
    (first, _), (long, _) = names(suite, "single"), names(suite, "nfe")
    assert status(checkout).startswith("tiny: 0 of 4 runs finished, 4 waiting\nleft: some ")
    finish(make(checkout, first))

    process = make(checkout, long)
    runs = checkout / "results" / "tiny" / "runs"
    wait_for(runs / long, ".state/step-*")
    before = datetime.now(UTC)
    said = status(checkout)
    assert "tiny: 1 of 4 runs finished, 1 running, 2 waiting" in said
    assert "(measured: 1 finished runs)" in said
    (line,) = [line for line in said.splitlines() if line.startswith("running")]
    assert f"{long}: on {os.uname().nodename}, since {before.astimezone():%Y-%m-%d}" in line
    assert "/150 (state of " in line
    assert "ETA " in line
    one = next(s for s in survey(suite, runs.parent, [], {}) if s.state is State.RUNNING)
    assert one.saved is not None and one.end() is not None
    assert holder(runs / long)["process"] == process.pid
    assert 0 < one.saved.share < 1
    assert one.saved.left == pytest.approx(one.saved.seconds * (1 / one.saved.share - 1))

    process.send_signal(signal.SIGTERM)
    finish(process, 75)
    said = status(checkout)
    assert "tiny: 1 of 4 runs finished, 3 waiting" in said
    assert f"waiting  {long}: goes on at epoch " in said


def test_a_killed_run_does_not_count_as_running(checkout, suite):
    long = names(suite, "nfe")[0]
    folder = checkout / "results" / "tiny" / "runs" / long
    process = make(checkout, long)
    wait_for(folder, ".state/step-*")
    process.kill()
    process.communicate()
    assert (folder / ".lock").exists()
    found = {one.run.name: one for one in survey(suite, checkout / "results" / "tiny", [], {})}
    assert found[long].state is State.WAITING
    assert found[long].saved is not None


def test_a_damaged_state_is_passed_over(checkout, suite):
    long = names(suite, "nfe")[0]
    state = checkout / "results" / "tiny" / "runs" / long / ".state"
    state.mkdir(parents=True)
    progress = {"epoch": 3, "batch": 5, "step": 50, "seconds": 10.0}
    header = json.dumps({"__metadata__": {"progress": json.dumps(progress)}}).encode()
    (state / f"step-000000050-{'0' * 16}.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header
    )
    (state / f"step-000000060-{'0' * 16}.safetensors").write_bytes(b"cut")
    found = {one.run.name: one for one in survey(suite, checkout / "results" / "tiny", [], {})}
    # 45 steps are three epochs: 50 steps are a third of the way through the fourth.
    assert found[long].saved.share == pytest.approx(50 / (150 * 15))
    assert (found[long].saved.epoch, found[long].saved.epochs) == (3, 150)
    assert found[long].end() is None


def test_a_failure_is_told_with_its_reason(checkout, suite):
    short, other = names(suite, "single")
    for name in (short, other):
        folder = checkout / "results" / "tiny" / "runs" / name
        folder.mkdir(parents=True)
        write_json(folder / "failure.json", {"status": "failed", "reason": "the loss is nan"})
    # The other one is being tried again.
    with alone(checkout / "results" / "tiny" / "runs" / other):
        said = status(checkout)
    assert "tiny: 0 of 4 runs finished, 1 running, 1 failed, 2 waiting" in said
    assert f"failed   {short}: the loss is nan" in said
    assert f"running  {other}: on {os.uname().nodename}, since " in said


def test_watching_ends_with_the_last_run(checkout, suite):
    runs = [p.run.name for p in suite.runs]
    for name in runs[1:]:
        folder = checkout / "results" / "tiny" / "runs" / name
        folder.mkdir(parents=True)
        write_json(folder / "failure.json", {"status": "failed", "reason": "tried"})
    watching = start("status", "--config", "tiny.yaml", "--watch", "1", cwd=checkout)
    finish(make(checkout, runs[0]))
    said = finish(watching)
    assert "tiny: 0 of 4 runs finished" in said
    assert "tiny: 1 of 4 runs finished, 3 failed" in said.splitlines()[-4]


def test_a_cluster_s_queue(checkout, suite, monkeypatch):
    packs = packing.training(suite, Site(), 0)
    first, second, third, last = (pack.runs[0].name for pack in packs)
    one, two, three, four = (pack.rule for pack in packs)
    packing.note("tiny", packs)
    rows = [
        # Number, state, nodes, start, left, reason, comment, folder.
        f"11|RUNNING|gpu07|2026-11-26T20:01:00|3:59:00|None|rule_{one}|{checkout}",
        f"12|PENDING||2026-11-27T06:00:00|1-00:00:00|Priority|rule_{two}|{checkout}",
        f"13|PENDING||N/A|1-00:00:00|QOSMaxJobsPerUserLimit|rule_{three}|{checkout}",
        f"14|PENDING||N/A|1-00:00:00|Priority|rule_{four}|/elsewhere",
        f"15|RUNNING|cpu01|N/A|1:00|None|some other work|{checkout}",
    ]
    squeue(checkout, monkeypatch, "\n".join(rows) + "\n")
    found = queued(checkout)
    assert [job.number for job in found] == ["11", "12", "13", "15"]
    assert [job.rule for job in found] == [one, two, three, ""]
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    monkeypatch.setenv("SLURMD_NODENAME", "gpu07")
    folder = checkout / "results" / "tiny" / "runs" / first
    folder.mkdir(parents=True)
    with alone(folder):
        said = status(checkout)
    assert "tiny: 0 of 4 runs finished, 1 running, 2 queued, 1 waiting" in said
    assert f"running  {first}: on gpu07 (job 11, 3:59:00 left of its wall time), since" in said
    assert f"queued   {second}: job 12, Priority, expected to start 2026-11-27T06:00:00" in said
    assert f"queued   {third}: job 13, QOSMaxJobsPerUserLimit\n" in said
    assert last not in said


def test_a_job_that_is_tried_again_is_queued_and_not_failed(checkout, suite):
    first = names(suite, "single")[0]
    folder = checkout / "results" / "tiny" / "runs" / first
    folder.mkdir(parents=True)
    write_json(folder / "failure.json", {"status": "failed", "reason": "out of memory"})
    again = Job("7", "PENDING", "", "N/A", "1:00", "Priority", "train_it")
    found = {
        one.run.name: one.state
        for one in survey(suite, checkout / "results" / "tiny", [again], {"train_it": [first]})
    }
    assert found[first] is State.QUEUED


def test_jobs_of_another_packing_are_told_by_their_runs(checkout, suite, monkeypatch):
    """What is in the queue makes two runs; meanwhile all are packed into one job."""
    runs = [planned.run for planned in suite.runs]
    before = [packing.Pack("train", tuple(runs[n : n + 2])) for n in (0, 2)]
    packing.note("tiny", before)
    packing.note("tiny", [packing.Pack("train", tuple(runs))])
    row = "21|PENDING||N/A|1:00:00|Priority|rule_{}|{}"
    squeue(checkout, monkeypatch, row.format(before[1].rule, checkout) + "\n")
    assert f"queued   {runs[2].name} and 1 more: job 21" in status(checkout)
    # What is being written just now, or damaged, hides no other.
    (checkout / ".snakemake" / "plans" / "tiny-0.jobs.json").write_text("{")
    assert "2 queued, 2 waiting" in status(checkout)


def test_combinations_are_told_as_well(checkout, monkeypatch):
    groups = {"short": [{"method": "deep_ensemble", "members": 2, "seeds": 1}]}
    suite = expand({**CONFIG, "groups": groups})
    (checkout / "tiny.yaml").write_text(yaml.safe_dump({**CONFIG, "groups": groups}))
    (combination,) = packing.brief(suite, "combine", suite.combined())
    packing.note("tiny", [combination])
    row = f"31|PENDING||N/A|4:00|Dependency|rule_{combination.rule}|{checkout}\n"
    squeue(checkout, monkeypatch, row)
    assert f"queued   {combination.runs[0].name}: job 31" in status(checkout)


def test_a_queue_that_does_not_answer_is_said(checkout, suite, monkeypatch):
    squeue(checkout, monkeypatch, "", 1)
    with pytest.raises(InputError, match="squeue does not answer"):
        queued(checkout)
    said = status(checkout)
    assert "4 waiting" in said
    assert "which runs are queued is not known" in said


@pytest.mark.parametrize("seconds", ["0", "-3"])
def test_a_wrong_interval_is_refused(seconds, checkout):
    process = start("status", "--config", "tiny.yaml", f"--watch={seconds}", cwd=checkout)
    assert "allowed: seconds from 1" in finish(process, 2)


def test_who_holds_a_folder(tmp_path, monkeypatch):
    assert holder(tmp_path) is None
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    with alone(tmp_path):
        held = holder(tmp_path)
        assert held["process"] == os.getpid()
        assert held["job"] == "77"
        assert datetime.fromisoformat(held["since"]) <= datetime.now(UTC)
        shutil.copy(tmp_path / ".lock", tmp_path / "left")
    assert holder(tmp_path) is None
    # What a killed process leaves is overwritten, be it longer.
    (tmp_path / "left").rename(tmp_path / ".lock")
    with open(tmp_path / ".lock", "a") as file:
        file.write(" " * 100 + "more")
    assert holder(tmp_path) is None
    monkeypatch.delenv("SLURM_JOB_ID")
    with alone(tmp_path):
        assert read_json(tmp_path / ".lock")["job"] == ""
