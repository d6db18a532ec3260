"""MultiSWAG: which runs it combines, with which settings, and how."""

from pathlib import Path

import numpy as np
import torch
import yaml
from rivals import context, method

from nfe.common.files import read_json
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.suite.expansion import expand
from nfe.suite.run import specify


def test_it_combines_runs_of_swag_with_its_own_settings() -> None:
    settings = {"runs": 2, "members": 4, "rate": 0.25, "scale": 0.0}
    run = specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method="multi_swag",
        settings=settings,
        epochs=3,
        seed=1,
    )
    found = run.members()
    assert [(m.method, m.seed) for m in found] == [("swag", 2), ("swag", 3)]
    plain = specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method="swag",
        settings={k: v for k, v in settings.items() if k != "runs"},
        epochs=3,
        seed=2,
    )
    # The very run that SWAG has: it is trained once.
    assert found[0] == plain
    assert found[0].name == plain.name


def test_what_was_chosen_for_swag_is_taken_up(tmp_path: Path) -> None:
    tuned = tmp_path / "tuned.yaml"
    chosen = {"recipe": {"lr": 0.2, "weight_decay": 0.001}, "settings": {"rate": 0.25}}
    tuned.write_text(yaml.safe_dump({"swag": chosen}), encoding="utf-8")
    config = {
        "suite": "tuned",
        "dataset": "digits",
        "architecture": "wrn-10-1",
        "epochs": 1,
        "seeds": 1,
        "tuned": str(tuned),
        "groups": {"headline": [{"method": ["swag", "multi_swag"]}]},
    }
    runs = [planned.run for planned in expand(config).runs]
    [several] = [run for run in runs if run.method == "multi_swag"]
    assert (several.recipe.lr, several.settings["rate"]) == (0.2, 0.25)
    # Of its three runs, the suite's own one of SWAG is the first.
    assert [run for run in runs if run.method == "swag"] == several.members()


def test_members_of_all_runs_are_together(tmp_path: Path) -> None:
    run = specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method="multi_swag",
        settings={"runs": 2, "members": 2},
        epochs=3,
    )
    folders = RunFolders(tmp_path, tmp_path, tmp_path / "members", tmp_path / "members")
    execute(run, folders, Worker())
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["members"] == 4
    stored = np.load(tmp_path / "predictions.npz")["test_logits"]
    for number, member in enumerate(run.members()):
        own = np.load(folders.member(member).artifacts / "predictions.npz")["test_logits"]
        assert np.array_equal(stored[:, 2 * number : 2 * number + 2], own)
    made = method("multi_swag", "wrn-10-1", runs=2, members=2).network(context("wrn-10-1")).eval()
    assert made(torch.randn(3, 3, 16, 16)).shape == (3, 4, 5)
