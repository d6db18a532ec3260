"""Which code a run was made with."""

import subprocess

import pytest
from conftest import ROOT

from nfe.engine.environment import code_version


def test_a_checkout_knows_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NFE_BENCH_COMMIT", raising=False)
    said = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    found = code_version()
    assert found["commit"] == said.stdout.strip()
    assert found["modified"] in (True, False)


def test_what_a_copy_is_told_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where git is there: a copy's may know of another commit than its files'."""
    monkeypatch.setenv("NFE_BENCH_COMMIT", "0123abc")
    assert code_version()["commit"] == "0123abc"
    assert code_version()["modified"] is None
