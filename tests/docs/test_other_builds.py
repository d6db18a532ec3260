"""The installation for other drivers: versions of the lock, words that uv takes."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

PAGE = (ROOT / "docs" / "slurm.md").read_text()


def command() -> list[str]:
    (line,) = re.findall(r"^\.venv/bin/uv pip install .*$", PAGE, re.MULTILINE)
    return shlex.split(line)


def test_the_versions_are_those_of_the_lock() -> None:
    wanted = {word for word in command() if "==" in word}
    lock = (ROOT / "requirements" / "lock.in").read_text().splitlines()
    assert wanted == {line for line in lock if line.startswith("torch")}


def test_uv_takes_its_words(tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    # Nothing is installed: there is no such Python, of which uv speaks after it has read its words.
    words = [uv, *command()[1:]]
    words[words.index("--python") + 1] = str(tmp_path / "none")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert str(tmp_path / "none") in done.stderr
    words = [word.replace("cu126", "cu1") for word in map(str, words)]
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "invalid value 'cu1'" in refused.stderr
