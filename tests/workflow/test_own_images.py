"""docs/own-data.md: its five minutes, from an empty folder to a page of real photographs."""

import json
import shlex

import numpy as np
import pytest
from conftest import finish, start
from own_pages import blocks, executed, read

from nfe.cli.main import main

PAGE = read("own-data.md")


def commands():
    """The commands of the page, as lists of words."""
    (block,) = blocks(PAGE, "sh")
    return [shlex.split(line) for line in block.splitlines()]


@pytest.mark.slow
def test_the_five_minutes_of_the_page(tmp_path):
    own, said = {}, []
    for words in commands():
        if "RUN" in words:
            (run,) = (tmp_path / "results" / "my-birds" / "runs").glob("*_nfe_*")
            image = sorted((tmp_path / "birds" / "test" / "flower").iterdir())[0]
            own = {"RUN": str(run), "new.jpg": str(image)}
            words.append("--json")
        said.append(executed([own.get(word, word) for word in words], tmp_path))
    assert "config/data/birds.yaml: the card of birds" in said[1]
    assert said[-2].strip().endswith("verified")
    predicted = json.loads(said[-1].splitlines()[-1])
    # What is said of the first test image of the second class is what the run stored of it.
    assert {c["class"] for c in predicted["classes"]} == {"china", "flower"}
    probability = {c["class"]: c["probability"] for c in predicted["classes"]}
    with np.load(tmp_path / "artifacts" / "my-birds" / run.name / "predictions.npz") as stored:
        number = int((stored["test_labels"] == 1).argmax())
        logits = stored["test_logits"][number].astype(np.float64).mean(axis=0)
    likely = np.exp(logits) / np.exp(logits).sum()
    assert [probability["china"], probability["flower"]] == pytest.approx(likely, abs=5e-3)
    page = (tmp_path / "results" / "my-birds" / "index.html").read_text(encoding="utf-8")
    assert "birds" in page
    assert (tmp_path / "figures" / "my-birds" / "accuracy_vs_flops.svg").stat().st_size


def test_a_run_by_hand_on_images_of_ones_own(tmp_path):
    finish(start("new", "dataset", "birds", cwd=tmp_path))
    finish(
        start("data", "prepare", "birds", "--source", "birds", "--resolution", "16", cwd=tmp_path)
    )
    more = ["--dataset", "birds", "--architecture", "wrn-10-1", "--method", "nfe", "--epochs", "1"]
    finish(start("train", *more, "--set", "exits=2", "--output", "runs/nfe", cwd=tmp_path))
    image = next((tmp_path / "birds" / "test" / "china").iterdir())
    said = finish(start("predict", "--run", "runs/nfe", str(image), cwd=tmp_path))
    assert "china" in said and "flower" in said
    # Without its card nothing can be said of the run.
    (tmp_path / "config" / "data" / "birds.yaml").unlink()
    said = finish(start("predict", "--run", "runs/nfe", str(image), cwd=tmp_path), expected=2)
    assert "unknown data set 'birds'" in said and said.count("\n") == 1


def test_a_new_start_is_never_written_over(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "slurm", "mine"]) == 2
    assert "config/mine.yaml: no such file" in capsys.readouterr().err
    assert main(["new", "suite", "mine"]) == 0
    assert main(["new", "slurm", "mine"]) == 0
    assert main(["plan", "--config", "config/mine.yaml"]) == 0
    capsys.readouterr()
    for words, message in [
        (["suite", "mine"], "config/mine.yaml: exists: allowed: a name that is free"),
        (["slurm", "mine"], "slurm: exists: allowed: a name that is free"),
        (["suite", "my suite"], "suite name 'my suite': allowed"),
        (["suite", "other", "--dataset", "digit"], "did you mean 'digits'?"),
        (["dataset", "Config"], "allowed: small letters"),
        (["dataset", "config"], "config: exists"),
    ]:
        assert main(["new", *words]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    assert not (tmp_path / "config" / "other.yaml").exists()
