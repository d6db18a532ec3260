"""The cluster of all tests, and suites to make on it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import DISTURBED, Checkout
from cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    # Asked to end, pytest stops the cluster first, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The suite of the tests below, made here without SLURM."""
    checkout = Checkout(tmp_path_factory.mktemp("local") / "checkout", DISTURBED)
    checkout.finish(checkout.start(dict(os.environ), "--cores", "2"))
    return checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout", DISTURBED)
