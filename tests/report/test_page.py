"""What the results page is made from; how it looks and acts is tested in tests/browser."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from nfe.common.errors import InputError
from nfe.report.page import content, render, write
from nfe.report.page.staleness import stale
from nfe.report.release import manifest


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A copy of the smallest suite: one without figures of groups it does not have."""
    for kind in ("results", "figures"):
        shutil.copytree(ROOT / kind / "digits-wrn-10-2", tmp_path / kind / "digits-wrn-10-2")
    return tmp_path / "results" / "digits-wrn-10-2"


def test_the_same_files_give_the_same_page_and_what_is_added_is_shown(results: Path) -> None:
    page = write(results)
    first = page.read_bytes()
    # Figures that are not there are drawn for the page, the same ones.
    shutil.rmtree(results.parents[1] / "figures")
    assert write(results).read_bytes() == first
    shutil.copytree(ROOT / "figures" / results.name, manifest.figure_folder(results))
    (results / "further.csv").write_text("method,difference\nnfe,<b>1</b>\n")
    added = write(results).read_text()
    assert "further.csv" in added and "further.csv" not in first.decode()
    assert "<b>1" not in added


@pytest.mark.parametrize("suite", sorted(p.parent.name for p in ROOT.glob("results/*/index.html")))
def test_no_page_of_the_repository_is_stale(suite: str) -> None:
    assert list(stale(ROOT / "results" / suite)) == []


def test_a_missing_or_damaged_file_is_named(results: Path) -> None:
    runs = sorted(
        path for path in (results / "runs").iterdir() if (path / "per_image.npz").exists()
    )
    images = runs[0] / "per_image.npz"
    images.write_bytes(images.read_bytes()[:200])
    with pytest.raises(InputError, match=r"per_image\.npz: damaged"):
        content.collect(results)
    (results / "curves.csv").unlink()
    with pytest.raises(InputError, match=r"curves\.csv: no such file"):
        content.collect(results)
    (next(results.glob("plan-*.json"))).unlink()
    with pytest.raises(InputError, match=r"one plan-….json is needed for a page; found: none"):
        content.collect(results)
    assert not list(results.glob(".index.html*"))


@pytest.mark.parametrize("epochs", [1, 2, 60, 61, 200])
def test_a_long_curve_is_thinned_from_its_first_to_its_last_epoch(epochs: int) -> None:
    header = ["setting", "epoch", "loss"]
    rows = [{"setting": "a", "epoch": str(e), "loss": f"{1 / e}"} for e in range(1, epochs + 1)]
    curve = [point[0] for point in content._curves(header, rows)["a"]]
    assert (curve[0], curve[-1]) == (1, epochs)
    assert len(curve) == min(epochs, 60) == len(set(curve))
    assert curve == sorted(curve)


def test_nothing_in_a_value_ends_its_place_in_the_page(results: Path) -> None:
    data = content.collect(results)
    hostile = "</script><script>alert(1)</script><!--"
    data["note"] = data["suite"] = hostile
    data["settings"][0]["cells"][0] = hostile
    page = render(data)
    assert hostile not in page
    start = page.index('id="data">') + len('id="data">')
    shown = json.loads(page[start : page.index("</script>", start)])
    assert shown == json.loads(json.dumps(data))


def test_a_page_made_after_a_release_is_no_difference_and_one_released_is_frozen(
    tmp_path: Path,
) -> None:
    results = tmp_path / "results" / "tiny"
    release = results / "releases" / "1.0.0" / manifest.NAME
    release.parent.mkdir(parents=True)
    frozen = {"files": {}, "artifacts": {}}
    release.write_text(json.dumps(frozen))
    (results / "index.html").write_text("a page")
    assert manifest.differences(results) == ("1.0.0", [])
    (results / "more.html").write_text("not a page")
    assert manifest.differences(results)[1] == ["results/tiny/more.html: not in release 1.0.0"]
    release.write_text(json.dumps({**frozen, "files": manifest.files(results)}))
    (results / "index.html").write_text("another page")
    (problem,) = manifest.differences(results)[1]
    assert problem == "results/tiny/index.html: not the file of release 1.0.0"
