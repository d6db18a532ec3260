"""What a site decides, and what doctor says of it."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from standin import apptainer

from nfe.cluster import container, estimate, site, storage
from nfe.cluster.doctor import examine
from nfe.cluster.finding import Finding
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


def program(folder: Path, name: str, does: str) -> None:
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def tool(folder: Path, name: str, prints: str) -> None:
    program(folder, name, f"printf '%s\\n' '{prints}'")


@pytest.fixture
def cluster(clean):
    tool(clean, "sbatch", "")
    tool(clean, "scontrol", "Slurmctld(primary) at head is UP")
    tool(clean, "sinfo", SINFO)
    tool(clean, "sacctmgr", "bench|normal,long\nspare|spare")
    return clean


def missing(config) -> set[str]:
    return {finding.what for finding in examine(config) if finding.good is False}


def found(config, what: str) -> list[Finding]:
    return [finding for finding in examine(config) if finding.what == what]


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
        ({"ACCOUNT": "bench", "QOS": "long"}, set()),
        ({"QOS": "spare"}, set()),
        ({"ACCOUNT": "bench", "QOS": "spare"}, {"qos"}),
        ({"QOS": "none"}, {"qos"}),
        ({"PARTITION": "low,long"}, set()),
        ({"PARTITION": "low,nowhere"}, {"partition"}),
        ({"PARTITION": "low,off"}, {"partition", "limit"}),
        # Of several partitions' limits the least is safe.
        ({"PARTITION": "low,off", "MAX_MINUTES": "30"}, {"partition"}),
        ({"CPU_PARTITION": "nowhere"}, {"partition"}),
        ({"CPU_PARTITION": "long"}, set()),
        ({"CPU_PARTITION": "off"}, {"partition"}),
        ({"PARTITION": "low,long", "MAX_MINUTES": "9999", "GPU_MODEL": "a100"}, {"limit"}),
        ({"CONTAINER": "none.sif"}, {"site"}),
        ({"PARTITION_LIMITS": "none.yaml"}, {"site"}),
    ],
)
def test_what_the_cluster_lacks_is_named(settings, what, cluster, config, monkeypatch):
    for key, value in settings.items():
        monkeypatch.setenv(f"NFE_SLURM_{key}", value)
    assert missing(config) == what


SEVERAL = "low*|up|1-00:00:00|lustre:1,gpu:a100:4(S:0-1),shard:16,gpu:v100:2"


@pytest.mark.parametrize(
    ("gres", "model", "gpus", "good"),
    [
        (SEVERAL, "", 4, True),
        (SEVERAL, "", 5, False),
        (SEVERAL, "a100", 4, True),
        (SEVERAL, "v100", 2, True),
        (SEVERAL, "v100", 4, False),
        # No model that only begins or ends so.
        (SEVERAL, "a10", 1, False),
        ("low*|up|infinite|gpu:a100_1g.5gb:7", "a100_1g.5gb", 1, True),
        ("low*|up|infinite|gpu:a100-sxm4-80gb:4(S:0,1)", "", 4, True),
        ("low*|up|infinite|gpu:nvidia-a100-sxm:4(S:0-1)", "", 4, True),
        ("low*|up|infinite|gpu:nvidia-a100-sxm:4(S:0-1)", "", 5, False),
        ("low*|up|infinite|gpu:a100_3g.20gb:2,gpu:a100_1g.5gb:7", "a100_3g.20gb", 2, True),
        ("low*|up|infinite|gpu:a100_3g.20gb:2,gpu:a100_1g.5gb:7", "a100_3g.20gb", 7, False),
        ("low*|up|infinite|gres/gpu:a100_3g.20gb:2", "a100_3g.20gb", 2, True),
        ("low*|up|infinite|gpu:a100:no_consume:4", "a100", 4, True),
        # Without a number it is one.
        ("low*|up|infinite|gres/gpu:a100_3g.20gb", "a100_3g.20gb", 1, True),
        ("low*|up|infinite|gpu", "", 1, True),
        ("low*|up|infinite|gpu", "", 2, False),
        ("low*|up|infinite|shard:gpu:4", "", 1, False),
        ("low*|up|infinite|(null)", "", 1, False),
    ],
)
def test_generic_resources_are_read_as_slurm_writes_them(
    gres, model, gpus, good, cluster, config, monkeypatch
):
    tool(cluster, "sinfo", gres)
    monkeypatch.setenv("NFE_SLURM_GPU_MODEL", model)
    (finding,) = found({**config, "gpus": gpus}, "gpu")
    assert finding.good is good, finding.said


def test_a_list_of_partitions_offers_what_any_of_them_has(cluster, config, monkeypatch):
    told = "low*|up|infinite|gpu:nvidia-v100-sxm2:2\nlow|up|infinite|(null)\nbig|up|infinite|"
    tool(cluster, "sinfo", f"{told}gpu:a100_3g.20gb:8,shard:4")
    monkeypatch.setenv("NFE_SLURM_PARTITION", "low,big")
    (finding,) = found({**config, "gpus": 8}, "gpu")
    assert finding.good
    offers = "low, big offers a100_3g.20gb:8, nvidia-v100-sxm2:2 a node"
    assert finding.said == f"{offers}, each job asks for 8"


def test_a_job_over_several_gpus_needs_a_node_that_has_them(cluster, config, monkeypatch):
    """Three runs of a job over four GPUs: it asks for three."""
    suite = {**config, "seeds": 3, "runs_per_process": 3}
    monkeypatch.setenv("NFE_SLURM_GPUS_PER_JOB", "4")
    (finding,) = found(suite, "gpu")
    assert finding.good is False
    assert finding.said == "low offers GPUs:2 a node, each job asks for 3"
    monkeypatch.setenv("NFE_SLURM_PARTITION", "long")
    (finding,) = found(suite, "gpu")
    assert finding.good


def test_a_model_that_no_job_can_ask_for_is_refused(cluster, config, monkeypatch):
    monkeypatch.setenv("NFE_SLURM_GPU_MODEL", "a100 80gb")
    (finding,) = found(config, "gpu")
    assert not finding.good
    assert "letters, digits, _, . and - alone" in finding.said


def test_a_hyphenated_model_can_be_asked_for(cluster, config, monkeypatch):
    tool(cluster, "sinfo", "low*|up|infinite|gpu:a100-sxm4-80gb:4")
    monkeypatch.setenv("NFE_SLURM_GPU_MODEL", "a100-sxm4-80gb")
    (finding,) = found(config, "gpu")
    assert finding.good
    # No other one that only begins so.
    monkeypatch.setenv("NFE_SLURM_GPU_MODEL", "a100-sxm4")
    (finding,) = found(config, "gpu")
    assert not finding.good
    # Its memory is known as well.
    monkeypatch.setenv("NFE_SLURM_GPU_MODEL", "a100-sxm4-80gb")
    (memory,) = found(config, "memory")
    assert memory.said.startswith("a100 has ")


@pytest.mark.parametrize("model", ["rtx-4090", "nvidia_geforce_rtx_4090"])
def test_a_model_is_known_however_it_is_written(model, cluster, config, monkeypatch):
    monkeypatch.setenv("NFE_SLURM_GPU_MODEL", model)
    (memory,) = found(config, "memory")
    assert memory.said.startswith("rtx4090 has 24 GB")


@pytest.mark.parametrize(
    "sacctmgr",
    [
        "echo 'sacctmgr: error: Connection refused' >&2; exit 1",
        "echo 'sacctmgr: error: Sending PersistInit msg: Connection refused' >&2",
    ],
)
def test_an_account_is_not_judged_without_the_database(sacctmgr, cluster, config, monkeypatch):
    program(cluster, "sacctmgr", sacctmgr)
    assert [finding.good for finding in found(config, "account")] == [True]
    monkeypatch.setenv("NFE_SLURM_ACCOUNT", "bench")
    monkeypatch.setenv("NFE_SLURM_QOS", "long")
    (finding,) = found(config, "account")
    assert finding.good is None
    assert finding.said.startswith("bench, long: not checked")
    assert finding.verdict == "UNCLEAR"


def test_what_a_partition_admits(cluster, config, monkeypatch):
    shown = "PartitionName=low AllowGroups=ALL AllowAccounts=spare DenyQos=long TotalNodes=2"
    up = "Slurmctld(primary) at head is UP"
    program(cluster, "scontrol", f'[ "$1" = ping ] && echo "{up}" || echo "{shown}"')
    assert missing(config) == set()
    monkeypatch.setenv("NFE_SLURM_ACCOUNT", "bench")
    assert missing(config) == {"account"}
    monkeypatch.setenv("NFE_SLURM_ACCOUNT", "spare")
    assert missing(config) == set()
    monkeypatch.setenv("NFE_SLURM_ACCOUNT", "bench")
    monkeypatch.setenv("NFE_SLURM_QOS", "long")
    assert missing(config) == {"account", "qos"}


def test_what_the_partition_without_gpus_admits(cluster, config, monkeypatch):
    up = "Slurmctld(primary) at head is UP"
    denies = (
        '[ "$1" = ping ] && echo "{}"; [ "$3" = long ] && echo "DenyAccounts=bench AllowQos=ALL"'
    )
    program(cluster, "scontrol", f"{denies.format(up)}; true")
    monkeypatch.setenv("NFE_SLURM_ACCOUNT", "bench")
    assert missing(config) == set()
    monkeypatch.setenv("NFE_SLURM_CPU_PARTITION", "long")
    assert missing(config) == {"account"}


# What sacctmgr lists where limits are asked for; columns as in nfe/cluster/limits.py.
LIMITS = """
case "$*" in
*maxsubmitjobsperuser*) echo '{qos}' ;;
*grpsubmitjobs*) echo 'bench||normal|{association}'; echo 'bench|off||1||'; echo 'spare|||7||' ;;
*) printf 'bench|normal,long\nspare|spare\n' ;;
esac"""


@pytest.mark.parametrize(
    ("association", "qos", "settings", "said"),
    [
        ("||", "normal||||", {}, []),
        ("600||2-00:00:00", "normal|900|||7-00:00:00", {}, []),
        ("200||", "normal||||", {}, ["max_jobs is 500, your association with account bench"]),
        ("200|90|", "normal||||", {}, ["(grpsubmitjobs) allows 90: set it so"]),
        (
            "200||",
            "normal|50|||",
            {},
            ["quality of service normal (maxsubmitjobsperuser) allows 50"],
        ),
        ("200||", "normal||||", {"MAX_JOBS": "200"}, []),
        ("||4:00:00", "normal||||", {}, ["max_minutes is 1440, your association with account"]),
        ("||", "normal||||1:00:00", {}, ["quality of service normal (MaxWall) allows 60: set it"]),
        ("9||", "normal||||1:00:00", {}, ["allows 9: set", "allows 60: set"]),
        # That account is not the one that is charged; nobody's limit is one of the partition off.
        ("||", "normal||||", {"ACCOUNT": "bench"}, []),
    ],
)
def test_submit_limits(association, qos, settings, said, cluster, config, monkeypatch):
    program(cluster, "sacctmgr", LIMITS.format(association=association, qos=qos))
    monkeypatch.setenv("NFE_SLURM_ACCOUNT", "bench")
    for key, value in settings.items():
        monkeypatch.setenv(f"NFE_SLURM_{key}", value)
    lines = [finding.said for finding in found(config, "limit")]
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


def test_a_partition_s_own_quality_of_service_limits_too(cluster, config):
    up = "Slurmctld(primary) at head is UP"
    shown = "PartitionName=low AllowAccounts=ALL QoS=partlow TotalNodes=2"
    program(cluster, "scontrol", f'[ "$1" = ping ] && echo "{up}" || echo "{shown}"')
    tools = LIMITS.format(association="||", qos="none|||20|")
    program(cluster, "sacctmgr", f'echo "$*" >> {cluster}/asked{tools}')
    (limit,) = found({**config}, "limit")
    assert limit.said.startswith("max_jobs is 500, your association with account spare")
    assert "names=normal,partlow" in (cluster / "asked").read_text()


def test_another_cluster_s_tools_are_asked_about_it(cluster, config, monkeypatch):
    """The default cluster has no partition long2 and knows no such account."""
    here = "printf 'low*|up|1-00:00:00|gpu:2\\n'"
    there = "printf 'CLUSTER: b\\nlong2*|up|infinite|gpu:4\\n'"
    program(cluster, "sinfo", f'case "$*" in *--clusters=b*) {there} ;; *) {here} ;; esac')
    program(
        cluster,
        "sacctmgr",
        'case "$*" in *cluster=b*) echo "far|normal" ;; *) echo "bench|normal" ;; esac',
    )
    program(cluster, "scontrol", f'echo "$*" >> {cluster}/asked; echo "head is UP"')
    for key, value in {"PARTITION": "long2", "ACCOUNT": "far"}.items():
        monkeypatch.setenv(f"NFE_SLURM_{key}", value)
    assert missing(config) == {"partition", "account"}
    (cluster / "asked").unlink()
    monkeypatch.setenv("NFE_SLURM_CLUSTERS", "b")
    assert missing(config) == set()
    asked = (cluster / "asked").read_text().splitlines()
    assert asked
    assert all("--clusters=b" in line for line in asked)
    # Every one that is named has to have it.
    monkeypatch.setenv("NFE_SLURM_CLUSTERS", "b,a")
    assert missing(config) == {"partition", "account"}


def test_what_sbatch_refuses_is_said(cluster, config, monkeypatch):
    program(
        cluster,
        "sbatch",
        f'echo "$@" > {cluster}/asked\n'
        'case "$*" in *licenses=none*) echo "sbatch: error: Invalid license" >&2; exit 1 ;; esac',
    )
    monkeypatch.setenv("NFE_SLURM_EXTRA", "--mail-type=END --licenses=gpu:1")
    assert missing(config) == set()
    asked = (cluster / "asked").read_text()
    assert asked.startswith("--test-only ")
    assert "--time=1440 --requeue --mail-type=END --licenses=gpu:1 --wrap true" in asked
    monkeypatch.setenv("NFE_SLURM_EXTRA", "--licenses=none")
    (finding,) = found(config, "sbatch")
    assert finding.good is False
    assert finding.said.startswith("sbatch: error: Invalid license")


def test_options_that_srun_has_not_are_left_out(cluster, config, monkeypatch):
    node(cluster)
    monkeypatch.setenv("NFE_ALLOW_CPU", "1")
    monkeypatch.setenv("NFE_SLURM_EXTRA", "--kill-on-invalid-dep=yes")
    path = cluster / "bin" / "srun"
    refuse = (
        "#!/bin/sh\n"
        'case "$*" in *--kill-on*) echo "srun: unrecognized option \'--kill-on\'" >&2; exit 1 ;;'
        " esac"
    )
    path.write_text(path.read_text().replace("#!/bin/sh", refuse))
    (finding,) = found(config, "node")
    assert finding.good, finding.said
    assert finding.said.endswith("(tried without --kill-on-invalid-dep=yes)")


def node(folder: Path) -> None:
    """Let srun be a node: this machine, with what its options were in a file."""
    program(
        folder,
        "srun",
        f'echo "$@" > {folder}/asked\nwhile [ "$1" != bash ]; do shift; done; shift\n'
        'PATH=/usr/bin:/bin exec /bin/bash "$@"',
    )


def test_a_node_without_a_gpu(cluster, config, monkeypatch):
    node(cluster)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("NFE_SLURM_RESERVATION", "course")
    monkeypatch.setenv("NFE_SLURM_EXTRA", "--licenses=gpu:1 --nice=5")
    (finding,) = found(config, "node")
    assert finding.good is False
    assert "a GPU is asked for and PyTorch" in finding.said
    asked = (cluster / "asked").read_text()
    assert "--reservation=course --gpus=1 --licenses=gpu:1 --nice=5 bash -c" in asked
    monkeypatch.setenv("NFE_ALLOW_CPU", "1")
    monkeypatch.setenv("NFE_SLURM_SCRATCH", str(cluster / "disk"))
    (finding,) = found(config, "node")
    assert finding.good, finding.said
    assert finding.said.startswith("a job starts there, on ")
    assert (cluster / "disk").is_dir()


def test_a_folder_that_a_node_does_not_see_is_named(cluster, config, monkeypatch):
    """The data root is there on the login node alone: the probe comes when it is gone."""
    (cluster / "elsewhere").mkdir()
    node(cluster)
    path = cluster / "bin" / "srun"
    hide = f"#!/bin/sh\n/bin/rmdir {cluster}/elsewhere"
    path.write_text(path.read_text().replace("#!/bin/sh", hide))
    (cluster / "work").mkdir()
    monkeypatch.chdir(cluster / "work")
    monkeypatch.setenv("NFE_ALLOW_CPU", "1")
    (finding,) = found({**config, "data_root": str(cluster / "elsewhere")}, "node")
    assert finding.good is False
    assert finding.said == f"{cluster}/elsewhere: no such folder there"


def test_a_node_is_tried_in_the_container(cluster, config, monkeypatch):
    image = cluster / "nfe-bench.sif"
    image.touch()
    tools = apptainer(cluster, "apptainer")
    node(cluster)
    path = cluster / "bin" / "srun"
    path.write_text(path.read_text().replace("PATH=", f"PATH={tools}:"))
    monkeypatch.setenv("NFE_ALLOW_CPU", "1")
    monkeypatch.setenv("NFE_SLURM_CONTAINER", str(image))
    (finding,) = found(config, "node")
    assert finding.good, finding.said
    told = (tools / "told").read_text(encoding="utf-8").splitlines()
    assert told[0] == "exec"
    assert told[told.index(str(image)) + 1 :][:2] == [container.PYTHON, "-c"]
    # Without apptainer on the node, that is what is said.
    (tools / "apptainer").unlink()
    (finding,) = found(config, "node")
    assert finding.said == "slurm/site.yaml, container: no apptainer or singularity on PATH"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"MODULES": "cuda/12.8"}, "module load cuda/12.8 failed"),
        ({"SCRATCH": "/proc/none"}, "scratch: cannot write to /proc/none"),
    ],
)
def test_what_a_node_lacks(settings, said, cluster, config, monkeypatch):
    node(cluster)
    monkeypatch.setenv("NFE_ALLOW_CPU", "1")
    for key, value in settings.items():
        monkeypatch.setenv(f"NFE_SLURM_{key}", value)
    (finding,) = found(config, "node")
    assert finding.good is False
    assert said in finding.said


def test_a_busy_cluster_is_no_fault(cluster, config):
    busy = "srun: error: Unable to allocate resources: Requested nodes are busy"
    program(cluster, "srun", f"echo '{busy}' >&2; exit 1")
    (finding,) = found(config, "node")
    assert finding.good is None
    assert "none free within 60 s" in finding.said


@pytest.mark.parametrize(
    ("tools", "left"),
    [
        ({"lfs": "     /lustre 4000000 0 5000000 - 90 0 100 -"}, (1.024, 10)),
        # A long mount point has a line of its own; what is exceeded has a star.
        ({"lfs": "/a/long/mount/point\n   6000000* 0 5000000 6d 90 0 0 -"}, (0, None)),
        (
            {
                "quota": "Disk quotas for user me (uid 1000):\n"
                " Filesystem blocks quota limit grace files quota limit grace\n"
                " fs:/home 4000000 5000000 0 0 90 0 0 0"
            },
            (1.024, None),
        ),
        ({"quota": "Disk quotas for user me (uid 1000): none"}, None),
        ({}, None),
    ],
)
def test_what_a_quota_leaves(tools, left, clean):
    for name, prints in tools.items():
        tool(clean, name, prints)
    found = storage.quota(clean)
    expected = None if left is None else storage.Quota(pytest.approx(left[0]), left[1])
    assert found == expected


def test_a_quota_counts_and_not_only_free_space(clean, config):
    assert missing(config) == set()
    tool(clean, "lfs", "/lustre 4999999 0 5000000 - 90 0 1000 -")
    assert missing(config) == {"disk"}
    tool(clean, "lfs", "/lustre 4000000 0 5000000 - 995 0 1000 -")
    assert missing(config) == {"disk"}


def test_the_environment_has_a_size(clean, config, monkeypatch):
    for number in range(3):
        (clean / "env" / str(number)).mkdir(parents=True)
        with open(clean / "env" / str(number) / "file", "wb") as file:
            file.truncate(200_000_000)
    monkeypatch.setattr(sys, "prefix", str(clean / "env"))
    (finding,) = found(config, "python")
    assert finding.said == f"{clean / 'env'}: 0.6 GB, 3 files"
    monkeypatch.setenv("HOME", str(clean))
    (finding,) = found(config, "python")
    assert "in your home folder" in finding.said


def test_data_of_evaluations_are_looked_for(clean, config):
    suite = {**config, "dataset": "cifar10", "gpus": 0}
    asked = {**suite, "evaluate": {"ood": ["svhn", "photographs"], "corruptions": True}}
    said = [finding.said for finding in found(asked, "data")]
    assert [words.split(" at ")[0] for words in said] == ["cifar10", "svhn", "cifar10-c"]
    assert said[1].endswith("nfe-bench data prepare svhn")
    assert missing(asked) == {"data"}
    # One that fits no data of the suite is not evaluated.
    assert missing({**config, "evaluate": {"ood": ["svhn"]}}) == set()


def test_further_options_reach_every_job():
    chosen = site.Site(reservation="course", exclude="gpu[07-09]", extra="--nice=5", clusters="b")
    assert chosen.options("--exclusive") == (
        "--signal=TERM@120 --open-mode=append --reservation=course '--exclude=gpu[07-09]' --nice=5 "
        "--exclusive"
    )
    assert chosen.resources() == {"clusters": "'b'"}


def test_a_site_may_refuse_memory(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("request_memory: false")
    assert not site.load(file, {}).request_memory
    assert site.load(file, {"NFE_SLURM_REQUEST_MEMORY": "True"}).request_memory
    with pytest.raises(InputError, match=r"request_memory is 'no'.*allowed: true, false"):
        site.load(file, {"NFE_SLURM_REQUEST_MEMORY": "no"})


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
