"""Every rival learns: a short run on real digits, from specification to metrics."""

from pathlib import Path

import pytest
from rivals import RIVALS

from nfe.common.files import read_json
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.suite.run import specify

# What they learn in runs long enough for their phases: tests/report/test_released_results.py.
LONG = ("snapshot", "dst", "edst", "prune_and_tune", "subnetwork_ensemble", "swag")


@pytest.mark.parametrize("name", [name for name in RIVALS if name not in LONG])
def test_digits(name: str, tmp_path: Path) -> None:
    run = specify(dataset="digits", architecture_name="wrn-10-1", method=name, epochs=8)
    execute(run, RunFolders(tmp_path, tmp_path, tmp_path, tmp_path), Worker())
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["accuracy"] > 75
    if metrics["combine"] == "probabilities":
        # Jensen: the mean of probabilities is at least as good as the members, on average.
        assert metrics["nll"] <= sum(metrics["member_nll"]) / metrics["members"] + 1e-9
