"""nfe-bench release: what is frozen, what is refused, what moved."""

import csv
import hashlib
import json
import shutil

import pytest
import yaml
from released import make_origin

from nfe.report.release.changes import moved

pytestmark = pytest.mark.slow

VERSION = "1.0.0"


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A project with one release."""
    made = make_origin(tmp_path_factory.mktemp("origin"))
    made.bench("release", "quick", VERSION)
    made.commit("Release")
    return made


@pytest.fixture
def copy(origin, tmp_path):
    """A copy with artifacts and DVC cache."""
    shutil.copytree(origin.folder, tmp_path / "copy")
    return type(origin)(tmp_path / "copy")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_manifest_says_what_was_released_and_how(origin):
    folder = origin.results / "releases" / VERSION
    manifest = json.loads((folder / "manifest.json").read_text())
    for path, checksum in manifest["files"].items():
        assert sha256(origin.folder / path) == checksum
    assert {"results/quick/runs.csv", "figures/quick/accuracy_vs_flops.pdf"} <= set(
        manifest["files"]
    )
    artifacts = {p.relative_to(origin.folder).as_posix() for p in origin.artifacts.rglob("*.*")}
    assert set(manifest["artifacts"]) == {
        p for p in artifacts if p.endswith(("npz", "safetensors"))
    }
    for path, record in manifest["artifacts"].items():
        assert sha256(origin.folder / path) == record["sha256"]
        stored = origin.remote / record["md5"][:2] / record["md5"][2:]
        # Weights of the second seed are in no remote; the manifest has them all the same.
        assert stored.exists() == ("_s1_" not in path or path.endswith("npz"))
    assert manifest["configuration"] == yaml.safe_load(
        (origin.folder / "config/quick.yaml").read_text()
    )
    assert manifest["seeds"] == [0, 1]
    assert [d["dataset"] for d in manifest["data"]] == ["digits"]
    assert [e["runs"] for e in manifest["environments"]] == [3]
    assert {"torch", "numpy"} <= set(manifest["environments"][0]["libraries"])
    assert manifest["dvc"][0]["md5"].endswith(".dir")
    assert origin("git", "cat-file", "-t", manifest["commit"]) == "commit\n"
    assert "First release" in (folder / "changes.md").read_text()
    cited = yaml.safe_load((origin.folder / "CITATION.cff").read_text())["references"]
    assert [(r["title"].split()[-1], r["version"]) for r in cited] == [("quick", VERSION)]


def test_a_card_stands_beside_each_run(origin):
    for run in (origin.results / "runs").iterdir():
        card = (run / "README.md").read_text()
        metrics = json.loads((run / "metrics.json").read_text())
        assert f"| nll | {metrics['nll']:.6f} |" in card
        assert sha256(origin.artifacts / run.name / "model.safetensors") in card
        assert f"nfe-bench predict --run results/quick/runs/{run.name} image.png" in card


def test_a_release_changes_nothing_that_was_there_and_can_be_repeated(origin, copy):
    assert "release 1.0.0\nverified" in copy.verify()
    assert "released already; nothing changed" in copy.bench("release", "quick", VERSION)
    assert copy("git", "status", "--porcelain") == ""
    assert "up to date" in copy("dvc", "status")
    assert "Nothing to be done" in copy.snakemake("-n")


def test_an_interrupted_release_is_completed(copy):
    folder = copy.results / "releases" / VERSION
    before = {p.name: p.read_text() for p in folder.iterdir()}
    copy("git", "reset", "--quiet", "--soft", "HEAD~1")
    copy("git", "restore", "--quiet", "--staged", ".")
    (folder / "manifest.json").unlink()
    copy.bench("release", "quick", VERSION)
    after = {p.name: p.read_text() for p in folder.iterdir()}
    assert after == before


@pytest.mark.parametrize("store", ["artifacts", ".dvc/cache", ".dvc/remote"])
def test_an_altered_byte_of_an_artifact_is_named(copy, store):
    files = [p for p in (copy.folder / store).rglob("*") if p.is_file()]
    path = max(files, key=lambda p: (p.stat().st_size, p.as_posix()))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)
    said = copy.verify(fails=True)
    assert f"{path.relative_to(copy.folder).as_posix()}: " in said
    assert "1 difference" in said


def test_what_is_altered_consistently_is_still_not_the_release(origin, tmp_path):
    clone = origin.clone(tmp_path / "clone")
    metrics = next(iter((clone.results / "runs").iterdir())) / "metrics.json"
    value = json.loads(metrics.read_text())
    metrics.write_text(json.dumps({**value, "brier": value["brier"] - 0.1}, indent=2) + "\n")
    (plan,) = clone.results.glob("plan-*.json")
    clone.bench("tables", "--plan", str(plan))
    said = clone.verify(fails=True)
    assert f"{metrics.relative_to(clone.folder)}: not the file of release {VERSION}" in said


def test_what_must_not_be_released_is_refused_in_one_line(copy):
    def refused(version="1.1.0"):
        said = copy.bench("release", "quick", version, fails=True)
        assert said.count("\n") == 1
        assert copy("git", "status", "--porcelain", "--", "results/quick/releases") == ""
        return said

    assert "allowed: three numbers" in refused("1.1")
    assert "allowed: later than 1.0.0" in refused("0.9.0")
    table = copy.results / "runs.csv"
    text = table.read_text()
    table.write_text(text.replace("digits", "digitz", 1))
    assert "version 1.0.0 is frozen" in refused(VERSION)
    assert "does not verify" in refused()
    table.write_text(text)
    (copy.folder / "nfe" / "report" / "new.py").write_text("")
    assert "nfe/report/new.py: not committed" in refused()
    copy.commit("Code changed")
    assert "dvc repro quick, then commit" in refused()
    (copy.folder / "nfe" / "report" / "new.py").unlink()
    copy.commit("Code as it was")
    (copy.artifacts / "stray").mkdir()
    assert "not in the suite" in refused()
    (copy.artifacts / "stray").rmdir()
    next(copy.remote.glob("*/*.dir")).unlink()
    assert ".dir: not committed" in refused()
    copy.commit("An object lost")
    assert "dvc push, then commit" in refused()
    shutil.rmtree(copy.artifacts)
    assert "predictions not at hand (3 runs in all)" in refused()


def test_a_release_names_the_runs_whose_predictions_are_nowhere(copy):
    lost = next(iter(sorted(copy.artifacts.glob("*_nfe_*/predictions.npz"))))
    lost.unlink()
    copy("dvc", "commit", "--force", "quick")
    copy("dvc", "push")
    copy.commit("A run's predictions are lost")
    assert "--without-predictions" in copy.bench("release", "quick", "1.1.0", fails=True)
    copy.bench("release", "quick", "1.1.0", "--without-predictions")
    manifest = json.loads((copy.results / "releases" / "1.1.0" / "manifest.json").read_text())
    assert manifest["without_predictions"] == [lost.parent.name]
    assert lost.relative_to(copy.folder).as_posix() not in manifest["artifacts"]


def test_what_moved_is_said_by_setting_and_by_run(origin, tmp_path):
    before, after = tmp_path / "1.0.0", tmp_path / "1.1.0"
    for folder in (before, after):
        folder.mkdir()
        for name in ("runs.csv", "summary.csv"):
            shutil.copy(origin.results / name, folder / name)

    def change(name, column, value, row=0):
        with open(after / name, newline="") as file:
            rows = list(csv.DictReader(file))
        old, rows[row][column] = rows[row][column], value
        with open(after / name, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return old

    assert "0 of their means moved" in moved("quick", "1.1.0", after, before)
    old = change("summary.csv", "nll_mean", "9.000000")
    change("summary.csv", "method", "mimo", row=1)
    change("runs.csv", "nll", "9.000000")
    said = moved("quick", "1.1.0", after, before)
    assert "what moved since 1.0.0" in said
    assert f"| single, M 1 | nll | {old} | 9.000000 | +{9 - float(old):.6f} |" in said
    assert "New: mimo, M 2" in said
    assert "Gone: nfe, M 2" in said
    assert "1 settings are in both; 1 of their means moved" in said
    assert "nll: " in said.split("Run by run")[1]


def test_a_setting_keeps_its_row_where_a_larger_suite_gives_it_a_longer_name(origin, tmp_path):
    before, after = tmp_path / "1.0.0", tmp_path / "1.1.0"
    for folder in (before, after):
        folder.mkdir()
        for name in ("runs.csv", "summary.csv"):
            shutil.copy(origin.results / name, folder / name)
    with open(after / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    nfe = next(row for row in rows if row["method"] == "nfe")
    settings = json.loads(nfe["settings"]) | {"temperature": 4.0}
    rows.append({**nfe, "settings": json.dumps(settings, sort_keys=True)})
    with open(after / "summary.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    said = moved("quick", "1.1.0", after, before)
    assert said.count("New: ") == 1
    assert "temperature 4" in said.partition("New: ")[2].partition("\n")[0]
    assert "Gone: " not in said
    assert f"{len(rows) - 1} settings are in both; 0 of their means moved" in said


def test_a_name_that_has_become_another_settings_does_not_pair_the_two(origin, tmp_path):
    """One network at 20 epochs; then at 30 too, and at 20 with another rate, which is told of."""
    with open(origin.results / "summary.csv", newline="") as file:
        single = next(row for row in csv.DictReader(file) if row["method"] == "single")
    longer = {**single, "epochs": "30", "accuracy_mean": "12.0000"}
    faster = {
        **single,
        "lr": "0.9",
        "recipe": json.dumps(json.loads(single["recipe"]) | {"lr": 0.9}),
    }
    before, after = tmp_path / "1.0.0", tmp_path / "1.1.0"
    for folder, rows in ((before, [single]), (after, [single, longer, faster])):
        folder.mkdir()
        shutil.copy(origin.results / "runs.csv", folder)
        with open(folder / "summary.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, single)
            writer.writeheader()
            writer.writerows(rows)
    said = moved("quick", "1.1.0", after, before)
    assert said.count("New: ") == 2
    assert "Gone: " not in said
    assert "1 settings are in both; 0 of their means moved" in said
