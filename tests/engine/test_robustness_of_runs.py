"""nfe-bench evaluate: what it writes, that it repeats nothing, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from nfe import data as datasets
from nfe.cli.main import main
from nfe.common.errors import InputError
from nfe.common.files import read_json, write_json
from nfe.data import corruptions, outliers
from nfe.engine import inference, robustness
from nfe.engine.prediction import networks
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.evaluation import metrics
from nfe.report import tables
from nfe.report.release.verification import verify
from nfe.suite.expansion import expand

CONFIG = {
    "suite": "shifted",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 1,
    "num_classes": 7,
    "groups": {
        "headline": [
            {"method": "deep_ensemble", "members": 2},
            {"method": "single"},
            {"method": "nfe", "exits": 3, "pruning": "random", "sparsity": 0.999},
        ]
    },
}
SUITE = expand(CONFIG)
ENSEMBLE, SINGLE, COLLAPSED = (planned.run for planned in SUITE.runs[:3])
OOD = ["photographs", "unseen"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shifted")
    for planned in SUITE.runs:
        execute(planned.run, folders(folder, planned.run), Worker())
    for planned in SUITE.runs[:3]:
        corrupted = planned.run is SINGLE
        robustness.evaluate(
            planned.run, folders(folder, planned.run), Worker(), OOD, corrupted=corrupted
        )
    tables.write(SUITE, folder / "results" / "shifted")
    return folder


def folders(root, run):
    runs, artifacts = root / "results" / "shifted" / "runs", root / "artifacts" / "shifted"
    return RunFolders(runs / run.name, artifacts / run.name, runs, artifacts)


def test_clean_numbers_follow_from_the_stored_predictions(root):
    at = folders(root, ENSEMBLE)
    stored = dict(np.load(at.artifacts / "predictions.npz"))
    found = read_json(at.output / "evaluation.json")
    p = metrics.combined_log_probabilities(stored["test_logits"], "probabilities")
    powered = np.exp(p / found["temperature"])
    powered /= powered.sum(axis=-1, keepdims=True)
    labels = stored["test_labels"]
    assert found["nll_scaled"] == pytest.approx(
        -np.mean(np.log(powered[np.arange(len(labels)), labels]))
    )
    # Held-out images alone decide the temperature.
    moved = {**stored, "test_logits": stored["test_logits"][::-1]}
    assert robustness.clean(moved, "probabilities")["temperature"] == found["temperature"]


def test_detection_is_that_of_the_network_on_those_images(root):
    at = folders(root, SINGLE)
    (network,) = networks(SINGLE, at, torch.device("cpu"))
    card = SINGLE.card
    sides = [
        inference.predict(network, card, split)[:, 0].astype(float)
        for split in (datasets.load(card).test, outliers.unseen_classes(card))
    ]
    tops = [torch.tensor(z).softmax(dim=-1).amax(dim=-1).numpy() for z in sides]
    labels = np.repeat([0, 1], [len(top) for top in tops])
    found = read_json(at.output / "evaluation-ood-unseen.json")
    assert found["images"] == len(tops[1])
    assert found["scores"]["max_probability"]["auroc"] == pytest.approx(
        roc_auc_score(labels, -np.concatenate(tops)), abs=1e-4
    )


def test_corruptions_are_evaluated_kind_by_kind(root):
    at = folders(root, SINGLE)
    found = read_json(at.output / "evaluation-corruptions.json")["corruptions"]
    assert list(found) == corruptions.kinds(SINGLE.card)
    assert {len(severities) for severities in found.values()} == {5}
    (network,) = networks(SINGLE, at, torch.device("cpu"))
    split = corruptions.load(SINGLE.card, "brightness", 3)
    votes = inference.predict(network, SINGLE.card, split)[:, 0].argmax(axis=-1)
    right = 100 * np.mean(votes == split.labels.numpy())
    assert found["brightness"][2]["accuracy"] == pytest.approx(right)


def test_the_table_has_a_row_for_each_question(root):
    rows = (root / "results" / "shifted" / "evaluation.csv").read_text().splitlines()
    assert sum(",clean," in row for row in rows) == 2
    assert sum(",unseen,,mutual_information," in row for row in rows) == 1
    assert sum(",corruptions,mean," in row for row in rows) == 1
    assert not any("nfe" in row for row in rows)
    collapsed = read_json(folders(root, COLLAPSED).output / "evaluation.json")
    assert collapsed == {"status": "collapsed"}


def test_what_is_there_is_not_made_again_and_a_new_run_drops_it(root, tmp_path):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    at = folders(tmp_path, SINGLE)
    before = {path: path.stat().st_mtime_ns for path in at.output.glob("evaluation*")}
    (at.output / "evaluation.json").unlink()
    robustness.evaluate(SINGLE, at, Worker(), OOD, corrupted=True)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.name for path in before if before[path] != after[path]] == ["evaluation.json"]
    (at.output / "metrics.json").unlink()
    execute(SINGLE, at, Worker())
    assert not list(at.output.glob("evaluation*"))


def test_without_predictions_the_weights_give_the_same(root, tmp_path):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    at = folders(tmp_path, ENSEMBLE)
    wanted = read_json(at.output / "evaluation.json")
    (at.artifacts / "predictions.npz").unlink()
    (at.output / "evaluation.json").unlink()
    robustness.evaluate(ENSEMBLE, at, Worker())
    found = read_json(at.output / "evaluation.json")
    assert found.pop("status") == wanted.pop("status")
    assert found == pytest.approx(wanted, rel=1e-3)


def test_an_altered_number_is_found(root, tmp_path):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    results = tmp_path / "results" / "shifted"
    assert verify(results, deep=True).problems == []
    for name, change, deep in (
        ("evaluation.json", lambda v: v.update(aurc=v["aurc"] + 1e-4), False),
        (
            "evaluation-ood-photographs.json",
            lambda v: v["scores"]["entropy"].update(auroc=0.99),
            True,
        ),
    ):
        path = folders(tmp_path, SINGLE).output / name
        before = path.read_text()
        value = json.loads(before)
        change(value)
        write_json(path, value)
        tables.write(SUITE, results)
        assert [str(path) in line for line in verify(results, deep=deep).problems] == [True]
        path.write_text(before)


def test_the_command_prints_and_refuses_in_one_line(root, capsys):
    folder = str(folders(root, SINGLE).output)
    assert main(["evaluate", "--run", folder]) == 0
    said = capsys.readouterr().out
    assert "clean: aurc" in said and "unseen entropy: auroc" in said
    assert main(["evaluate", "--run", folder, "--json"]) == 0
    assert "evaluation.json" in json.loads(capsys.readouterr().out)
    for arguments, message in (
        (["--ood", "photograph"], "unknown out-of-distribution set 'photograph': did you mean"),
        (["--ood", "svhn"], "svhn cannot be out of distribution for digits"),
    ):
        assert main(["evaluate", "--run", folder, *arguments]) == 2
        said = capsys.readouterr().err
        assert message in said.splitlines()[-1]
        assert sum("error" in line for line in said.splitlines()) == 1


def test_photographs_come_in_every_size():
    for name, resolution, shape in (("digits", 8, (1, 8, 8)), ("cifar10", 32, (3, 32, 32))):
        split = outliers.photographs(datasets.card(name, resolution))
        assert split.images.shape[1:] == shape
        assert split.images.dtype == torch.uint8
        # Every square is another part: none is there twice, and none is all of one value.
        assert len(split.images.flatten(1).unique(dim=0)) > 0.95 * len(split)
    with pytest.raises(InputError, match="all 10 classes leaves none"):
        outliers.load(datasets.card("digits"), "unseen")
