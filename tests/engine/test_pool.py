"""Several runs at once: what comes out is what one run after the other gives."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.common.files import read_json
from nfe.data import bundle
from nfe.engine.pool import Job, Outcome, execute_all
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.suite.outputs import RESULT_FILES
from nfe.suite.run import Run, specify

CPU = torch.device("cpu")


def run(seed: int, epochs: int = 1, lr: float = 0.1) -> Run:
    return specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method="single",
        epochs=epochs,
        seed=seed,
        recipe={"lr": lr},
    )


def jobs(root: Path, runs: list[Run]) -> list[Job]:
    return [(one, RunFolders.under(root, "mine", one)) for one in runs]


def finish(outcomes: Iterator[Outcome]) -> dict[str, Outcome]:
    return {outcome.name: outcome for outcome in outcomes}


def test_the_same_bytes_as_one_after_the_other(tmp_path: Path) -> None:
    runs = [run(seed) for seed in range(3)]
    together = jobs(tmp_path / "together", runs)
    found = finish(execute_all(together, partial(Worker, CPU), 2))
    assert {name: outcome.status for name, outcome in found.items()} == {
        one.name: "done" for one in runs
    }
    for one, folders in jobs(tmp_path / "apart", runs):
        execute(one, folders, Worker(CPU))
        beside = RunFolders.under(tmp_path / "together", "mine", one)
        for name in set(RESULT_FILES) - {"timing.json"}:
            assert (folders.output / name).read_bytes() == (beside.output / name).read_bytes()
        weights = "model.safetensors"
        assert (folders.artifacts / weights).read_bytes() == (
            beside.artifacts / weights
        ).read_bytes()


def test_a_run_that_fails_leaves_the_others_be(tmp_path: Path) -> None:
    diverging, good = run(0, lr=1e30), run(1)
    found = finish(execute_all(jobs(tmp_path, [diverging, good]), partial(Worker, CPU), 1))
    assert found[good.name].status == "done"
    assert found[diverging.name].status == "failed"
    assert "the loss is" in found[diverging.name].reason


def test_a_process_that_dies_takes_one_run_with_it(tmp_path: Path) -> None:
    runs = [run(0, epochs=10_000), run(1), run(2)]
    state = RunFolders.under(tmp_path, "mine", runs[0]).output / ".lock"
    found, killed = {}, False
    outcomes = execute_all(jobs(tmp_path, runs), partial(Worker, CPU), 2)
    for outcome in outcomes:
        found[outcome.name] = outcome
        if not killed:
            _kill_the_holder(state)
            killed = True
    assert found[runs[0].name].status == "failed"
    assert "ended with status -9" in found[runs[0].name].reason
    assert [found[one.name].status for one in runs[1:]] == ["done", "done"]


def _kill_the_holder(lock: Path) -> None:
    """Kill the process that has a file open."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                held = [os.readlink(link) for link in (process / "fd").iterdir()]
            except OSError:
                continue
            if str(lock) in held and int(process.name) != os.getpid():
                os.kill(int(process.name), signal.SIGKILL)
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody holds {lock}")


def test_out_of_time_runs_save_their_state_and_go_on_later(tmp_path: Path) -> None:
    wanted = [run(0, epochs=40), run(1, epochs=40)]
    make = partial(Worker, CPU)
    first = finish(execute_all(jobs(tmp_path, wanted), make, 1, seconds=6))
    assert first[wanted[0].name].status in ("interrupted", "done")
    assert wanted[1].name not in first or first[wanted[0].name].status == "done"
    second = finish(execute_all(jobs(tmp_path, wanted), make, 1))
    assert {outcome.status for outcome in second.values()} == {"done"}
    plain = RunFolders.under(tmp_path / "plain", "mine", wanted[0])
    execute(wanted[0], plain, Worker(CPU))
    stopped = RunFolders.under(tmp_path, "mine", wanted[0])
    assert (plain.output / "metrics.json").read_bytes() == (
        stopped.output / "metrics.json"
    ).read_bytes()


def test_the_record_says_how_many_shared_the_device(tmp_path: Path) -> None:
    one = run(0)
    for count, folders in ((1, tmp_path / "alone"), (3, tmp_path / "beside")):
        at = RunFolders.under(folders, "mine", one)
        execute(one, at, Worker(CPU, at_once=count))
        assert read_json(at.output / "timing.json").get("runs_at_once", 1) == count


def test_a_bundle_stands_for_the_data_set(tmp_path: Path) -> None:
    few = datasets.card("digits", num_classes=4)
    file = tmp_path / "images.npz"
    bundle.write(file, [datasets.load(few)])
    again = tmp_path / "again.npz"
    bundle.write(again, [datasets.load(few)])
    assert file.read_bytes() == again.read_bytes()
    loaded, plain = bundle.load(file, few), datasets.load(few)
    for name in bundle.SPLITS:
        assert torch.equal(getattr(loaded, name).images, getattr(plain, name).images)
        assert torch.equal(getattr(loaded, name).labels, getattr(plain, name).labels)
    with pytest.raises(InputError, match=r"does not hold digits .* 10 classes .* 4 classes"):
        bundle.load(file, datasets.card("digits"))
    with pytest.raises(InputError, match="no such file"):
        bundle.load(tmp_path / "none.npz", few)
