"""docs/challenge.md: its commands in a clone, from a released row to a comparison with it."""

import json
import re
import shutil

import pandas as pd
import pytest
import yaml
from own_pages import blocks, read
from released import ROOT, Clone

from nfe.suite.expansion import expand, read_config

PAGE = read("challenge.md")
ROW = "digits8_wrn-10-1_nfe_exits=2_e20_s0_f2ba9fed13"
COPIED = "digits8_wrn-10-1_single_e20_s0_2185b70da5"


def lines():
    """The commands of the page, in order."""
    return [line for block in blocks(PAGE, "sh") for line in block.splitlines()]


@pytest.fixture
def clone(tmp_path):
    """A clone with the configurations of the page."""
    made = Clone(ROOT).clone(tmp_path / "nfe-bench")
    for text in blocks(PAGE, "yaml"):
        (made.folder / re.match(r"# (\S+)\n", text)[1]).write_text(text, encoding="utf-8")
    return made


def typed(line, clone):
    """Run a command as a reader types it in the clone, however long it takes; what it says."""
    process = clone.start("bash", "-o", "pipefail", "-c", line)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def kind(folder):
    """What decides whether a run's bytes must be those of another one."""
    told = json.loads((folder / "timing.json").read_text(encoding="utf-8"))["environment"]
    return [told[key] for key in ("libraries", "device_name", "cpu_capability")]


def numbers(folder):
    """A run's metrics."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_commands_of_the_page(clone):
    released, suite = clone.results / "runs", clone.folder / "results" / "challenge"
    # As the page says of runs that are dear.
    shutil.copytree(released / COPIED, suite / "runs" / COPIED)
    said = {line: typed(line, clone) for line in lines()}
    print(*said.values(), sep="\n")
    again, other = (clone.folder / at / "results/quick/runs" / ROW for at in ("again", "other"))
    assert abs(numbers(other)["accuracy"] - numbers(released / ROW)["accuracy"]) < 2
    assert kind(other)[-1] == "AVX2"
    (diff,) = (text for line, text in said.items() if line.startswith("nfe-bench diff"))
    if kind(again) == kind(released / ROW):
        assert diff == "1 of 1 shared rows are equal in every column but timing\n"
        assert numbers(again) == numbers(released / ROW)
    else:
        assert "of 1 shared rows" in diff
        assert abs(numbers(again)["accuracy"] - numbers(released / ROW)["accuracy"]) < 2
    rows = pd.read_csv(suite / "runs.csv").set_index("run")
    assert len(rows) == 4 * 5
    assert {ROW, COPIED} <= set(rows.index)
    stamps = [(at / COPIED / "timing.json").read_text() for at in (released, suite / "runs")]
    assert stamps[0] == stamps[1]
    chosen = yaml.safe_load((clone.folder / "config" / "challenge-tuned.yaml").read_text())
    assert chosen.keys() == {"single", "nfe"}
    assert "verified" in said["nfe-bench verify results/challenge"].splitlines()[-1]
    assert "confirmatory (4)" in said["nfe-bench compare results/challenge nfe"]
    # Nothing that was released has changed.
    assert clone("git", "status", "--porcelain", "results/quick", "figures/quick", "nfe") == ""


def test_what_the_page_calls_released_is():
    """Its configuration's first settings are rows of quick, by name; the row's hash is its own."""
    text = next(text for text in blocks(PAGE, "yaml") if "suite: challenge\n" in text)
    config = {k: v for k, v in yaml.safe_load(text).items() if k not in ("tuned", "confirmatory")}
    config["groups"]["headline"] = config["groups"]["headline"][:2]
    mine = {planned.run.name for planned in expand(config).runs}
    quick = {planned.run.name for planned in expand(read_config(ROOT / "config/quick.yaml")).runs}
    shared = {name for name in mine & quick if "_s0_" in name or "_s1_" in name}
    assert len(shared) == 4
    assert ROW in shared


def test_the_spread_between_seeds_is_the_tables():
    rows = pd.read_csv(ROOT / "results" / "quick" / "runs.csv")
    found = rows[rows["method"] == "single"]["accuracy"]
    assert len(found) == 6
    assert f"from {found.min():.2f} to {found.max():.2f} %" in PAGE
