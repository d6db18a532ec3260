"""The estimate of a training's GPU memory against what PyTorch's allocator took on a null GPU."""

import csv

import pytest
from conftest import ROOT

from nfe.cluster import estimate, memory
from nfe.cluster.doctor import examine
from nfe.cluster.planning import costs, lines
from nfe.cluster.site import Site
from nfe.suite.expansion import expand
from nfe.suite.run import specify

# The table's images are those of CIFAR-100.
# The local critics' backward passes, which run during the step, keep some for themselves.
TOLERANCE = {"local_critic": 0.15}
SLOW = ("nfe", "wrn-28-10")


def measured():
    with (ROOT / "tests" / "nullgpu" / "expected.csv").open() as file:
        for row in csv.DictReader(file):
            what = row["method"], row["architecture"]
            marks = [pytest.mark.slow] if what == SLOW else []
            yield pytest.param(row, marks=marks, id="-".join(what))


@pytest.mark.parametrize("row", list(measured()))
def test_the_estimate_is_what_the_allocator_took(row):
    method, *settings = row["method"].split()
    run = specify(
        dataset="cifar100",
        architecture_name=row["architecture"],
        method=method,
        settings=dict(setting.split("=") for setting in settings),
        epochs=1,
        precision=row["precision"],
        recipe={"batch_size": row["batch"]},
    )
    found = memory.peak_mb(run)
    within = TOLERANCE.get(row["method"], 0.08)
    assert found == pytest.approx(float(row["peak_mb"]), rel=within)


CONFIG = {
    "suite": "tiny",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 1,
    "gpus": 1,
    "groups": {"first": [{"method": "single"}, {"method": "mimo"}]},
}


def test_a_plan_for_gpus_says_which_have_the_memory(tmp_path, monkeypatch):
    suite = expand(CONFIG)
    monkeypatch.setattr(memory, "peak_mb", lambda run: 45_000 if run.method == "mimo" else 100)
    said = "\n".join(lines(suite, costs(suite, tmp_path, None, 1, Site()), 1))
    mimo = next(planned.run.name for planned in suite.runs if planned.run.method == "mimo")
    wanted = f"at most some 45.0 GB and 1 GB for CUDA ({mimo}); enough have h100, h200, l40s\n"
    assert wanted in said
    assert "GPU memory" not in "\n".join(lines(suite, costs(suite, tmp_path, None, 0, Site())))


@pytest.mark.parametrize(
    ("model", "workers", "good"),
    [("l40s", 1, True), ("l40s", 2, False), ("nvidia_h100_80gb", 1, True), ("rtx4090", 1, False)],
)
def test_doctor_says_when_the_site_s_gpu_has_not_enough(
    model, workers, good, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NFE_SLURM_GPU_MODEL", model)
    monkeypatch.setenv("NFE_SLURM_WORKERS_PER_GPU", str(workers))
    monkeypatch.setattr(memory, "peak_mb", lambda run: 30_000)
    found = {f.what: f for f in examine(CONFIG)}["memory"]
    assert found.good is good
    assert f"{estimate.gpu('l40s').memory_gb:g} GB" in found.said or model != "l40s"
