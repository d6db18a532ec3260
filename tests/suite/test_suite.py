"""Suites: expansion, members, processes, and what is refused."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfe.common.errors import InputError
from nfe.common.files import write_json
from nfe.method import method_names
from nfe.suite.expansion import MEMBERS, expand, load_plan, read_config

ROOT = Path(__file__).resolve().parents[2]


def config(*entries, **top):
    base = {
        "suite": "test",
        "dataset": "digits",
        "architecture": "wrn-10-1",
        "epochs": 2,
        "seeds": 2,
        "groups": {"headline": list(entries)},
    }
    return {**base, **top}


def test_lists_expand_to_their_product():
    suite = expand(
        config(
            {"method": "nfe", "exits": [2, 3], "distillation": [0, 1], "recipe": {"lr": [0.1, 0.2]}}
        )
    )
    assert len(suite.runs) == 2 * 2 * 2 * 2
    assert len({p.run.name for p in suite.runs}) == 16
    assert {p.run.recipe.lr for p in suite.runs} == {0.1, 0.2}


def test_a_deep_ensemble_brings_its_members_once():
    suite = expand(config({"method": ["single", "deep_ensemble"]}))
    single = [p for p in suite.runs if p.run.method == "single"]
    assert [p.run.seed for p in single] == [0, 1, 2, 3, 4, 5]
    assert [p.groups for p in single] == [("headline",)] * 2 + [(MEMBERS,)] * 4
    assert [r.method for r in suite.combined()] == ["deep_ensemble"] * 2


def test_a_run_wanted_by_two_groups_is_made_once():
    entries = [{"method": "nfe", "exits": 2}]
    suite = expand(config(groups={"headline": entries, "pai": entries}))
    assert [p.groups for p in suite.runs] == [("headline", "pai")] * 2


def test_processes_hold_every_training_run_exactly_once():
    suite = expand(config({"method": ["single", "deep_ensemble", "nfe"]}, runs_per_process=3))
    chunks = suite.chunks()
    names = [run.name for chunk in chunks for run in chunk]
    assert max(map(len, chunks)) == 3
    assert sorted(names) == sorted(
        p.run.name for p in suite.runs if p.run.method != "deep_ensemble"
    )


def test_a_plan_survives_its_file(tmp_path):
    suite = expand(read_config(ROOT / "config" / "quick.yaml"))
    write_json(tmp_path / "plan.json", suite.record())
    again = load_plan(tmp_path / "plan.json")
    assert again.record() == suite.record()
    assert again.digest == suite.digest


def test_the_digest_follows_runs_but_not_how_they_are_packed():
    entry = {"method": "single"}
    assert expand(config(entry)).digest == expand(config(entry, runs_per_process=4)).digest
    assert expand(config(entry)).digest != expand(config(entry, epochs=3)).digest


def test_a_tier_alone_is_the_same_runs_as_in_the_whole_suite():
    whole = read_config(ROOT / "config" / "tiny-imagenet-cpu.yaml")
    tier = expand({**whole, "only": "headline"})
    wanted = {p.run.name for p in expand(whole).runs if {"headline", "members"} & set(p.groups)}
    assert {p.run.name for p in tier.runs} == wanted
    assert 0 < len(wanted) < len(expand(whole).runs)


def names(suite):
    return {planned.run.name for planned in suite.runs}


def test_an_include_is_the_entry_with_some_keys_changed():
    include = [{"exits": 3, "seeds": 1}, {"architecture": ["wrn-10-2", "wrn-10-3"]}]
    entry = {"method": "nfe", "exits": 2, "distillation": [0, 1]}
    got = expand(config({**entry, "include": include}))
    parts = [config({**entry, **changes}) for changes in ({}, *include)]
    assert names(got) == set().union(*(names(expand(part)) for part in parts))
    assert len(got.runs) == 2 * (2 + 1 + 2 * 2)


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_excludes_drop_what_has_all_their_values(data):
    axes = {"exits": [2, 3], "distillation": [0.0, 1.0, 2.0], "temperature": [1.0, 3.0]}
    values = {key: st.lists(st.sampled_from(axis), min_size=1) for key, axis in axes.items()}
    exclude = data.draw(st.fixed_dictionaries({}, optional=values).filter(bool))

    def dropped(chosen):
        return all(chosen[key] in wanted for key, wanted in exclude.items())

    grid = config({"method": "nfe", **axes}, seeds=1)
    whole = [planned.run for planned in expand(grid).runs]
    kept = {run.name for run in whole if not dropped(run.settings)}
    grid["groups"]["headline"][0]["exclude"] = [exclude]
    if kept:
        assert names(expand(grid)) == kept
    else:
        with pytest.raises(InputError, match="expands to nothing"):
            expand(grid)


def test_the_paper_suite_and_its_rehearsal_have_the_same_structure():
    """Group by group the same methods, and settings varied where the paper varies them."""

    def structure(name):
        found = {}
        for planned in expand(read_config(ROOT / "config" / f"{name}.yaml")).runs:
            for group in set(planned.groups) - {MEMBERS}:
                methods, varied = found.setdefault(group, (set(), {}))
                methods.add(planned.run.method)
                for key, value in planned.run.settings.items():
                    varied.setdefault((planned.run.method, key), set()).add(str(value))
        # FFL's default of shared stages follows from the network's.
        network = {("ffl", "shared")}
        return {
            group: (methods, {k for k, values in varied.items() if len(values) > 1} - network)
            for group, (methods, varied) in found.items()
        }

    assert structure("paper-rehearsal") == structure("paper")


def test_the_paper_suite_is_what_it_promises():
    planned = expand(read_config(ROOT / "config" / "paper.yaml")).runs
    # Those that only others combine have seeds beyond.
    runs = [p.run for p in planned if p.groups != (MEMBERS,)]
    assert {r.method for r in runs} == set(method_names())
    found: dict[str, set[int]] = {}
    for r in runs:
        found.setdefault(replace(r, seed=0).name, set()).add(r.seed)
    for name, seeds in found.items():
        assert len(seeds) == (3 if "wrn-28-10" in name else 5), name
    assert {r.resolution for r in runs if r.dataset == "tiny-imagenet"} == {64}


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_suite_expands(path):
    config = read_config(path)
    if "finalists" in config and not (ROOT / config["finalists"]).exists():
        pytest.skip("its first stage has not been made")
    suite = expand(config)
    assert suite.name == path.stem
    if suite.name == "quick":
        assert len(suite.runs) <= 80


def test_the_suite_with_power_has_what_its_confirmatory_comparisons_need():
    """Ten paired seeds on each side of all twelve; members of ensembles are disjoint."""
    suite = expand(read_config(ROOT / "config" / "tiny-imagenet-20.yaml"))
    runs = {planned.run.name: planned.run for planned in suite.runs}
    assert {r.subset for r in runs.values()} == {"20-classes-drawn-1-250-per-class-extended-test"}
    for members in (2, 3):
        group = f"confirmatory-{members}"
        found = Counter(
            (p.run.method, p.run.settings.get("granularity"))
            for p in suite.runs
            if group in p.groups and len(p.groups) > 1
        )
        kinds = {method for method, _ in found}
        assert kinds == {"single", "deep_ensemble", "narrow_ensemble", "nfe"}
        assert len(found) == 5 and set(found.values()) == {10}
        fissioned = [
            (runs[one], runs[other])
            for one, other in suite.comparisons
            if runs[one].method == "nfe" and runs[one].settings["exits"] == members
        ]
        against = [other for _, other in fissioned if other.settings.get("members") == members]
        assert Counter(other.method for other in against) >= Counter(
            {"narrow_ensemble": 2, "deep_ensemble": 2}
        )
    ensembles = [r for r in runs.values() if r.method == "deep_ensemble" and r.epochs == 20]
    for members in (2, 3):
        seeds = [m.seed for r in ensembles if r.settings["members"] == members for m in r.members()]
        assert sorted(seeds) == list(range(10 * members))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (config({"method": "nfee"}), "group 'headline', entry 1: unknown method 'nfee'.*'nfe'"),
        (config({"method": "nfe", "exit": 2}), "unknown setting of the method nfe 'exit'.*'exits'"),
        (config({"method": "nfe", "sparsity": 1.0, "pruning": "snip"}), "sparsity is 1.0"),
        (config({"method": "nfe", "exits": 4}), "exits is 4: allowed: 1 to 3"),
        (config({"method": "single", "dataset": "digit"}), "did you mean 'digits'"),
        (config({"method": "single"}, {"method": "single"}), "stands in the group twice"),
        (
            config({"method": "single"}, only="headlin"),
            "group of the suite.*did you mean 'headline'",
        ),
        (config({"method": "single"}, groups={}), "groups: .* non-empty"),
        (config(), "groups/headline: .* non-empty"),
        (config({"method": "single"}, seeds=0), "seeds: 0 is less than the minimum"),
        (config({"method": "single"}, seed=0), "unknown key 'seed': did you mean 'seeds'"),
        (config({"method": "single", "seeds": 1.5}), "seeds: 1.5 is not of type 'integer'"),
        (config({"method": "single"}, seeds=2.0), "seeds: 2.0 is not of type 'integer'"),
        (config({"method": "single"}, runs_per_process=2.0), "runs_per_process: 2.0 is not"),
        (config({"method": "nfe", "exits": []}), "entry 1: exits is \\[\\]: allowed: one value"),
        (config({"method": "nfe", "recipe": {"lr": []}}), "entry 1: recipe lr is \\[\\]"),
        (config({"method": "nfe", 3: 2}), "3 is not of type 'string'"),
        (config({"method": "nfe", "exits": [2, 2]}), "exits lists 2 twice"),
        (config({"method": "nfe", "exclude": [{"exits": 3}]}), "exclude exits: 3 matches nothing"),
        (
            config({"method": "nfe", "exits": [2, 3], "exclude": [{"exits": [2, 3]}]}),
            "entry 1: expands to nothing",
        ),
        (config({"method": "nfe", "exits": 2, "include": [{"exits": 2}]}), "in the group twice"),
        (config({"method": "nfe", "include": []}), "include: .* non-empty"),
        (config({"method": "nfe", "include": [{"seeds": "3"}]}), "'3' is not of type 'integer'"),
        (
            config({"method": "nfe", "include": [{"exclude": [{"exits": 3}]}]}),
            "'exclude' should not be valid|'exclude' is not valid",
        ),
        (
            config({"method": "nfe", "pruning": "snip", "sparsity": 0}),
            "pruning is 'snip', which the other settings make 'none': contradictory: "
            "pruning: snip, sparsity: 0",
        ),
        (config({"method": "nfe", "sparsity": 0.5}), "sparsity is 0.5 with pruning 'none'"),
        (config(groups={"members": [{"method": "single"}]}), "'members' does not match"),
        (config(groups={"a/b": [{"method": "single"}]}), "'a/b' does not match"),
    ],
)
def test_bad_suites_are_refused_in_one_line(bad, message):
    with pytest.raises(InputError, match=message) as caught:
        expand(bad)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_suites_are_refused(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("suite: [")
    with pytest.raises(InputError, match=r"broken\.yaml: not valid YAML") as caught:
        read_config(broken)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        read_config(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="Is a directory"):
        read_config(tmp_path)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not valid YAML"):
        read_config(broken)
    (tmp_path / "plan.json").write_text(json.dumps({"suite": "x"}))
    with pytest.raises(InputError, match=r"plan\.json: not a plan"):
        load_plan(tmp_path / "plan.json")


def test_a_suite_that_ranks_nothing_says_so_in_its_plan_and_keeps_its_digest(tmp_path):
    config = {
        "suite": "small",
        "dataset": "digits",
        "architecture": "wrn-10-1",
        "epochs": 1,
        "seeds": 1,
        "groups": {"headline": [{"method": "single"}]},
    }
    plain, silent = expand(config), expand({**config, "ranks": False})
    assert plain.digest == silent.digest
    assert "ranks" not in plain.record()
    path = tmp_path / "plan.json"
    for suite in (plain, silent):
        path.write_text(json.dumps(suite.record()))
        assert load_plan(path).ranks is suite.ranks
    assert [plain.ranks, silent.ranks] == [True, False]


def test_a_stated_family_is_no_part_of_the_digest_and_whole_or_not_there(tmp_path):
    config = {
        "suite": "small",
        "dataset": "digits",
        "architecture": "wrn-10-1",
        "epochs": 1,
        "seeds": 2,
        "groups": {
            "two": [{"method": "single"}, {"method": "nfe", "exits": 2}],
            "three": [{"method": ["single", "mimo"]}, {"method": "nfe", "exits": [2, 3]}],
        },
    }
    stated = {"metric": "nll", "method": "nfe", "groups": ["two", "three"]}
    plain, suite = expand(config), expand({**config, "confirmatory": stated})
    assert plain.digest == suite.digest
    assert plain.confirmatory is None
    # nfe of two exits stands against the single network in both groups, once.
    names = [[suite.run(name) for name in pair] for pair in suite.confirmatory.comparisons]
    pairs = [(dict(one.settings)["exits"], other.method) for one, other in names]
    assert pairs == [(2, "single"), (2, "mimo"), (3, "single"), (3, "mimo")]
    assert {run.seed for pair in names for run in pair} == {0}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(suite.record()))
    assert load_plan(path).confirmatory == suite.confirmatory
    assert expand({**config, "confirmatory": stated, "only": "two"}).confirmatory is None
    with pytest.raises(InputError, match=r"unknown group of the suite \(confirmatory\) 'four'"):
        expand({**config, "confirmatory": {**stated, "groups": ["four"]}})
    with pytest.raises(InputError, match="group 'two' does not set 'mimo' against"):
        expand({**config, "confirmatory": {**stated, "method": "mimo"}})
