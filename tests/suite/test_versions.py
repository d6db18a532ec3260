"""Versions of the arithmetic behind a run: in its identity, pinned by a suite, and refused."""

import dataclasses
import json
from pathlib import Path

import pytest

from nfe import data as datasets
from nfe import pruning
from nfe.cli.main import main
from nfe.common.errors import InputError
from nfe.common.files import write_json
from nfe.engine import loading
from nfe.engine.latency import measure
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.method import settings_class
from nfe.report.release import verification
from nfe.suite.expansion import Planned, Suite, expand, load_plan, read_config
from nfe.suite.run import Run, from_identity, specify

ROOT = Path(__file__).resolve().parents[2]
RELEASED = sorted(ROOT.glob("results/*/plan-*.json"))
CONFIGS = [ROOT / "config" / f"{path.parent.name}.yaml" for path in RELEASED]
# Higher than any that the code has, so that the tests do not depend on what it has.
NEXT = 9


def make(method: str = "nfe", **changes) -> Run:
    values = {"dataset": "digits", "architecture_name": "wrn-10-1", "epochs": 3, **changes}
    return specify(method=method, **values)


def pins(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 1)


@pytest.fixture
def raised(monkeypatch):
    """Raise the versions of methods and pruners to ``NEXT``."""

    def raise_to_next(*names: str) -> None:
        for name in names:
            if name in pruning.PRUNERS:
                monkeypatch.setitem(pruning.VERSIONS, name, NEXT)
            else:
                monkeypatch.setattr(settings_class(name), "version", NEXT)

    return raise_to_next


def test_every_released_run_has_its_identity_still() -> None:
    found = 0
    for path in ROOT.glob("results/*/runs/*/config.json"):
        record = json.loads(path.read_text())
        run = from_identity(record)
        assert run.identity() == record
        assert run.name == path.parent.name
        found += 1
    assert found > 500


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.parent.name)
def test_every_released_plan_is_what_it_was(path: Path) -> None:
    suite = load_plan(path)
    assert path.name == f"plan-{suite.digest}.json"
    assert suite.record() == json.loads(path.read_text())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_pinned_suite_is_what_it_was(config: Path, raised) -> None:
    names = ("nfe", "batch_ensemble", "packed_ensemble", "mc_dropout", "single", "snip", "grasp")
    pinned = {**read_config(config), "versions": pins(*names)}
    before = expand(pinned)
    raised(*names)
    assert expand(pinned).record() == before.record()
    now = expand({**pinned, "versions": {}})
    changed = {"nfe", "batch_ensemble", "packed_ensemble", "mc_dropout", "single", "deep_ensemble"}
    touched = any(planned.run.method in changed for planned in before.runs)
    assert (now.digest != before.digest) == touched
    for old, new in zip(before.runs, now.runs, strict=True):
        assert (old.run.name != new.run.name) == (old.run.method in changed)
    assert len(now.comparisons) == len(before.comparisons)


def test_a_method_a_pruning_and_a_data_rule_have_versions(raised, monkeypatch) -> None:
    pruned = {"settings": {"exits": 2, "pruning": "snip", "sparsity": 0.5}}
    before, plain = make(pins=pins("nfe", "snip"), **pruned), make(pins=pins("nfe"))
    assert "versions" not in before.identity()
    raised("nfe", "snip")
    card = dataclasses.replace(datasets.card("digits"), version=NEXT)
    changed = dataclasses.replace(datasets.dataset("digits"), cards=(card,))
    monkeypatch.setitem(datasets._DATASETS, "digits", changed)
    now = make(**pruned)
    assert now.identity()["versions"] == {"method": NEXT, "pruning": NEXT, "data": NEXT}
    assert make().versions == {"method": NEXT, "data": NEXT}
    assert from_identity(json.loads(json.dumps(now.identity()))) == now
    assert make(pins=pins("nfe", "snip", "digits"), **pruned).digest == before.digest
    assert make(pins=pins("nfe", "digits")).digest == plain.digest
    assert len({now.name, before.name, make(pins=pins("nfe"), **pruned).name}) == 3


def test_a_pruning_that_is_not_in_force_has_none(raised) -> None:
    raised("snip")
    assert "pruning" not in make(settings={"exits": 2, "pruning": "snip"}).versions
    other = make(settings={"exits": 2, "pruning": "erk", "sparsity": 0.5})
    assert "pruning" not in other.versions


def test_the_members_of_an_ensemble_have_their_methods_version(raised) -> None:
    before = make("deep_ensemble", pins=pins("single"))
    raised("single")
    now = make("deep_ensemble")
    assert now.versions == {"member": NEXT}
    assert [m.name for m in now.members()] == [make("single", seed=s).name for s in range(3)]
    old = from_identity(before.identity())
    pinned = [make("single", seed=s, pins=pins("single")).name for s in range(3)]
    assert [m.name for m in old.members()] == pinned


def test_an_ensembles_own_version_is_not_its_members(raised) -> None:
    raised("deep_ensemble")
    run = make("deep_ensemble", pins=pins("single"))
    assert run.versions == {"method": NEXT}
    assert all(not member.versions for member in run.members())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nfee": 1}, "unknown .*versions.* 'nfee'.*'nfe'"),
        ({"none": 1}, "unknown .*versions.* 'none'"),
        ({"nfe": NEXT + 1}, f"nfe is {NEXT + 1}: allowed: whole numbers from 1 to {NEXT}"),
        ({"magnitude": 2}, "magnitude is 2: allowed: whole numbers from 1 to 1"),
        ({"digits": 2}, "digits is 2: allowed"),
        ({"nfe": 0}, "versions/nfe: 0 is less than the minimum"),
        ({"nfe": "1"}, "'1' is not of type 'integer'"),
    ],
)
def test_what_cannot_be_pinned_is_refused(given, message: str, raised) -> None:
    raised("nfe")
    config = read_config(ROOT / "config" / "quick.yaml")
    with pytest.raises(InputError, match=message) as caught:
        expand({**config, "versions": given})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("versions", [{"engine": 2}, {"method": 1}, {"method": "2"}, [], None])
def test_a_record_of_impossible_versions_is_refused(versions) -> None:
    with pytest.raises(InputError, match="versions"):
        from_identity({**make().identity(), "versions": versions})


def test_an_earlier_version_is_not_made(raised, tmp_path: Path, caplog) -> None:
    run = make("single", pins=pins("single"), epochs=1)
    ensemble = make("deep_ensemble", pins=pins("single"), epochs=1)
    plan = tmp_path / "plan.json"
    write_json(plan, Suite("earlier", "", (Planned(run, ("headline",)),)).record())
    raised("single")
    folders = RunFolders(*[tmp_path / "run"] * 4)
    message = f"is of single version 1: this code makes version {NEXT}"
    for refused in (run, ensemble):
        with pytest.raises(InputError, match=f"{refused.name} {message}"):
            execute(refused, folders, Worker())
        with pytest.raises(InputError, match=message):
            measure([refused], tmp_path / "latency", Worker())
    assert not (tmp_path / "run" / "config.json").exists()
    assert not list((tmp_path / "latency").iterdir())
    command = ["run", "--plan", str(plan), "--root", str(tmp_path)]
    assert main([*command, "--run", run.name]) != 0
    assert message in caplog.text


def test_an_earlier_version_is_verified(raised, tmp_path: Path, monkeypatch) -> None:
    run = make("single", epochs=1, pins=pins("single"))
    results = tmp_path / "results" / "earlier"
    artifacts = tmp_path / "artifacts" / "earlier"
    execute(
        run,
        RunFolders(results / "runs" / run.name, artifacts / run.name, results / "runs", artifacts),
        Worker(),
    )
    suite = Suite("earlier", "", (Planned(run, ("headline",)),))
    write_json(results / f"plan-{suite.digest}.json", suite.record())
    raised("single")
    assert not checked(results).outdated
    # Another network from the same weights: what this code computes says nothing of the run.
    monkeypatch.setattr(loading, "skeleton", lambda method, context: context.backbone(classes=3))
    said = checked(results)
    assert said.outdated == [f"{run.name} is of single version 1: this code makes version {NEXT}"]
    assert f"{said.outdated[0]}: not recomputed from weights" in said.lines()


def checked(results: Path) -> verification.Report:
    """Return the report of what can be recomputed from weights, tables aside."""
    checking = verification._Verification(results, Worker())
    suite, problems = verification._read_plan(results)
    assert not problems and not checking._identities(suite)
    assert not checking._recomputed(suite.runs[0].run)
    return checking.said
