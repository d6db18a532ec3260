"""The workflow, with real Snakemake on a small suite."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from nfe.report.catalogue import available
from nfe.report.page.staleness import stale

ROOT = Path(__file__).resolve().parents[2]

CONFIG = {
    "suite": "tiny",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 1,
    "runs_per_process": 3,
    "data_root": "a folder/with spaces; and a semicolon",
    "groups": {
        "headline": [
            {"method": "single"},
            {"method": "deep_ensemble", "members": 2},
            {"method": "nfe", "exits": 2},
        ],
        "pai": [{"method": "nfe", "exits": 2, "pruning": ["random", "snip"], "sparsity": 0.5}],
        "grouping_ratio": [{"method": "nfe", "exits": 2, "ratio": ["0.3/0.7", "0.5/0.5"]}],
    },
}


# For tests that look at runs and tables: figures and page take most of a small suite's time.
WITHOUT_FIGURES = ("--omit-from", "figures")


class Checkout:
    """A copy of the workflow in which a suite is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Snakefile", "workflow", "profiles", "config"):
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / name)
        self.configure(CONFIG)

    def configure(self, config: dict) -> None:
        (self.folder / "suite.yaml").write_text(yaml.safe_dump(config))

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        done = subprocess.run(
            [*command, "--configfile", "suite.yaml"],
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def planned(self) -> set[str]:
        """Return the rules that a dry run would execute."""
        said = self.snakemake("-n")
        rules = [
            line.split()[1].rstrip(":") for line in said.splitlines() if line.startswith("rule ")
        ]
        return set(rules) - {"all"}

    def made(self) -> dict[str, str]:
        """Return what each finished run says of its making (when, how long)."""
        runs = self.folder / "results" / "tiny" / "runs"
        return {
            p.parent.name: (p.parent / "timing.json").read_text()
            for p in runs.glob("*/metrics.json")
        }


def wait_until(happens: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("workflow"))
    checkout.snakemake()
    return checkout


def test_everything_is_made_once(made):
    results, figures = made.folder / "results" / "tiny", made.folder / "figures" / "tiny"
    for name in ("runs.csv", "summary.csv", "summary.md", "summary.tex"):
        assert (results / name).stat().st_size > 0
    drawn = {p.name for p in figures.iterdir()}
    names = available(set(CONFIG["groups"]))
    assert {"accuracy_vs_flops", "pai", "grouping_ratio"} < set(names)
    assert drawn == {f"{n}.{kind}" for n in names for kind in ("png", "svg", "pdf")}
    assert "Results of suite tiny" in (results / "index.html").read_text()
    assert "Nothing to be done" in made.snakemake("-n")


@pytest.mark.parametrize(
    ("lost", "made_again"),
    [
        ("figures/tiny/pai.svg", {"figures"}),
        ("results/tiny/runs.csv", {"tables", "figures"}),
    ],
)
def test_what_is_deleted_is_planned_with_what_is_made_from_it_alone(made, lost, made_again):
    file = made.folder / lost
    content = file.read_bytes()
    file.unlink()
    assert made.planned() == made_again
    file.write_bytes(content)


def test_a_deleted_run_is_made_again_alone_and_equal_and_the_page_holds_figures_of_it(made):
    results, figure = made.folder / "results" / "tiny", made.folder / "figures" / "tiny" / "pai.svg"
    before, drawn = made.made(), figure.read_text()
    table = (results / "runs.csv").read_text()
    lost = next(name for name in before if "random" in name)
    figure.write_text(drawn + "<!-- of earlier rows -->")
    (results / "runs" / lost / "metrics.json").unlink()
    made.snakemake()
    after = made.made()
    assert {name for name in before if after[name] != before[name]} == {lost}
    assert _without_timing(table) == _without_timing((results / "runs.csv").read_text())
    assert figure.read_text() == drawn
    assert "of earlier rows" not in (results / "index.html").read_text()
    assert list(stale(results)) == []


def test_whatever_is_missing_is_planned_wherever_it_stands_among_the_files_of_a_job(made):
    results = made.folder / "results" / "tiny"
    files = sorted(results.glob("runs/*/metrics.json"))
    # Of the latencies, that of one job, one in the midst and the last; the first is asked for.
    timed = sorted(results.glob("latency/*.json"))
    files += [files[-1].with_name("history.csv"), timed[len(timed) // 2], timed[-1]]
    assert len(files) > 6
    for file in files:
        content = file.read_bytes()
        file.unlink()
        planned = made.planned()
        file.write_bytes(content)
        beginnings = {name.partition("_")[0] for name in planned}
        makers = {"latency"} if file in timed else {"train", "combine"}
        assert beginnings & makers, file
    assert made.planned() == set()


def _without_timing(table: str) -> list[list[str]]:
    import csv

    from nfe.report.schema import TIMING

    rows = list(csv.DictReader(table.splitlines()))
    return [[v for k, v in row.items() if k not in TIMING] for row in rows]


def test_a_site_may_let_a_gpu_train_several_runs_at_once(made, monkeypatch):
    monkeypatch.setenv("NFE_SLURM_WORKERS_PER_GPU", "2")
    target = next((made.folder / "results" / "tiny" / "runs").glob("*single*/metrics.json"))
    show = ("-n", "--printshellcmds", "--force", str(target.relative_to(made.folder)))
    made.configure({**CONFIG, "gpus": 1})
    said = made.snakemake(*show)
    assert re.search(r"run --plan .* --workers 2 --run ", said)
    assert re.search(r"threads: 2\n", said)
    made.configure(CONFIG)
    assert "--workers" not in made.snakemake(*show)


def test_evaluations_are_made_on_request_and_once(made):
    asked = {"ood": ["photographs"]}
    target = "results/tiny/evaluation.csv"
    before = made.made()
    made.configure({**CONFIG, "evaluate": {**asked, "groups": ["pai"]}})
    made.snakemake(target)
    rows = (made.folder / target).read_text().splitlines()[1:]
    assert {row.count("pruning") for row in rows} == {1}
    made.configure({**CONFIG, "evaluate": {**asked, "groups": ["headlin"]}})
    assert "did you mean 'headline'?" in made.snakemake("-n", check=False)
    made.configure({**CONFIG, "runs_per_process": 9, "evaluate": asked})
    # More is asked than is there: what is missing is made, and the table again.
    made.snakemake(*WITHOUT_FIGURES)
    rows = (made.folder / target).read_text().splitlines()
    assert sum(",photographs,,entropy," in row for row in rows) == len(before) - 1
    assert made.made() == before
    assert "Nothing to be done" in made.snakemake("-n", target)
    made.configure({**CONFIG, "evaluate": {"ood": ["photograph"]}})
    said = made.snakemake("-n", check=False)
    assert "did you mean 'photographs'?" in said
    assert "Traceback" not in said
    made.configure(CONFIG)


def test_tables_come_after_jobs_that_have_outlived_a_killed_snakemake(tmp_path):
    # It has noted their files as unfinished, and nobody has noted that they are finished.
    checkout = Checkout(tmp_path)
    headline = [{"method": "single"}, {"method": "nfe", "exits": 2}]
    checkout.configure({**CONFIG, "groups": {"headline": headline}, "latency": []})
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "suite.yaml"]
    with subprocess.Popen(command, cwd=checkout.folder, stderr=subprocess.DEVNULL) as snakemake:
        log = "logs/tiny/train_*.log"
        wait_until(lambda: any(checkout.folder.glob(log)))
        snakemake.kill()
    wait_until(lambda: len(checkout.made()) == 2)
    assert not (checkout.folder / "results" / "tiny" / "runs.csv").exists()
    made = checkout.made()
    checkout.snakemake("--nolock")
    assert "Results of suite tiny" in (checkout.folder / "results/tiny/index.html").read_text()
    assert checkout.made() == made


def test_modification_times_do_not_matter(made):
    made.snakemake()
    draws = random.Random(0)
    for path in (p for f in ("results", "figures") for p in made.folder.glob(f"{f}/**/*.*")):
        moment = 1.6e9 + 1e6 * draws.random()
        os.utime(path, (moment, moment))
    shutil.rmtree(made.folder / ".snakemake")
    assert "Nothing to be done" in made.snakemake("-n")


def test_a_changed_setting_runs_exactly_what_it_changes(made):
    before = made.made()
    groups = {
        **CONFIG["groups"],
        "grouping_ratio": [{"method": "nfe", "exits": 2, "ratio": ["0.4/0.6", "0.5/0.5"]}],
    }
    made.configure({**CONFIG, "groups": groups})
    made.snakemake(*WITHOUT_FIGURES)
    after = made.made()
    assert [n for n in before if after[n] != before[n]] == []
    assert ["ratio=0.4-0.6" in n for n in set(after) - set(before)] == [True]
    runs = (made.folder / "results" / "tiny" / "runs.csv").read_text()
    assert "0.4/0.6" in runs
    assert "0.3/0.7" not in runs
    made.configure(CONFIG)
    made.snakemake(*WITHOUT_FIGURES)
    assert made.made() == after


def test_nothing_of_the_default_suite_leaks_into_another(made):
    assert "quick" not in made.snakemake("-n", "--forceall")


def test_a_report_is_one_page(made):
    made.snakemake("--report", "report.html")
    page = (made.folder / "report.html").read_text()
    assert "accuracy_vs_flops" in page
    assert "index.html" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": {"headline": [{"method": "sngle"}]}}, "unknown method 'sngle'"),
        ({"groups": {}}, "groups: {} should be non-empty"),
        ({"epochs": "many"}, "epochs: 'many' is not of type 'integer'"),
    ],
)
def test_a_bad_suite_is_refused_with_a_clear_line(made, change, message):
    made.configure({**CONFIG, **change})
    said = made.snakemake("-n", check=False)
    made.configure(CONFIG)
    assert message in said
    assert "Traceback" not in said
