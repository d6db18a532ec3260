"""What happens to jobs on a real cluster: the suite is completed, equal to a calm local run.

Each test lets snakemake --profile slurm start a job with two runs and does something to it once
the second run is under way and has saved its state.
"""

import signal
import time

import pytest
from checkout import Checkout, same
from cluster import Cluster, wait_until


class Made:
    """A suite that is being made, and what must hold in the end."""

    def __init__(self, checkout: Checkout, cluster: Cluster) -> None:
        self.checkout = checkout
        self.cluster = cluster
        self.snakemake = checkout.submit(cluster)
        checkout.wait_for_state()
        self.finished = checkout.timings()
        assert len(self.finished) == 1

    @property
    def job(self) -> str:
        """The number of the job that trains."""
        (number,) = self.cluster.training_jobs(self.checkout.folder)
        return number

    def ends_well(self, undisturbed: Checkout, resumed: int = 1) -> None:
        """Check that all is made, nothing twice, and as it would be without disturbance."""
        self.checkout.finish(self.snakemake)
        same(undisturbed, self.checkout)
        assert set(self.checkout.gpus()) <= {"0", "1"}
        assert self.finished.items() <= self.checkout.timings().items()
        assert self.checkout.logs().count("resumed from epoch") == resumed


@pytest.fixture
def made(checkout: Checkout, cluster: Cluster, undisturbed: Checkout) -> Made:
    return Made(checkout, cluster)


def test_a_cancelled_job_is_submitted_again_and_continues(made, cluster, undisturbed):
    cluster.client("scancel", made.job)
    made.ends_well(undisturbed)


def test_a_preempted_job_is_requeued_and_continues(made, cluster, undisturbed):
    job = made.job
    cluster.pre_empt("sleep 3")
    cluster.start_requeued(job)
    made.ends_well(undisturbed)
    assert "Restarts=1" in cluster.control("show", "job", job)
    assert "Error in rule" not in made.checkout.said()


def test_a_job_near_its_time_limit_saves_its_state_and_continues(made, cluster, undisturbed):
    job = made.job
    # SLURM looks every 30 seconds who is to be warned. Until then the run must not end.
    with cluster.paused(job):
        cluster.control("update", f"JobId={job}", "TimeLimit=2")
        time.sleep(32)
    wait_until("warned", lambda: "stopped by signal 15" in made.checkout.logs(), 10)
    assert cluster.queue("%T", "-j", job) == ["RUNNING"]
    made.ends_well(undisturbed)
    assert cluster.queue("%T", "-j", job, "--states=all") == ["TIMEOUT"]


def test_a_node_that_goes_down_gives_its_jobs_to_the_other(made, cluster, undisturbed):
    job = made.job
    node = cluster.fail(job)
    try:
        cluster.start_requeued(job)
        made.ends_well(undisturbed)
    finally:
        cluster.start(node)
    wait_until(f"{node} is back", lambda: cluster.state(node) == "idle", 60)


def test_the_controller_restarts_while_jobs_run_and_end(made, cluster, undisturbed):
    cluster.stop("slurmctld")
    try:
        wait_until("the job ended meanwhile", lambda: len(made.checkout.runs()) == 2, 180)
    finally:
        cluster.start("slurmctld")
    made.ends_well(undisturbed, resumed=0)


def test_snakemake_is_killed_and_started_again_while_its_jobs_live(made, undisturbed):
    made.snakemake.send_signal(signal.SIGKILL)
    made.snakemake.wait()
    time.sleep(1)
    made.snakemake = made.checkout.submit(made.cluster)
    made.ends_well(undisturbed, resumed=0)
