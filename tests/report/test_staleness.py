"""Figures that are not what the rows give are found and named."""

import re
import shutil

import pytest
from conftest import ROOT
from fabricated import fabricate

from nfe.cli.main import main
from nfe.report import tables
from nfe.report.figures.staleness import same_drawing, stale
from nfe.suite.expansion import expand

CONFIG = {
    "suite": "invented",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 5,
    "seeds": 1,
    "groups": {
        "grouping_ratio": [{"method": "nfe", "exits": 2, "ratio": ["0.3/0.7", "0.5/0.5"]}],
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    suite, results = expand(CONFIG), root / "results" / "invented"
    fabricate(suite, results)
    tables.write(suite, results)
    drawn = ["--runs", str(results / "runs.csv"), "--output", str(root / "figures" / "invented")]
    assert main(["figure", *drawn]) == 0
    return root


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def problems(root):
    return list(stale(root / "results" / "invented"))


def test_figures_of_today_are_not_stale(root):
    assert problems(root) == []


def test_a_figure_that_claims_another_number_of_seeds_is_stale(root):
    path = root / "figures" / "invented" / "grouping_ratio.svg"
    path.write_text(path.read_text().replace("<!-- 1 -->", "<!-- 2 -->"))
    assert problems(root) == [f"{path}: stale: not what the suite's rows give; draw it again"]


def test_a_mark_moved_by_a_tenth_of_a_point_is_stale_and_by_a_rounding_error_is_not(root):
    path = root / "figures" / "invented" / "grouping_ratio.svg"
    text = path.read_text()
    start = text.index('id="mark:')
    found = re.compile(r' x="([\d.]+)"').search(text, start)
    for moved, count in ((1e-4, 0), (0.1, 1)):
        x = f' x="{float(found[1]) + moved:.6f}"'
        path.write_text(text[: found.start()] + x + text[found.end() :])
        assert len(problems(root)) == count


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_an_old_copy_in_another_format_is_stale_and_a_lost_one_missing(root, kind):
    path = root / "figures" / "invented" / f"grouping_ratio.{kind}"
    path.write_bytes(path.read_bytes() + b"\n")
    assert problems(root) == [f"{path}: stale: not what the suite's rows give; draw it again"]
    path.unlink()
    assert problems(root) == [f"{path}: missing"]


def test_a_figure_that_the_suite_does_not_have_is_named(root):
    path = root / "figures" / "invented" / "pai.svg"
    path.write_text("")
    assert problems(root) == [f"{path}: not a figure that the suite's rows give"]


def test_names_made_from_coordinates_do_not_count():
    one, other = '<use xlink:href="#m0123456789" x="1"/>', '<use xlink:href="#mabcdef0123" x="1"/>'
    assert same_drawing(one, other)
    assert not same_drawing(one, other.replace("<use", "<g"))
    assert not same_drawing(one, one.replace('x="1"', 'x="1.02"'))


# Of the others the documented ``nfe-bench verify`` says so, which tests/docs runs.
VERIFIED = {"quick", "tiny-imagenet-20", "tiny-imagenet-cpu"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "suite", sorted({path.name for path in (ROOT / "figures").iterdir()} - VERIFIED)
)
def test_no_released_figure_is_stale(suite):
    assert list(stale(ROOT / "results" / suite)) == []
