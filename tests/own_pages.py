"""Pages that lead from an empty folder to results: their blocks, and their commands run."""

import os
import re
import subprocess
import sys

from conftest import ROOT

# What the shell would put in its place.
_WORKFLOW = {"$(nfe-bench snakefile)": str(ROOT / "Snakefile")}
_PROGRAMS = {"nfe-bench": ["-m", "nfe"], "snakemake": ["-m", "snakemake"], "python": []}


def read(name):
    """The text of a page."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(page, language):
    """The blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)


def executed(words, folder, **environment):
    """Run a command of a page and return what it wrote."""
    done = subprocess.run(
        [sys.executable, *_PROGRAMS[words[0]], *(_WORKFLOW.get(word, word) for word in words[1:])],
        cwd=folder,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
