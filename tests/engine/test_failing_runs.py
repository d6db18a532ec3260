"""A run that fails says why and leaves the others be; unsound data fails before the first step."""

import json

import pytest
import torch

from nfe import data as datasets
from nfe.cli.main import main
from nfe.cli.status import FAILED
from nfe.common.errors import DivergenceError, InputError
from nfe.common.files import write_json
from nfe.data import Data, Split
from nfe.engine.trainer import Trainer
from nfe.suite.expansion import expand
from nfe.suite.outputs import RESULT_FILES
from nfe.suite.run import specify

CONFIG = {
    "suite": "failing",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 3,
    "groups": {"headline": [{"method": "single"}]},
}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("width"), "KeyError: 'width'"),
        (torch.OutOfMemoryError("CUDA out of memory.\nMore."), "OutOfMemoryError: CUDA out of"),
        (DivergenceError("the loss is nan"), "the loss is nan"),
        (InputError("no data"), "no data"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_error_of_one_run_is_its_own(tmp_path, monkeypatch, error, reason):
    suite = expand(CONFIG)
    names = [planned.run.name for planned in suite.runs]
    write_json(tmp_path / "plan.json", suite.record())
    train = Trainer.train

    def failing(self):
        if self.run.seed == 0:
            raise error
        return train(self)

    monkeypatch.setattr(Trainer, "train", failing)
    command = ["run", "--plan", str(tmp_path / "plan.json"), "--root", str(tmp_path)]
    assert main([*command, "--run", *names]) == FAILED
    folders = [tmp_path / "results" / "failing" / "runs" / name for name in names]
    failure = json.loads((folders[0] / "failure.json").read_text())
    assert failure["status"] == "failed"
    assert failure["reason"].startswith(reason)
    assert "\n" not in failure["reason"]
    assert not (folders[0] / "metrics.json").exists()
    for folder in folders[1:]:
        assert all((folder / name).exists() for name in RESULT_FILES)
        assert not (folder / "failure.json").exists()
    monkeypatch.setattr(Trainer, "train", train)
    assert main([*command, "--run", *names]) == 0
    assert not (folders[0] / "failure.json").exists()


def test_another_run_s_folder_is_left_as_it_is(tmp_path):
    suite = expand({**CONFIG, "seeds": 1})
    write_json(tmp_path / "plan.json", suite.record())
    folder = tmp_path / "results" / "failing" / "runs" / suite.runs[0].run.name
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"engine": 0})
    command = ["run", "--plan", str(tmp_path / "plan.json"), "--root", str(tmp_path)]
    assert main([*command, "--run", suite.runs[0].run.name]) == FAILED
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def digits() -> Data:
    return datasets.load(datasets.card("digits"))


def changed(name: str, split: Split) -> Data:
    data = digits()
    splits = {n: getattr(data, n) for n in ("train", "heldout", "test")}
    return Data(data.card, **{**splits, name: split})


def with_label(split: Split, label: int) -> Split:
    labels = split.labels.clone()
    labels[3] = label
    return Split(split.images, labels)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train", lambda s: with_label(s, 10), "label 10 of a training image: allowed: 0 to 9"),
        ("heldout", lambda s: with_label(s, -1), "label -1 of a held-out image: allowed: 0 to 9"),
        ("test", lambda s: with_label(s, 11), "label 11 of a test image"),
        ("heldout", lambda s: Split(s.images[:0], s.labels[:0]), "has no held-out images"),
        ("test", lambda s: Split(s.images[:0], s.labels[:0]), "has no test images"),
        ("train", lambda s: Split(s.images, s.labels.float()), "labels are torch.float32"),
        ("test", lambda s: Split(s.images[:9], s.labels), r"the test images are \(9, 1, 8, 8\)"),
        ("test", lambda s: Split(s.images[..., 1:], s.labels), r"\(1200, 1, 8, 7\): allowed"),
    ],
)
def test_unsound_data_is_refused_before_the_first_step(name, change, message):
    run = specify(dataset="digits", architecture_name="wrn-10-1", method="single", epochs=1)
    data = changed(name, change(getattr(digits(), name)))
    with pytest.raises(InputError, match=message):
        Trainer(run, data)


def test_sound_data_is_taken():
    run = specify(dataset="digits", architecture_name="wrn-10-1", method="single", epochs=1)
    assert Trainer(run, digits()).data.card == run.card


def test_a_job_that_combines_trains_nothing_in_a_lost_run_s_place(tmp_path):
    ensemble = {"method": "deep_ensemble", "members": 2, "seeds": 1}
    suite = expand({**CONFIG, "groups": {"headline": [ensemble]}})
    write_json(tmp_path / "plan.json", suite.record())
    command = ["run", "--plan", str(tmp_path / "plan.json"), "--root", str(tmp_path)]
    combined, (first, second) = suite.combined()[0], suite.chunks()
    members = [run.name for chunk in (first, second) for run in chunk]
    results = tmp_path / "results" / "failing" / "runs"
    assert main([*command, "--run", *members]) == 0
    lost = tmp_path / "artifacts" / "failing" / members[1] / "predictions.npz"
    kept = lost.read_bytes()
    lost.unlink()
    before = (results / members[1] / "timing.json").read_text()
    assert main([*command, "--trained", "--run", combined.name]) == FAILED
    reason = json.loads((results / combined.name / "failure.json").read_text())["reason"]
    assert f"{members[1]} has no predictions in" in reason
    assert (results / members[1] / "timing.json").read_text() == before
    lost.write_bytes(kept)
    assert main([*command, "--trained", "--run", combined.name]) == 0
    assert (results / combined.name / "metrics.json").exists()
