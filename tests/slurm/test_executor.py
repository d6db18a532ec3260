"""What the plugin alone would lose, burn or do twice: nfe/cluster/executor.py on a real cluster."""

import signal
from collections.abc import Iterator

import pytest
from checkout import DISTURBED, Checkout, same
from cluster import Cluster, wait_until

from nfe.cluster import packing
from nfe.cluster.site import Site
from nfe.suite.expansion import expand

# Each run in a job of its own: a short one and a long one.
APART = {**DISTURBED, "runs_per_process": 1}


@pytest.fixture
def apart(tmp_path) -> Checkout:
    return Checkout(tmp_path / "checkout", APART)


@pytest.fixture
def cancelling(cluster: Cluster) -> Iterator[None]:
    """Pre-empted jobs are not put back into the queue."""
    cluster.control("update", "PartitionName=low", "PreemptMode=CANCEL")
    yield
    cluster.control("update", "PartitionName=low", "PreemptMode=REQUEUE")


@pytest.fixture
def one_at_a_time(cluster: Cluster) -> Iterator[None]:
    """A user may have one job in the queue."""
    limit = ("sacctmgr", "-i", "modify", "user", "root", "set")
    cluster.client(*limit, "MaxSubmitJobs=1")
    yield
    cluster.client(*limit, "MaxSubmitJobs=-1")


@pytest.fixture
def closed(cluster: Cluster) -> Iterator[None]:
    """Jobs are accepted and wait until the test opens the partition."""
    cluster.control("update", "PartitionName=low", "State=DOWN")
    yield
    cluster.control("update", "PartitionName=low", "State=UP")


def waiting(cluster: Cluster, checkout: Checkout, count: int) -> dict[str, str]:
    """Return the training jobs' numbers by rule, once so many are in the queue."""

    def jobs() -> dict[str, str]:
        lines = (line.split("|") for line in cluster.queue("%i|%Z|%k"))
        found = {what: n for n, at, what in lines if at == str(checkout.folder)}
        return {what.removeprefix("rule_"): n for what, n in found.items() if "train" in what}

    wait_until(f"{count} jobs", lambda: len(jobs()) == count, 120)
    return jobs()


def kill(snakemake) -> None:
    snakemake.send_signal(signal.SIGKILL)
    snakemake.wait()


def test_a_job_cancelled_by_preemption_is_submitted_again(
    checkout, cluster, cancelling, undisturbed
):
    # It is none of the attempts.
    snakemake = checkout.submit(cluster, "--retries", "0")
    checkout.wait_for_state()
    (job,) = cluster.training_jobs(checkout.folder)
    cluster.pre_empt("true")
    checkout.finish(snakemake)
    assert cluster.queue("%T", "-j", job, "--states=all") == ["PREEMPTED"]
    assert checkout.logs().count("resumed from epoch") == 1
    same(undisturbed, checkout)


def test_jobs_that_slurm_forgets_are_judged_by_their_files(apart, cluster, undisturbed):
    """Of two jobs that end while nobody looks, one has made its files; accounting is off."""
    snakemake = apart.submit(cluster, "--latency-wait", "5", "--retries", "1")
    waiting(cluster, apart, 2)
    snakemake.send_signal(signal.SIGSTOP)
    apart.wait_for_state()
    wait_until("one job left", lambda: len(cluster.training_jobs(apart.folder)) == 1, 120)
    finished = apart.timings()
    assert len(finished) == 1
    cluster.client("scancel", *cluster.training_jobs(apart.folder))
    wait_until("cancelled", lambda: not cluster.training_jobs(apart.folder), 60)
    with cluster.forgetful():
        snakemake.send_signal(signal.SIGCONT)
        apart.finish(snakemake)
    assert apart.said().count("it is gone from squeue and sacct") == 1
    assert finished.items() <= apart.timings().items()
    same(undisturbed, apart)


@pytest.mark.parametrize(("most", "refused"), [("500", True), ("1", False)])
def test_what_a_submit_limit_refuses_waits(tmp_path, cluster, one_at_a_time, most, refused):
    groups = {"further": [{"method": "single", "seeds": 3}]}
    checkout = Checkout(tmp_path / "checkout", {**APART, "groups": groups})
    checkout.finish(checkout.submit(cluster, "--retries", "0", NFE_SLURM_MAX_JOBS=most))
    assert len(checkout.runs()) == 3
    assert ("SLURM takes no more jobs for now" in checkout.said()) == refused
    assert "Error in rule" not in checkout.said()


def test_the_command_typed_again_queues_no_job_twice(apart, cluster, closed, undisturbed):
    snakemake = apart.submit(cluster)
    before = waiting(cluster, apart, 2)
    kill(snakemake)
    snakemake = apart.submit(cluster)
    wait_until("all taken over", lambda: apart.said().count("submitted before") == 3, 60)
    kill(snakemake)
    assert waiting(cluster, apart, 2) == before
    # Now the long one runs, and a job that would make both replaces the other.
    short, long = (before[pack.rule] for pack in packing.training(expand(APART), Site(), 1))
    cluster.control("hold", short)
    cluster.control("update", "PartitionName=low", "State=UP")
    apart.wait_for_state()
    apart.configure({**APART, "runs_per_process": 2})
    snakemake = apart.submit(cluster)
    wait_until("the short one is gone", lambda: cluster.training_jobs(apart.folder) == [long], 60)
    apart.finish(snakemake)
    assert f"waits for SLURM job {long}" in apart.said()
    assert "resumed from epoch" not in apart.logs()
    same(undisturbed, apart)


def test_what_is_queued_does_not_follow_later_changes(apart, cluster, closed, undisturbed):
    """While jobs wait, the configuration changes and the rules are gone."""
    snakemake = apart.submit(cluster)
    waiting(cluster, apart, 2)
    apart.configure({**APART, "epochs": 1, "groups": {"other": [{"method": "mimo"}]}})
    (apart.folder / "Snakefile").unlink()
    cluster.control("update", "PartitionName=low", "State=UP")
    apart.finish(snakemake)
    same(undisturbed, apart)
