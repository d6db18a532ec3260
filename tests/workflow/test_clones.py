"""What a clone can do with released artifacts: real git and dvc in temporary repositories."""

import json
import shutil
import signal
import time

import pytest
import yaml
from released import CONFIG, ROOT, Clone, make_origin

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return make_origin(tmp_path_factory.mktemp("origin"))


@pytest.fixture
def clone(origin, tmp_path):
    return origin.clone(tmp_path / "clone")


@pytest.fixture
def pulled(clone):
    clone("dvc", "pull")
    return clone


def rules(clone: Clone, *options: str) -> list[str]:
    """Run Snakemake and return the rules that it executes, or would with ``-n``."""
    begins = ("rule ", "localrule ")
    lines = [line for line in clone.snakemake(*options).splitlines() if line.startswith(begins)]
    return sorted({line.split()[1].rstrip(":") for line in lines} - {"all"})


def alter(path):
    """Change one byte in the middle of a file, whatever its mode."""
    content, mode = bytearray(path.read_bytes()), path.stat().st_mode
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


def largest(paths):
    return max(paths, key=lambda path: path.stat().st_size)


def test_the_repository_keeps_its_promises_on_size():
    remote = [p for p in (ROOT / ".dvc" / "remote").rglob("*") if p.is_file()]
    assert sum(path.stat().st_size for path in remote) <= 60e6


def test_after_clone_and_pull_nothing_is_to_be_done(clone):
    said = clone.verify()
    assert said.count("predictions not at hand") == 3
    assert rules(clone, "-n") == []
    clone("dvc", "pull")
    assert rules(clone, "-n") == []
    assert "up to date" in clone("dvc", "status")
    assert clone("dvc", "repro").endswith("Data and pipelines are up to date.\n")
    assert clone("git", "status", "--porcelain") == ""
    said = clone.verify("--deep")
    assert "metrics of 3 runs recomputed from predictions, predictions of 2 from weights" in said
    # By .dvcignore the default remote has one seed's weights.
    assert [line.split("_")[-2] for line in said.splitlines() if "not at hand" in line] == ["s1"]


def test_dvc_shows_metrics_curves_and_figures(pulled):
    said = pulled("dvc", "metrics", "show", "--json")
    summary = json.loads((pulled.results / "summary.json").read_text())
    assert json.loads(said[said.index("{") :])[""]["data"]["results/quick/summary.json"] == {
        "data": summary
    }
    said = pulled("dvc", "plots", "show")
    assert "failed" not in said
    page = (pulled.folder / "dvc_plots" / "index.html").read_text()
    assert "accuracy_vs_flops.png" in page
    assert all(f'"setting": "{name}"' in page for name in summary)


def test_a_deleted_table_or_figure_is_made_again_alone(pulled):
    table = pulled.results / "summary.csv"
    figure = pulled.folder / "figures" / "quick" / "accuracy_vs_flops.svg"
    before = table.read_bytes(), figure.read_bytes()
    figure.unlink()
    assert rules(pulled, "-n") == ["figures"]
    table.unlink()
    assert rules(pulled) == ["figures", "tables"]
    assert (table.read_bytes(), figure.read_bytes()) == before
    assert pulled("git", "status", "--porcelain", "results") == ""


def test_a_changed_hyperparameter_makes_exactly_its_runs_and_dvc_says_so(pulled):
    entries = CONFIG["groups"]["headline"]
    changed = {**CONFIG, "groups": {"headline": [entries[0], {**entries[1], "ratio": "0.3/0.7"}]}}
    (pulled.folder / "config" / "quick.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    runs = pulled.results / "runs"
    before = {path.name: (path / "timing.json").read_text() for path in runs.iterdir()}
    assert "ratio" in pulled("dvc", "params", "diff")
    pulled("dvc", "repro", "quick")
    after = {path.name: (path / "timing.json").read_text() for path in runs.iterdir()}
    assert {name: after[name] for name in before} == before
    assert sorted(["ratio=0.3-0.7" in n for n in set(after) - set(before)]) == [True, True]
    assert "ratio 0.3/0.7" in pulled("dvc", "metrics", "diff")
    assert "up to date" in pulled("dvc", "repro", "quick")


def test_an_altered_byte_in_the_remote_is_refused(clone):
    alter(largest(clone.objects()))
    assert "artifacts/quick" in clone("dvc", "pull", fails=True)
    assert not list(clone.artifacts.rglob("*.safetensors"))


def test_a_missing_object_in_the_remote_is_named(clone):
    lost = largest(clone.objects())
    lost.unlink()
    said = clone("dvc", "pull", fails=True)
    assert lost.parent.name + lost.name in said
    clone("git", "checkout", "--", ".dvc/remote")
    clone("dvc", "pull")
    assert "verified" in clone.verify()


def test_what_is_not_in_the_remote_survives_dvc(pulled):
    (folder,) = pulled.artifacts.glob("*_s1_*")
    (folder / "model.safetensors").write_text("made here")
    (folder / "predictions.npz").unlink()
    pulled("dvc", "checkout")
    assert (folder / "predictions.npz").exists()
    assert (folder / "model.safetensors").read_text() == "made here"
    assert "up to date" in pulled("dvc", "status")


@pytest.mark.parametrize("command", ["push", "pull"])
def test_an_interrupted_transfer_is_safe_to_repeat(origin, pulled, command):
    if command == "push":
        shutil.rmtree(pulled.folder / ".dvc" / "remote")
        grown = pulled.remote
    else:
        shutil.rmtree(pulled.artifacts)
        shutil.rmtree(pulled.folder / ".dvc" / "cache")
        grown = pulled.folder / ".dvc" / "cache" / "files" / "md5"
    for objects in (1, 3):
        process = pulled.start("dvc", command)
        while process.poll() is None and len(list(grown.rglob("*"))) < objects:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    pulled("dvc", command)
    assert "verified" in pulled.verify("--deep")
    names = [path.relative_to(pulled.remote) for path in pulled.objects()]
    assert names == [path.relative_to(origin.remote) for path in origin.objects()]
    assert pulled("git", "status", "--porcelain") == ""


def test_two_people_with_the_same_results_do_not_collide(origin, pulled):
    lost = next(path.name for path in pulled.artifacts.glob("*_nfe_*_s0_*"))
    shutil.rmtree(pulled.artifacts / lost)
    shutil.rmtree(pulled.results / "runs" / lost)
    pulled("dvc", "repro", "quick")
    assert "up to date" in pulled("dvc", "push")
    # Made again: all but the time it took is the same to the bit.
    objects = [[path.name for path in clone.objects()] for clone in (origin, pulled)]
    assert objects[0] == objects[1]
    changed = {line.split()[-1] for line in pulled("git", "status", "--porcelain").splitlines()}
    # Latency and training time stand in them.
    tables = {"runs.csv", "summary.csv", "index.html"}
    allowed = {f"results/quick/{name}" for name in tables} | {"dvc.lock"}
    assert changed - allowed == {f"results/quick/runs/{lost}/timing.json"}


def test_two_people_with_different_results_collide_in_git_and_lose_nothing(origin, tmp_path):
    mine, theirs = shared_by_two(origin, tmp_path)
    run = sorted(path.name for path in mine.artifacts.iterdir() if "single" in path.name)[0]
    for person, value in ((mine, 1.0), (theirs, 2.0)):
        (person.artifacts / run / "predictions.npz").write_bytes(str(value).encode())
        metrics = person.results / "runs" / run / "metrics.json"
        metrics.write_text(json.dumps({**json.loads(metrics.read_text()), "nll": value}))
        person("dvc", "commit", "--force", "quick")
        person("dvc", "push")
        person.commit(f"Results {value}")
    mine("git", "push", "--quiet", "origin", "main")
    assert "rejected" in theirs("git", "push", "origin", "main", fails=True)
    said = theirs("git", "pull", "--no-rebase", fails=True)
    assert f"CONFLICT (content): Merge conflict in results/quick/runs/{run}/metrics.json" in said
    assert "CONFLICT (content): Merge conflict in dvc.lock" in said
    # Whoever merges takes one side; the other's objects stay in the remote.
    theirs("git", "checkout", "--theirs", "--", "dvc.lock", "results")
    theirs.commit("Merge: the results that were there first")
    theirs("dvc", "pull", "--force")
    assert (theirs.artifacts / run / "predictions.npz").read_text() == "1.0"
    contents = [path.read_bytes() for path in theirs.objects()]
    assert b"1.0" in contents and b"2.0" in contents


def shared_by_two(origin, folder):
    shared = folder / "shared.git"
    origin("git", "clone", "--quiet", "--bare", str(origin.folder), str(shared))
    people = []
    for name in ("mine", "theirs"):
        person = Clone(folder / name)
        origin("git", "clone", "--quiet", str(shared), str(person.folder))
        person("dvc", "pull")
        people.append(person)
    return people
