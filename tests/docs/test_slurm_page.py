"""The page on clusters: its table names tests that exist, its example is a site's file."""

import dataclasses
import re
from pathlib import Path

from conftest import ROOT

from nfe.cluster import packing, site
from nfe.suite.expansion import expand, read_config

PAGE = (ROOT / "docs" / "slurm.md").read_text(encoding="utf-8")
TABLE = PAGE.split("## What is tested, and where")[1].split("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if line.startswith("|")
][2:]


def test_every_row_names_its_tests_or_says_that_there_is_none() -> None:
    assert len(ROWS) > 30
    for feature, _, tested, by in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", by)
        assert bool(named) != (tested == "no"), feature
        assert len(named) == by.count("::"), feature
        for path, name in named:
            text = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{path}: {name}"


def test_every_test_on_a_cluster_has_a_row() -> None:
    named = {by for row in ROWS for by in re.findall(r"tests/slurm/\w+\.py::test_\w+", row[3])}
    assert named == {
        f"tests/slurm/{path.name}::{name}"
        for path in (ROOT / "tests" / "slurm").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    on_a_cluster = {row[3].strip("`") for row in ROWS if row[2].startswith("on a real cluster")}
    assert on_a_cluster == named


def test_every_setting_of_a_site_is_on_the_page() -> None:
    shipped = (ROOT / "slurm" / "site.yaml").read_text(encoding="utf-8")
    for field in dataclasses.fields(site.Site):
        assert f"`{field.name}`" in TABLE, field.name
        assert re.search(rf"^{field.name}:", shipped, re.MULTILINE), field.name


def test_the_example_makes_as_many_jobs_of_the_paper_suite_as_it_says(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(# slurm/site.yaml .*?)^```$", PAGE, re.M | re.S)
    (tmp_path / "site.yaml").write_text(example, encoding="utf-8")
    chosen = site.load(tmp_path / "site.yaml", {})
    suite = expand(read_config(ROOT / "config" / "paper.yaml"))
    alone = dataclasses.replace(chosen, gpus_per_job=1)
    counts = [len(packing.training(suite, each, 1)) for each in (site.Site(), chosen, alone)]
    before, after, alone_too = (f"{count:,}" for count in counts)
    text = " ".join(PAGE.split())
    assert f"the paper suite's {before} training jobs" in text
    assert f"become {after} of some eight hours ({alone_too} with `target_minutes` alone)" in text
