"""Suites are planned, Snakemake's graph is made, and results are shown, without PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nfe.cluster import costs, counting
from nfe.method import method_names, settings_class
from nfe.suite.expansion import expand, read_config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))

SNAKEMAKE = """
import runpy, sys
sys.argv = ["snakemake", "--configfile", "config/paper.yaml", "-n", "-q"]
try:
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules
"""
PLAN = """
import sys
from nfe.cli.main import main
assert main(["plan", "--config", "config/paper.yaml"]) == 0
assert "torch" not in sys.modules
"""
SETTINGS = """
import sys
from nfe.method import method_names, settings_class
for name in method_names():
    settings_class(name)().settings()
assert "torch" not in sys.modules
"""
RESULTS = """
import sys
from nfe.report import page, release, tables
from nfe.report.figures import draw
assert "torch" not in sys.modules
"""
SCRIPTS = {"graph": SNAKEMAKE, "plan": PLAN, "settings": SETTINGS, "results": RESULTS}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_it_is_done_without_pytorch(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_the_table_has_what_every_suite_takes(config: Path) -> None:
    suite = expand(read_config(config))
    trained = [run for chunk in suite.chunks() for run in chunk]
    runs = [r for run in trained for r in (run, costs.plain(run))]
    lacking = {run.name for run in runs if costs.key(run) not in costs.table()}
    assert not lacking, "python -m nfe.cluster.counting config/*.yaml"


def test_a_few_rows_are_what_is_counted_now() -> None:
    suite = expand(read_config(ROOT / "config" / "quick.yaml"))
    runs = {run.method: run for chunk in suite.chunks() for run in chunk}
    assert len(runs) > 10
    for run in runs.values():
        assert counting.count(run) == costs.table()[costs.key(run)], run.name


def test_what_costs_nothing_is_a_setting() -> None:
    for name in method_names():
        own = json.loads(json.dumps(settings_class(name)().settings()))
        assert settings_class(name).costless <= own.keys(), name
