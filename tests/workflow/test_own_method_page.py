"""docs/own-method.md: its commands, from an empty folder to a page with a method of one's own."""

import re
import shlex

import pandas as pd
import pytest
from own_pages import blocks, executed, read

from nfe.cli.main import main

PAGE = read("own-method.md")


def in_folder(words, folder):
    """Run a command of the page; what it installs goes to a folder."""
    installed = str(folder / "installed")
    pip = ["--no-index", "--target", installed] if "pip" in words else []
    return executed([*words, *pip], folder, PYTHONPATH=installed)


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path):
    (tmp_path / "config").mkdir()
    for text in blocks(PAGE, "yaml"):
        (tmp_path / re.match(r"# (\S+)\n", text)[1]).write_text(text)
    lines = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]
    said = [in_folder(shlex.split(line), tmp_path) for line in lines]
    assert "| `my_heads` | works | works |" in said[2]
    tuned = (tmp_path / "config" / "my-heads-tuned.yaml").read_text()
    assert "my_heads" in tuned
    rows = pd.read_csv(tmp_path / "results" / "my-heads" / "summary.csv")
    assert (rows["method"] == "my_heads").sum() == 2
    assert said[-2].strip().endswith("verified")
    assert (tmp_path / "results" / "my-heads" / "index.html").exists()


def test_a_start_is_a_method_that_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "method", "two_words"]) == 0
    code = (tmp_path / "two_words" / "two_words.py").read_text()
    assert "class TwoWords(Method):" in code
    project = (tmp_path / "two_words" / "pyproject.toml").read_text()
    assert 'two_words = "two_words:TwoWords"' in project
    assert 'name = "two-words"' in project
    for name, said in (
        ("two_words", "exists"),
        ("nfe", "allowed: small letters"),
        ("class", "no word of Python's"),
        ("Two-Words", "allowed: small letters"),
    ):
        assert main(["new", "method", name]) == 2
        assert said in capsys.readouterr().err
