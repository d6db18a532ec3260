"""The head process as a job, for login nodes that kill long processes."""

import os
import sys
import time
from pathlib import Path

from checkout import Checkout, same
from cluster import Cluster, wait_until


def test_the_head_process_is_a_job_that_starts_itself_again(
    checkout: Checkout, cluster: Cluster, undisturbed: Checkout
) -> None:
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{cluster.environment['PATH']}",
        "NFE_ALLOW_CPU": "1",
        "OMP_NUM_THREADS": "1",
    }
    number = cluster.client(
        "sbatch",
        "--parsable",
        f"--chdir={checkout.folder}",
        f"--output={checkout.folder}/said.txt",
        f"--export={','.join(['ALL', *(f'{name}={value}' for name, value in own.items())])}",
        str(checkout.folder / "slurm" / "head.sh"),
        "--configfile",
        "suite.yaml",
    ).strip()
    checkout.wait_for_state()
    training = cluster.training_jobs(checkout.folder)
    assert training
    # What SLURM sends five minutes before the limit.
    cluster.client("scancel", "--batch", "--signal=USR1", number)
    # SLURM itself waits for two minutes: at once its node would refuse the job it has just ended.
    time.sleep(20)
    cluster.start_requeued(number)
    wait_until("the head has ended", lambda: state(cluster, number) == "COMPLETED", 600)
    assert (checkout.folder / "results" / checkout.suite / "index.html").exists(), checkout.said()
    assert checkout.said().count("Building DAG of jobs") == 2
    same(checkout, undisturbed)


def state(cluster: Cluster, number: str) -> str:
    return "".join(cluster.queue("%T", "--states=all", "-j", number))
