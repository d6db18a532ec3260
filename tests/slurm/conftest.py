"""The cluster of all tests, and suites to make on it."""

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import DISTURBED, Checkout
from cluster import Cluster


@pytest.fixture(scope="session")
def daemons() -> Iterator[Cluster]:
    # Asked to end, pytest stops the cluster first, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(daemons: Cluster) -> Iterator[Cluster]:
    """The cluster, left without jobs: what a test that fails leaves there fails the next one."""
    yield daemons
    Checkout.kill_all()
    daemons.clear()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Checkout:
    """The suite of the tests below, made here without SLURM, once for all workers."""
    own = tmp_path_factory.getbasetemp()
    common = own if worker_id == "master" else own.parent
    folder, made = common / "undisturbed", common / "undisturbed.made"
    with (common / "undisturbed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.exists():
            return Checkout.standing(folder, DISTURBED["suite"])
        shutil.rmtree(folder, ignore_errors=True)
        checkout = Checkout(folder, DISTURBED)
        checkout.finish(checkout.start(dict(os.environ), "--cores", "2"))
        made.touch()
    return checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout", DISTURBED)
