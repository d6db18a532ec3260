"""MultiSWAG: which SWAG runs it combines, with which settings, and how."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from fabricated import fabricate
from PIL import Image
from rivals import context, method
from scipy.special import softmax

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.common.files import read_json
from nfe.engine.latency import deployed_forms
from nfe.engine.prediction import predict
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.evaluation import cost
from nfe.method import settings_class
from nfe.report import tables
from nfe.suite.expansion import Suite, expand
from nfe.suite.run import Run, from_identity, specify

# Two draws from each of two modes, of trainings of 12 steps.
SHORT = {"modes": 2, "members": 2, "statistics": 0.34, "rate": 0.25}
OF_SWAG = {key: value for key, value in SHORT.items() if key != "modes"}


def made(name: str, settings: dict[str, Any], **changes: Any) -> Run:
    return specify(
        method=name,
        settings=settings,
        **{"dataset": "digits", "architecture_name": "wrn-10-1", "epochs": 3, **changes},
    )


def suite(*entries: dict[str, Any], **keys: Any) -> Suite:
    frame = {"suite": "t", "dataset": "digits", "architecture": "wrn-10-1", "epochs": 3, "seeds": 1}
    return expand({**frame, **keys, "groups": {"headline": list(entries)}})


def of(planned: Suite, name: str) -> list[Run]:
    return [p.run for p in planned.runs if p.run.method == name]


# --- members ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"protocol": "published", "epochs": None},
        {"recipe": {"lr": 0.3, "batch_size": 60}},
        {"audit": True, "precision": "bfloat16"},
        {"pins": {"swag": 1}},
    ],
)
@pytest.mark.parametrize("settings", [{}, OF_SWAG])
def test_its_members_are_the_runs_of_swag_with_these_settings(
    settings: dict[str, Any], changes: dict[str, Any]
) -> None:
    run = made("multi_swag", {"modes": 2, **settings}, seed=3, **changes)
    plain = [made("swag", settings, seed=seed, **changes) for seed in (6, 7)]
    assert run.members() == plain
    assert [m.name for m in from_identity(run.identity()).members()] == [m.name for m in plain]


def test_replicates_share_no_member() -> None:
    seeds = [m.seed for r in range(3) for m in made("multi_swag", {"modes": 4}, seed=r).members()]
    assert seeds == list(range(12))


def test_a_suite_trains_the_shared_runs_once() -> None:
    planned = suite({"method": ["swag", "multi_swag"], "statistics": 0.3, "scale": 0.2}, seeds=2)
    assert sorted(run.seed for run in of(planned, "swag")) == list(range(6))
    assert len({run.name for run in of(planned, "swag")}) == 6
    assert sum(map(len, planned.chunks())) == 6
    assert planned.combined() == of(planned, "multi_swag")


def test_what_was_chosen_for_swag_is_taken_up(tmp_path: Path) -> None:
    """Its rate and scale with the recipe; what the entry says has the last word."""
    tuned = tmp_path / "tuned.yaml"
    chosen = {"recipe": {"lr": 0.2, "weight_decay": 1e-3}, "settings": {"rate": 0.8, "scale": 0.2}}
    tuned.write_text(yaml.safe_dump({"swag": chosen}))
    entry = {"method": ["swag", "multi_swag"]}
    entries = (entry, {**entry, "scale": 0.0}, {**entry, "protocol": "published", "epochs": 3})
    planned = suite(*entries, tuned=str(tuned))
    found = [(r.recipe.lr, r.settings["rate"], r.settings["scale"]) for r in of(planned, "swag")]
    expected = [(0.2, 0.8, 0.2), (0.2, 0.8, 0.0), (0.1, 0.5, 0.5)]
    assert [found.count(values) for values in expected] == [3, 3, 3]
    several = of(planned, "multi_swag")
    assert [(r.recipe.lr, r.settings["rate"], r.settings["scale"]) for r in several] == expected
    assert {m.name for r in several for m in r.members()} == {r.name for r in of(planned, "swag")}
    assert planned.untuned == ()


def test_settings_that_members_do_not_get_are_not_taken_up(tmp_path: Path) -> None:
    """What was chosen for single networks in a suite of deep ensembles is their recipe alone."""
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text(
        yaml.safe_dump({"single": {"recipe": {"lr": 0.3}, "settings": {"members": 7}}})
    )
    [run] = of(suite({"method": "deep_ensemble"}, tuned=str(tuned)), "deep_ensemble")
    assert (run.recipe.lr, run.settings) == (0.3, {"members": 3})


def test_a_search_is_swags() -> None:
    tuning = {
        "points": 2,
        "recipe": {"lr": [0.1, 0.2], "weight_decay": [1e-4, 1e-3]},
        "methods": {},
    }
    with pytest.raises(InputError, match="multi_swag takes the choice of swag: allowed: swag"):
        suite({"method": "multi_swag"}, tuning=tuning)


def test_another_version_of_swag_is_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made("multi_swag", SHORT)
    monkeypatch.setattr(settings_class("swag"), "version", 9)
    now = made("multi_swag", SHORT)
    assert (before.versions, now.versions) == ({}, {"member": 9})
    assert [m.versions for m in now.members()] == [{"method": 9}] * 2
    assert made("multi_swag", SHORT, pins={"swag": 1}) == before


# --- settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modes": 1}, "modes is 1: allowed: whole numbers from 2"),
        ({"modes": 2.5}, "modes is 2.5: allowed: whole numbers from 2"),
        ({"members": 0}, "members is 0: allowed: whole numbers from 1"),
        ({"rank": 1}, "rank is 1: allowed: whole numbers from 2"),
        ({"start": 0.9, "statistics": 0.1}, "start is 0.9 with statistics 0.1: allowed: shares"),
        ({"mode": 3}, "unknown setting of the method multi_swag 'mode': did you mean 'modes'"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        made("multi_swag", settings)
    assert "\n" not in str(caught.value)


# --- the combination --------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, RunFolders]:
    folder = tmp_path_factory.mktemp("multi_swag")
    run = made("multi_swag", SHORT, recipe={"batch_size": 120})
    folders = RunFolders(folder, folder, folder / "members", folder / "members")
    execute(run, folders, Worker())
    return run, folders


def arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "predictions.npz") as stored:
        return dict(stored)


def test_the_prediction_is_the_mean_of_all_draws_of_all_modes(
    finished: tuple[Run, RunFolders], tmp_path: Path
) -> None:
    """Against SWAG runs by themselves, whose probabilities are averaged by hand."""
    run, folders = finished
    shown = []
    for seed in (0, 1):
        at = tmp_path / str(seed)
        alone = made("swag", OF_SWAG, seed=seed, recipe={"batch_size": 120})
        execute(alone, RunFolders(at, at, at / "members", at / "members"), Worker())
        shown.append(arrays(at))
    for split in ("test", "heldout"):
        every = [one[f"{split}_logits"][:, m] for one in shown for m in (0, 1)]
        assert np.array_equal(arrays(folders.artifacts)[f"{split}_logits"], np.stack(every, 1))
    every = [one["test_logits"][:, m] for one in shown for m in (0, 1)]
    mean = np.mean([softmax(logits.astype(np.float64), -1) for logits in every], axis=0)
    labels = shown[0]["test_labels"]
    metrics = read_json(folders.output / "metrics.json")
    assert metrics["members"] == run.method_settings().ensemble_size() == 4
    assert metrics["accuracy"] == pytest.approx(100 * np.mean(mean.argmax(-1) == labels))
    nll = -np.log(mean[np.arange(len(labels)), labels]).mean()
    assert metrics["nll"] == pytest.approx(nll, abs=1e-6)
    # The modes are other networks, and so are the draws of each.
    assert len({logits.tobytes() for logits in every}) == 4


def test_its_costs_are_the_sums_over_modes(finished: tuple[Run, RunFolders]) -> None:
    run, folders = finished
    metrics = read_json(folders.output / "metrics.json")
    parts = [read_json(folders.member(m).output / "metrics.json") for m in run.members()]
    assert metrics["member_runs"] == [member.name for member in run.members()]
    for key in ("parameters", "nonzero_parameters", "macs_dense", "macs_nonzero", "train_macs"):
        assert metrics[key] == sum(part[key] for part in parts) > 0, key
    # Four networks at inference; two trainings, each of one network.
    network = method("single", "wrn-10-1").network(context("wrn-10-1", channels=1, classes=10))
    assert metrics["parameters"] == 4 * sum(p.numel() for p in network.parameters())
    data = datasets.load(run.card)
    image = torch.zeros(1, *data.test.images.shape[1:])
    assert metrics["macs_dense"] == 4 * cost.inference_macs(network, image)[1]


def test_image_files_are_shown_to_all_draws(
    finished: tuple[Run, RunFolders], tmp_path: Path
) -> None:
    run, folders = finished
    Image.fromarray(datasets.load(run.card).test.images[0, 0].numpy()).save(tmp_path / "0.png")
    [said] = predict(run, folders, [tmp_path / "0.png"], torch.device("cpu"))
    stored = softmax(arrays(folders.artifacts)["test_logits"][0].astype(np.float64), axis=-1)
    np.testing.assert_allclose(said.members, stored, atol=2e-3)
    np.testing.assert_allclose(said.probabilities, stored.mean(0), atol=2e-3)


@torch.no_grad()
def test_the_network_has_the_modes_side_by_side() -> None:
    """What latency is measured on computes every draw of every mode, in the members' order."""
    run = made("multi_swag", SHORT)
    [network] = deployed_forms(run, datasets.load(run.card), torch.device("cpu"))
    assert network(torch.randn(3, 1, 8, 8)).shape == (3, 4, 10)
    mixture = method("multi_swag", "wrn-10-1", modes=3, members=2).network(context("wrn-10-1"))
    images = torch.randn(3, 3, 16, 16)
    alone = [mode(images) for mode in mixture.eval()[0].networks]  # type: ignore[union-attr, operator]
    assert [logits.shape for logits in alone] == [(3, 2, 5)] * 3
    torch.testing.assert_close(mixture(images), torch.cat(alone, dim=1))


def test_a_failed_run_has_as_many_members_in_the_table(tmp_path: Path) -> None:
    """What no prediction tells is told by the settings: draws times modes."""
    planned = suite({"method": "multi_swag", **SHORT})
    fabricate(planned, tmp_path, failed=[run.name for run in of(planned, "multi_swag")])
    rows = {row["method"]: row for row in tables.run_rows(planned, tmp_path)}
    assert (rows["multi_swag"]["status"], rows["multi_swag"]["members"]) == ("failed", "4")
    assert (rows["swag"]["status"], rows["swag"]["members"]) == ("ok", "2")
