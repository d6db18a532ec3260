"""docs/own-code.md: its blocks run as they stand, one after the other."""

import re

import numpy as np
import pytest
import torch
from conftest import ROOT
from torchvision.models import resnet18

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


def count_nonzero(net):
    """The non-zero numbers among a network's parameters."""
    return sum(int(p.count_nonzero()) for p in net.parameters())


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
    # The last logits on the page are those of mixed precision.
    assert names["logits"].dtype is torch.bfloat16
    checkpoint = torch.load(folder / "lightning" / "last.ckpt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (1, 4)
    averaged, fast = checkpoint["state_dict"], checkpoint["current_model_state"]
    for name, value in names["loaded"].state_dict().items():
        assert torch.equal(value, averaged[f"net.{name}"]), name
    assert any(not torch.equal(value, fast[name]) for name, value in averaged.items())
    # What was pruned stays so, through every loop and every file.
    kept = [count_nonzero(names[name]) for name in ("net", "loaded")]
    assert kept[0] == kept[1] < 0.55 * count_nonzero(resnet18(num_classes=4))


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
