"""Versions of result tables that documents name are the latest; published pages lead somewhere."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from conftest import ROOT

from nfe.report.page import overview
from nfe.report.release import manifest

RELEASED = {
    path.parent.name: manifest.releases(path.parent)[-1]
    for path in sorted((ROOT / "results").glob("*/releases"))
}


def test_citation_and_readme_name_the_latest_versions():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    cited = {
        entry["title"].rpartition(" ")[2]: entry["version"]
        for entry in citation["references"]
        if entry["type"] == "dataset"
    }
    assert cited == RELEASED
    papers = [entry["title"] for entry in citation["references"] if entry["type"] == "article"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    bibtex = readme.partition("```bibtex")[2].partition("```")[0]
    for title in (*papers, citation["title"]):
        assert title in bibtex
    named = re.findall(r"suite ([\w-]+), version ([\d.]+)", bibtex)
    assert named
    assert all(RELEASED[suite] == version for suite, version in named)
    told = re.findall(r"“([\w-]+) (\d+\.\d+\.\d+)”", readme)
    assert told
    assert all(RELEASED[suite] == version for suite, version in told)


def test_the_page_over_all_suites_is_what_the_releases_say(tmp_path):
    results = tmp_path / "results"
    for suite in RELEASED:
        shutil.copytree(ROOT / "results" / suite / "releases", results / suite / "releases")
        for name in ("runs.csv", "summary.csv", "comparisons.csv", "summary.md"):
            if (ROOT / "results" / suite / name).exists():
                shutil.copy(ROOT / "results" / suite / name, results / suite)
    written = overview.write(tmp_path).read_text(encoding="utf-8")
    assert written == (ROOT / "results" / manifest.PAGE).read_text(encoding="utf-8")
    assert all(f"version {version} of" in written for version in RELEASED.values())
    # The example of how to quote, too.
    (example,) = re.findall(r"“([\w-]+) (\d+\.\d+\.\d+)”", written)
    assert RELEASED[example[0]] == example[1]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def links(page: Path) -> list[Path]:
    """Where the relative links of a page lead."""
    parser = _Links()
    parser.feed(page.read_text(encoding="utf-8"))
    inside = [link for link in parser.found if not re.match(r"[a-z]+:|#|$", link)]
    return [page.parent / unquote(re.split("[#?]", link)[0]) for link in inside]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "--quiet", "-c", "docs", ".", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True)
    return folder


@pytest.mark.slow
def test_links_of_the_site_and_of_the_suites_pages_lead_somewhere(site):
    pages = [*site.glob("docs/**/*.html"), site / "README.html", site / "results" / "index.html"]
    assert len(pages) > 10
    lost = [link for page in pages for link in links(page) if not link.resolve().exists()]
    assert lost == []
    reached = {link.resolve() for page in pages for link in links(page)}
    assert {site / "results" / suite / "index.html" for suite in RELEASED} <= reached
    assert not list(site.glob("_downloads/*/index.html"))
    for suite in RELEASED:
        text = (site / "results" / suite / "index.html").read_text(encoding="utf-8")
        # What the page's script makes links of.
        for name in ("plan", "configuration", "citation"):
            address = re.search(rf'"{name}": ?"([^"]+)"', text)[1]
            assert (site / "results" / suite / unquote(address)).resolve().exists(), address
        figures = re.findall(r'"(\.\./\.\./figures/[^"]+\.(?:png|pdf|svg))"', text)
        assert figures
        assert all((site / "results" / suite / f).resolve().exists() for f in figures)
