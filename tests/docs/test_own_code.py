"""docs/own-code.md: its blocks run as they stand, one after the other."""

import re

import numpy as np
import pytest
import torch
from conftest import ROOT

from nfe import data as datasets
from nfe import load_run
from nfe.cli.main import main
from nfe.common.errors import InputError

PAGE = (ROOT / "docs" / "own-code.md").read_text(encoding="utf-8")
TRAIN = ["train", "--dataset", "digits", "--architecture", "wrn-10-1", "--epochs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with finished runs."""
    at = tmp_path_factory.mktemp("own-code")
    nfe = ["--method", "nfe", "--set", "exits=2", "sparsity=0.5", "pruning=snip"]
    assert main([*TRAIN, *nfe, "--output", str(at / "runs" / "nfe")]) == 0
    several = ["--method", "deep_ensemble", "--set", "members=2"]
    assert main([*TRAIN, *several, "--output", str(at / "runs" / "several")]) == 0
    return at


def test_the_page_runs_from_top_to_bottom(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    code = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    assert len(code) >= 6
    names: dict[str, object] = {}
    for block in code:
        exec(compile(block, "own-code.md", "exec"), names)
    assert (folder / "net.onnx").stat().st_size
    assert capsys.readouterr().out.splitlines()[-1] in names["trained"].classes
    assert names["smooth"].shape == (8, 4)


@pytest.mark.parametrize("name", ["nfe", "several"])
def test_a_loaded_run_answers_what_it_stored(name, folder):
    trained = load_run(folder / "runs" / name)
    images = datasets.load(datasets.card("digits")).test.images[:50]
    with np.load(folder / "runs" / name / "predictions.npz") as stored:
        logits = torch.from_numpy(stored["test_logits"][:50]).float()
    with torch.no_grad():
        assert torch.allclose(trained(images), logits, atol=1e-2, rtol=1e-2)
        likely = trained.probabilities(images)
    wanted = logits.mean(1).softmax(-1) if name == "nfe" else logits.softmax(-1).mean(1)
    assert torch.allclose(likely, wanted, atol=5e-3)
    assert trained.classes == tuple("0123456789")
    assert not trained.training


def test_a_run_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        load_run("nothing", root=tmp_path)
