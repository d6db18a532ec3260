"""Plans: estimates against what is counted, and measured times once there are some."""

from pathlib import Path

import pytest
import yaml
from cards import NAMES, rows

from nfe.cli.main import main
from nfe.cluster import estimate, packing, planning
from nfe.cluster.site import Site
from nfe.common.files import write_json
from nfe.suite.expansion import expand
from nfe.suite.run import specify

CONFIG = {
    "suite": "planned",
    "dataset": "cifar100",
    "architecture": "resnet18",
    "epochs": 10,
    "seeds": 3,
    "precision": "bfloat16",
    "groups": {"headline": [{"method": ["single", "mimo"]}, {"method": "nfe", "exits": [2, 3]}]},
}


def made(backbone, method, precision="float32"):
    return specify(
        dataset="cifar100",
        architecture_name=backbone,
        method=method,
        epochs=1,
        precision=precision,
    )


@pytest.mark.parametrize("backbone", ["resnet18", "wrn-28-10"])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_s_multiply_adds_are_the_card_s(name, backbone):
    """In the paper suite's precision: its table has nearly all of them, counted once."""
    counted = float({row[0]: row[3] for row in rows(name, "Cost")}[backbone])
    run, single = (made(backbone, method, "bfloat16") for method in (name, "single"))
    # MutualNet deals a batch's images out to four resolutions: of a few images, unevenly.
    near = 0.1 if name == "mutualnet" else 0.02
    # Deep Ensembles train nothing: their card counts their members' training.
    members = run.members() or [run]
    trained = sum(m.method_settings().trainings() * estimate.cost(m).step_macs for m in members)
    assert trained / estimate.cost(single).step_macs == pytest.approx(counted, rel=near)


def test_a_network_is_sized_without_computing_it():
    found = estimate.cost(made("resnet18", "single"))
    assert found.step_outputs == 614_400
    # Three passes, but that nobody needs the gradient of the images.
    first, head = 3 * 64 * 9 * 32 * 32, 512 * 100
    assert found.step_macs == 3 * (555_417_600 + head) - first
    wide = estimate.cost(made("wrn-28-10", "single"))
    assert wide.step_macs == pytest.approx(3 * 5.24e9, rel=2e-3)
    assert wide.stored_bytes == pytest.approx(4 * 36.5e6, rel=2e-3)


def finish(results, runs, seconds, device):
    for run in runs:
        folder = results / "runs" / run.name
        folder.mkdir(parents=True)
        write_json(folder / "timing.json", {"train_seconds": seconds, "device": device})
        write_json(folder / "metrics.json", {})


def test_a_job_s_memory_has_room_for_scoring_by_data():
    def memory(**entry):
        groups = {"headline": [{"method": "nfe", "exits": 2, **entry}]}
        return estimate.memory_mb([p.run for p in expand({**CONFIG, "groups": groups}).runs])

    plain = memory()
    assert memory(sparsity=0.5, pruning="synflow") == plain
    # Two batches of 500 images of ResNet18, at 7 and at 17 bytes for each number it computes.
    assert memory(sparsity=0.5, pruning="snip") - plain == pytest.approx(5_200, rel=0.01)
    assert memory(sparsity=0.5, pruning="grasp") - plain == pytest.approx(12_600, rel=0.01)


def test_before_any_run_times_follow_from_peak_and_utilization(tmp_path):
    suite = expand(CONFIG)
    costs = {cost.device.name: cost for cost in planning.costs(suite, tmp_path, None, 1, Site())}
    assert set(costs) == set(estimate.gpus())
    a100 = costs["a100"]
    assert a100.basis == "tabulated"
    assert a100.left == a100.total == sum(a100.seconds.values())
    mimo = next(p.run for p in suite.runs if p.run.method == "mimo")
    macs = estimate.cost(mimo).step_macs * 50_000 * 10
    assert macs == pytest.approx(3 * 4 * 555_417_600 * 50_000 * 10, rel=0.01)
    assert estimate.training_macs(mimo) == macs
    assert a100.seconds[mimo.name] >= 2 * macs / (312e12 * 0.19)
    assert a100.chain == max(a100.seconds.values())


def test_finished_runs_replace_the_estimate_on_their_device_alone(tmp_path):
    suite = expand(CONFIG)
    before = {c.device.name: c for c in planning.costs(suite, tmp_path, None, 1, Site())}
    of = {
        method: [p.run for p in suite.runs if p.run.method == method]
        for method in ("single", "mimo", "nfe")
    }
    finish(tmp_path, of["single"][:1], 1000.0, "NVIDIA A100-SXM4-80GB")
    after = {c.device.name: c for c in planning.costs(suite, tmp_path, None, 1, Site())}
    a100 = after["a100"]
    assert a100.basis == "measured: 1 finished runs"
    assert [a100.seconds[run.name] for run in of["single"]] == [1000.0] * 3
    ratio = 1000 / before["a100"].seconds[of["single"][0].name]
    for run in (*of["mimo"], *of["nfe"]):
        assert a100.seconds[run.name] == pytest.approx(ratio * before["a100"].seconds[run.name])
    assert a100.left == pytest.approx(a100.total - 1000)
    assert after["h100"] == before["h100"]
    (only,) = planning.costs(suite, tmp_path, "h100", 1, Site())
    assert only == before["h100"]


def test_a_device_that_no_table_names_is_planned_for_from_its_own_runs(tmp_path):
    suite = expand({**CONFIG, "precision": "float32"})
    finish(tmp_path, [p.run for p in suite.runs if p.run.seed == 0], 50.0, "A Processor")
    (cost,) = planning.costs(suite, tmp_path, None, 0, Site())
    assert cost.device.name == "A Processor"
    assert set(cost.seconds.values()) == {50.0}
    text = list(planning.lines(suite, [cost]))
    assert any("A Processor" in line and "measured: 4 finished runs" in line for line in text)


def test_the_paper_suite_s_plan_names_its_sources(tmp_path):
    suite = expand(CONFIG)
    text = "\n".join(planning.lines(suite, planning.costs(suite, tmp_path, None, 1, Site())))
    for device in estimate.gpus().values():
        assert device.basis in ("measured", "tabulated", "assumed")
        assert f"{device.name}: {device.source}" in text


@pytest.mark.parametrize(("minutes", "gpus"), [(0, 1), (60, 1), (600, 1), (600, 4)])
def test_jobs_are_counted_as_the_workflow_makes_them(minutes, gpus, tmp_path):
    """Whatever the suite's runs_per_process is, where target_minutes says how long a job is."""
    suite = expand({**CONFIG, "runs_per_process": 5})
    chosen = Site(target_minutes=minutes, gpus_per_job=gpus)
    jobs = packing.training(suite, chosen, 1)
    costs = planning.costs(suite, tmp_path, "a100", 1, chosen)
    assert f"in {len(jobs)} jobs)" in list(planning.lines(suite, costs))[-1]
    # The longest job: the runs of one GPU one after the other.
    (cost,) = costs
    longest = next(job for job in jobs if job.runs[0].name == cost.longest)
    work = sum(cost.seconds[run.name] for run in longest.runs)
    assert work / gpus <= cost.chain <= work
    assert cost.chain == max(cost.chain, *cost.seconds.values())


def test_the_plan_follows_the_site_s_file(tmp_path, monkeypatch, capsys):
    """Eight runs: two jobs by number, one by minutes."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(
        yaml.safe_dump({**CONFIG, "gpus": 1, "seeds": 2, "runs_per_process": 4})
    )
    assert main(["plan", "--config", "config.yaml", "--summary"]) == 0
    assert "in 2 jobs)" in capsys.readouterr().out
    Path("slurm").mkdir()
    Path("slurm", "site.yaml").write_text("target_minutes: 6000\n")
    assert main(["plan", "--config", "config.yaml", "--summary"]) == 0
    assert "in 1 jobs)" in capsys.readouterr().out
