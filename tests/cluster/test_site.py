"""What a site decides, and what doctor says of it."""

import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from nfe.cluster import estimate, site
from nfe.cluster.doctor import examine
from nfe.common.errors import InputError

SINFO = "low*|up|1-00:00:00|gpu:2\nlong|up|infinite|gpu:a100:4\noff|down|30:00|(null)"


@pytest.fixture
def config():
    return {
        "suite": "tiny",
        "dataset": "digits",
        "architecture": "wrn-10-1",
        "epochs": 1,
        "seeds": 1,
        "gpus": 1,
        "groups": {"first": [{"method": "single"}]},
    }


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """A folder without site.yaml and a PATH without SLURM."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def tool(folder: Path, name: str, prints: str) -> None:
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{prints}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def cluster(clean):
    tool(clean, "sbatch", "")
    tool(clean, "scontrol", "Slurmctld(primary) at head is UP")
    tool(clean, "sinfo", SINFO)
    tool(clean, "sacctmgr", "bench")
    return clean


def missing(config) -> set[str]:
    return {finding.what for finding in examine(config) if not finding.good}


def test_the_environment_goes_before_the_file(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("partition: gpu\naccount: 1234\nqos:\n")
    found = site.load(file, {"NFE_SLURM_PARTITION": "long", "NFE_SLURM_MAX_MINUTES": "60"})
    assert (found.partition, found.account, found.qos, found.max_minutes) == (
        "long",
        "1234",
        "",
        60,
    )
    assert found.resources() == {"slurm_partition": "'long'", "slurm_account": "'1234'"}


def test_the_shipped_file_leaves_everything_to_the_cluster():
    assert site.load(ROOT / "slurm" / "site.yaml", {}) == site.Site()
    limits = yaml.safe_load((ROOT / "slurm" / "partitions.yaml").read_text())
    assert set(limits) == {"partitions"}


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("partitoin: gpu", {}, "did you mean 'partition'"),
        ("", {"NFE_SLURM_ACOUNT": "x"}, "NFE_SLURM_ACOUNT.*did you mean 'account'"),
        ("max_minutes: soon", {}, "max_minutes is 'soon'"),
        ("workers_per_gpu: 0", {}, "workers_per_gpu is '0' .*: allowed: whole numbers from 1"),
        ("", {"NFE_SLURM_WORKERS_PER_GPU": "two"}, "workers_per_gpu is 'two'"),
    ],
)
def test_a_wrong_setting_is_named(text, environment, message, tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        site.load(file, environment)


def test_nothing_is_missing(cluster, config):
    assert missing(config) == set()


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"PARTITION": "nowhere"}, {"partition"}),
        ({"PARTITION": "off", "MAX_MINUTES": "30"}, {"partition", "gpu"}),
        ({"MAX_MINUTES": "1441"}, {"limit"}),
        ({"PARTITION": "long", "MAX_MINUTES": "99999", "GPU_MODEL": "a100"}, set()),
        ({"GPU_MODEL": "a100"}, {"gpu"}),
        ({"ACCOUNT": "other"}, {"account"}),
        ({"PARTITION_LIMITS": "none.yaml"}, {"site"}),
    ],
)
def test_what_the_cluster_lacks_is_named(settings, what, cluster, config, monkeypatch):
    for key, value in settings.items():
        monkeypatch.setenv(f"NFE_SLURM_{key}", value)
    assert missing(config) == what


def test_a_controller_that_is_down_is_named(cluster, config):
    tool(cluster, "scontrol", "Slurmctld(primary) at head is DOWN")
    assert missing(config) == {"slurm"}


def test_without_slurm_only_data_and_disk_count(clean, config):
    assert missing(config) == set()
    assert missing({**config, "dataset": "cifar10"}) == {"data"}


@pytest.mark.parametrize(
    ("module", "status", "said"),
    [
        ("module() { return 1; }", 1, "module load cuda/12.8 gcc failed"),
        ("", 1, "module load cuda/12.8 gcc failed"),
        ('module() { echo "got $*"; }', 0, "got load cuda/12.8 gcc\ntrained\n"),
    ],
    ids=["refused", "no such command", "loaded"],
)
def test_a_job_without_its_modules_stops(module, status, said, tmp_path):
    script = f"{module}\n{site.Site(modules='cuda/12.8 gcc').setup(1)} stay echo trained > log 2>&1"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, check=False)
    log = (tmp_path / "log").read_text()
    assert done.returncode == status
    assert said in log
    assert ("trained" in log) == (status == 0)


def test_restarts_follow_from_the_time_limit():
    assert estimate.restarts(230, 240) == 0
    # 52 hours in pieces of four, of which starting up and saving take six minutes.
    assert estimate.restarts(52 * 60, 4 * 60) == 13
    for limit in (7, 30, 240, 1440):
        attempts = 1 + estimate.restarts(52 * 60, limit)
        assert attempts * limit >= 52 * 60
        assert (attempts - 1) * (limit - 6) <= 52 * 60
