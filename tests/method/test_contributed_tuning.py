"""CONTRIBUTING.md: the two stages of tuning for the example's method, as they stand there."""

import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from own_pages import blocks, executed

from nfe.suite.expansion import read_config
from nfe.suite.tuning import space

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTION = PAGE.split("### Tune it as the others are\n")[1].split("\n### ")[0]
PROTOCOL = read_config(ROOT / "config" / "tuning-tiny-imagenet.yaml")["tuning"]


@pytest.fixture
def folder(tmp_path):
    """A folder with the section's configurations, and the example installed."""
    (tmp_path / "config").mkdir()
    for text in blocks(SECTION, "yaml"):
        (tmp_path / re.match(r"# (\S+)\n", text)[1]).write_text(text, encoding="utf-8")
    example = str(ROOT / "examples" / "multi_head")
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--target"]
    install = [sys.executable, "-m", "pip", "install", "--quiet", *options]
    subprocess.run([*install, str(tmp_path / "installed"), example], check=True)
    return tmp_path


def commands():
    """The section's commands, as lists of words, without the place of the programs."""
    text = "".join(blocks(SECTION, "sh")).replace("\\\n", " ")
    return [shlex.split(line.removeprefix(".venv/bin/")) for line in text.splitlines()]


@pytest.mark.slow
def test_both_stages_as_they_stand(folder):
    workflow = ["-s", str(ROOT / "Snakefile")]
    for program, *words in commands():
        more = workflow if program == "snakemake" else []
        said = executed([program, *more, *words], folder, PYTHONPATH=str(folder / "installed"))
    print(said)
    first, second = (
        pd.read_csv(folder / "results" / f"multi-head-{stage}" / "runs.csv")
        for stage in ("tuning", "confirm")
    )
    points = {
        method: set(zip(rows["lr"], rows["weight_decay"], strict=True))
        for method, rows in first.groupby("method")
    }
    assert len(points["single"]) == 16
    assert points["single"] == points["multi_head"]
    assert first["seed"].nunique() == 1
    assert (second.groupby("method").size() == 3 * 2).all()
    assert (2 * first["epochs"].max(), 2) == (second["epochs"].min(), second["seed"].nunique())
    chosen = yaml.safe_load((folder / "config" / "multi-head-tuned.yaml").read_text())
    for method, rows in second.groupby("method"):
        best = rows.groupby(["lr", "weight_decay"])["heldout_nll"].mean().idxmin()
        recipe = chosen[method]["recipe"]
        assert (recipe["lr"], recipe["weight_decay"]) == best
    assert chosen["multi_head"]["settings"].keys() == {"smoothing"}


def test_the_section_searches_what_the_protocol_does():
    """As many points, over the same rates and decays, at half of the epochs."""
    first, second = (yaml.safe_load(text) for text in blocks(SECTION, "yaml"))
    assert first["tuning"]["points"] == PROTOCOL["points"]
    assert first["tuning"]["recipe"] == PROTOCOL["recipe"]
    assert 2 * first["epochs"] == second["epochs"]
    assert space({**first["tuning"], "methods": {}}).offered("single")
