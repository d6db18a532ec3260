"""Tuning in stages: equal points, own settings, finalists, choice, and what suites make of it."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fabricated import fabricate

from nfe.cli.main import main
from nfe.cluster import planning
from nfe.cluster.site import Site
from nfe.common.errors import InputError
from nfe.report import tables
from nfe.report.tuning import (
    Stage,
    Trial,
    choose,
    confirm,
    finalists,
    notes,
    ranked,
    read_runs,
    read_table,
    tuned_yaml,
)
from nfe.suite.expansion import expand, read_config
from nfe.suite.tuning import Choices, Point, Range, cube, space

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "config" / "tuning-tiny-imagenet.yaml"
RECIPE = {
    "lr": {"low": 0.01, "high": 1.0, "scale": "log"},
    "weight_decay": {"low": 1e-5, "high": 5e-3, "scale": "log"},
}
TUNING = {
    "points": 4,
    "recipe": RECIPE,
    "methods": {
        "mimo": {
            "input_repetition": {"low": 0, "high": 1, "scale": "linear"},
            "repetition": [1, 2, 4],
        },
        "nfe": {"distillation": {"low": 0.25, "high": 4, "scale": "log"}},
    },
}
FRAME = {"suite": "search", "dataset": "digits", "architecture": "wrn-10-1", "epochs": 1}
CONFIG = {
    **FRAME,
    "seeds": 1,
    "tuning": TUNING,
    "groups": {"core": [{"method": ["single", "mimo"]}, {"method": "nfe", "exits": 2}]},
}
SECOND = {**CONFIG, "suite": "confirm", "epochs": 2, "seeds": 2}
SECOND = {key: value for key, value in SECOND.items() if key != "tuning"}


def suite(*entries, **top):
    return {**FRAME, "seeds": 1, "groups": {"headline": list(entries)}, **top}


def runs(config):
    return [planned.run for planned in expand(config).runs]


def trial(nll, lr=0.1, seed=0, method="single", **settings):
    return Trial(method, lr, 5e-4, settings, seed, nll)


def test_the_sixteen_points_are_these():
    """In units of 1/32, and so exact: nothing may depend on a generator or a library's version."""
    assert [[32 * share for share in point] for point in cube(16)] == [
        [21, 31, 19, 15],
        [5, 15, 3, 31],
        [29, 7, 27, 23],
        [13, 23, 11, 7],
        [9, 27, 31, 27],
        [25, 11, 15, 11],
        [1, 3, 23, 3],
        [17, 19, 7, 19],
        [27, 21, 21, 29],
        [11, 5, 5, 13],
        [19, 13, 29, 5],
        [3, 29, 13, 21],
        [7, 17, 25, 9],
        [23, 1, 9, 25],
        [15, 9, 17, 17],
        [31, 25, 1, 1],
    ]


@pytest.mark.parametrize("cells", [(2, 8), (4, 4), (8, 2)])
@pytest.mark.parametrize("pair", list(itertools.combinations(range(4), 2)))
def test_any_two_coordinates_are_filled_evenly(pair, cells):
    found = {
        tuple(int(point[axis] * count) for axis, count in zip(pair, cells, strict=True))
        for point in cube(16)
    }
    assert len(found) == 16


@pytest.mark.parametrize("points", [2, 8, 16, 32])
def test_each_coordinate_takes_the_centres_of_even_parts(points):
    for axis in zip(*cube(points), strict=True):
        assert sorted(axis) == [(k + 0.5) / points for k in range(points)]


@pytest.mark.parametrize("points", [1, 3, 12])
def test_other_counts_than_powers_of_two_are_refused(points):
    with pytest.raises(InputError, match=f"points is {points}: allowed: powers of two"):
        cube(points)


def test_ranges_are_spread_as_they_say():
    assert Range(0.01, 1.0, "log").at(0.5) == 0.1
    assert Range(-0.5, -0.02, "log").at(0.5) == -0.1
    assert Range(0, 1, "linear").at(0.28125) == 0.281
    assert [Choices([1, 2, 4]).at(share) for share in (0, 0.33, 0.34, 0.99)] == [1, 1, 2, 4]


def test_every_method_is_offered_the_same_points():
    offered = {}
    for run in runs(CONFIG):
        offered.setdefault(run.method, []).append((run.recipe.lr, run.recipe.weight_decay))
    assert list(offered) == ["single", "mimo", "nfe"]
    assert offered["single"] == offered["mimo"] == offered["nfe"]
    assert len(set(offered["single"])) == 4
    own = {run.settings["distillation"] for run in runs(CONFIG) if run.method == "nfe"}
    assert len(own) == 4
    assert all(run.settings["exits"] == 2 for run in runs(CONFIG) if run.method == "nfe")


def test_the_shipped_search_is_the_same_for_all_methods():
    shipped = {key: value for key, value in read_config(SHIPPED).items() if key != "only"}
    found = runs(shipped)
    offered = {}
    for run in found:
        offered.setdefault(run.method, []).append((run.recipe.lr, run.recipe.weight_decay))
    assert len(offered) >= 16
    assert {len(set(points)) for points in offered.values()} == {16}
    assert all(points == offered["single"] for points in offered.values())
    assert not any(run.audit for run in found)
    assert {run.epochs for run in found} == {10}
    assert {run.seed for run in found} == {0}


def test_both_shipped_stages_are_the_same_but_for_their_length():
    first, second = (
        read_config(ROOT / "config" / f"{name}-tiny-imagenet.yaml")
        for name in ("tuning", "confirm")
    )
    told = ("suite", "note", "epochs", "seeds", "tuning", "finalists")
    assert {k: v for k, v in first.items() if k not in told} == {
        k: v for k, v in second.items() if k not in told
    }
    assert second["epochs"] == 2 * first["epochs"]
    offered = space(first["tuning"])
    methods = {run.method for run in runs(first)}
    found = {method: offered.offered(method)[:3] for method in methods}
    confirmed = confirm(second, found)
    assert len(confirmed) == len(methods) * 3 * 2
    for method in methods:
        own = [run for run in confirmed if run.method == method]
        assert {run.seed for run in own} == {0, 1}
        assert {run.recipe.lr for run in own} == {point.recipe["lr"] for point in found[method]}
        assert {run.epochs for run in own} == {20}


def test_the_lowest_mean_over_seeds_wins():
    trials = [trial(0.5, 0.1, 0), trial(0.1, 0.1, 1), trial(0.2, 0.2, 0), trial(0.2, 0.2, 1)]
    assert choose(trials) == {"single": Point({"lr": 0.2, "weight_decay": 5e-4}, {})}
    assert choose(trials) == choose(trials[::-1])


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
def test_a_diverged_point_never_wins(bad):
    trials = [trial(0.01, 0.1, 0), trial(bad, 0.1, 1), trial(3.0, 0.2, 0), trial(3.0, 0.2, 1)]
    assert choose(trials)["single"].recipe["lr"] == 0.2
    assert [len(points) for points in finalists(trials).values()] == [1]
    # Nor does one whose further seed is not there at all.
    assert choose(trials[:1] + trials[2:])["single"].recipe["lr"] == 0.2


def test_points_differ_by_their_settings_too():
    trials = [trial(0.3, method="nfe", distillation=d) for d in (0.5, 1.0)]
    trials.append(trial(0.2, method="nfe", distillation=2.0))
    trials.append(trial(None, method="mimo", repetition=1))
    assert [point.settings["distillation"] for point in finalists(trials, 2)["nfe"]] == [2.0, 0.5]
    assert "mimo" not in choose(trials)
    assert ranked(trials)["mimo"] == []


def test_edges_are_told():
    offered = space(TUNING)
    edges = {
        "single": Point({"lr": 0.9, "weight_decay": 5e-4}),
        "mimo": Point(
            {"lr": 0.1, "weight_decay": 1.2e-5}, {"input_repetition": 0.5, "repetition": 4}
        ),
    }
    told = notes([trial(None, method="nfe")], edges, offered)
    assert told == [
        "single: lr 0.9 at the high edge of 0.01 to 1",
        "mimo: weight_decay 1.2e-05 at the low edge of 1e-05 to 0.005",
        "mimo: repetition 4 at the high end of 1, 2, 4",
        "nfe: no point finished with every seed",
    ]
    inside = Point({"lr": 0.1, "weight_decay": 5e-4}, {"input_repetition": 0.5, "repetition": 2})
    assert offered.edges("mimo", inside) == []
    # Of sixteen points, exactly the first and the last lie at an edge, rounded as they are.
    sixteen = space({"points": 16, "recipe": RECIPE})
    at_edge = [p for p in sixteen.offered("single") if "lr" in str(sixteen.edges("single", p))]
    assert sorted(point.recipe["lr"] for point in at_edge) == [0.0115, 0.866]


def test_nothing_is_read_but_the_held_out_images(tmp_path):
    """Both readings of a stage agree, whatever the test columns say."""
    results = tmp_path / "results" / "search"
    made = expand(CONFIG)
    failed = made.runs[0].run.name
    fabricate(made, results, failed=[failed])
    tables.write(made, results)
    offered = space(TUNING)
    stage = read_runs(results / "runs", offered)
    table = read_table(results / "runs.csv", offered)
    assert stage.about == table.about == "digits at 8 pixels, wrn-10-1, 1 epochs"
    assert len(stage.trials) == len(table.trials) - 1 == 11

    def listed(trials):
        return {
            method: [p.record() for p in points] for method, points in finalists(trials).items()
        }

    assert listed(stage.trials) == listed(table.trials)
    best = min(
        (run for run in (p.run for p in made.runs) if run.method == "nfe"),
        key=lambda run: json.loads((results / "runs" / run.name / "metrics.json").read_text())[
            "heldout_nll"
        ],
    )
    assert choose(stage.trials)["nfe"].record() == {
        "recipe": {"lr": best.recipe.lr, "weight_decay": best.recipe.weight_decay},
        "settings": {"distillation": best.settings["distillation"]},
    }
    for path in (results / "runs").glob("*/metrics.json"):
        metrics = json.loads(path.read_text())
        kept = {key: metrics[key] for key in ("status", "heldout_nll")}
        path.write_text(json.dumps(kept))
    assert read_runs(results / "runs", offered) == stage


def test_two_stages_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("search.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    common = ["tune", "--config", "search.yaml", "--runs"]
    made = expand(CONFIG)
    fabricate(made, Path("results/search"))
    tables.write(made, Path("results/search"))
    assert main([*common, "results/search/runs.csv", "--finalists", "finalists.yaml"]) == 0
    assert capsys.readouterr().out == ""
    second = {**SECOND, "finalists": "finalists.yaml"}
    confirmed = expand(second)
    assert len(confirmed.runs) == 3 * 3 * 2
    stage = read_table(Path("results/search/runs.csv"), space(TUNING))
    assert [p.run for p in confirmed.runs] == confirm(SECOND, finalists(stage.trials))
    fabricate(confirmed, Path("results/confirm"))
    tables.write(confirmed, Path("results/confirm"))
    assert main([*common, "results/confirm/runs.csv", "--output", "tuned.yaml"]) == 0
    told = capsys.readouterr().out.splitlines()
    text = Path("tuned.yaml").read_text()
    # Four points have the edges of quarters, so that edges are told here.
    assert told
    assert all(f"# {line}\n" in text for line in told)
    assert "mean over 2 seeds) from results/confirm/runs.csv" in text
    chosen = yaml.safe_load(text)
    assert set(chosen) == {"single", "mimo", "nfe"}
    assert set(chosen["mimo"]["settings"]) == {"input_repetition", "repetition"}
    offered = space(TUNING)
    for method, point in chosen.items():
        assert Point(**point) in offered.offered(method)
    [run] = runs(suite({"method": "nfe", "exits": 3}, tuned="tuned.yaml"))
    assert run.settings["distillation"] == chosen["nfe"]["settings"]["distillation"]
    assert run.recipe.lr == chosen["nfe"]["recipe"]["lr"]
    # Without --config a table with settings of its own is no grid.
    assert main(["tune", *common[3:], "results/search/runs.csv", "--output", "flat.yaml"]) == 2
    assert "different settings: allowed: one, or --config" in capsys.readouterr().err
    assert main(["tune", *common[3:], "results/search/runs.csv", "--finalists", "f.yaml"]) == 2
    assert "allowed: with --config" in capsys.readouterr().err


ADAMW = [
    pytest.param({"architecture": "vit-tiny-2"}, id="the architecture's own"),
    pytest.param({"recipe": {"optimizer": "adamw"}}, id="the suite's"),
]


def made_with(config, name):
    """The path of the runs.csv of a suite that nobody trained."""
    path = Path("results", name)
    fabricate(expand(config), path)
    tables.write(expand(config), path)
    return str(path / "runs.csv")


@pytest.mark.parametrize("frame", ADAMW)
def test_what_was_searched_with_adamw_is_run_with_adamw(frame, tmp_path, monkeypatch):
    """Through both stages and into a suite, the recipe is the searched one in every field."""
    monkeypatch.chdir(tmp_path)
    search = {**CONFIG, **frame}
    Path("search.yaml").write_text(yaml.safe_dump(search))
    common = ["tune", "--config", "search.yaml", "--runs"]
    assert main([*common, made_with(search, "first"), "--finalists", "finalists.yaml"]) == 0
    second = {**SECOND, **frame, "finalists": "finalists.yaml"}
    assert main([*common, made_with(second, "second"), "--output", "tuned.yaml"]) == 0
    chosen = yaml.safe_load(Path("tuned.yaml").read_text())
    assert {point["recipe"]["optimizer"] for point in chosen.values()} == {"adamw"}
    final = runs(suite({"method": ["single", "mimo"]}, tuned="tuned.yaml", **frame))
    for run in final:
        assert run.recipe in [one.recipe for one in runs(search) if one.method == run.method]
        assert run.recipe in [one.recipe for one in runs(second) if one.method == run.method]
        assert run.recipe.optimizer == "adamw"
        assert run.recipe.lr == chosen[run.method]["recipe"]["lr"]
    assert read_runs(Path("results/second/runs"), space(TUNING)).trials[0].optimizer == "adamw"


@pytest.mark.parametrize("frame", ADAMW)
def test_a_grid_of_adamw_says_so(frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = {"lr": [0.001, 0.002], "weight_decay": 0.05, **frame.get("recipe", {})}
    grid = suite({"method": "single"}, **{**frame, "recipe": recipe})
    assert main(["tune", "--runs", made_with(grid, "grid"), "--output", "tuned.yaml"]) == 0
    assert yaml.safe_load(Path("tuned.yaml").read_text())["single"]["optimizer"] == "adamw"
    [run] = runs(suite({"method": "single"}, tuned="tuned.yaml", **frame))
    assert run.recipe in [one.recipe for one in runs(grid)]


def test_the_better_optimizer_of_a_grid_is_told(tmp_path, monkeypatch):
    """Rates of two optimizers are different points, though they have the same numbers."""
    monkeypatch.chdir(tmp_path)
    recipe = {"lr": [0.001, 0.1], "weight_decay": 0.001, "optimizer": ["sgd", "adamw"]}
    grid = suite({"method": ["single", "mimo"]}, recipe=recipe)
    assert main(["tune", "--runs", made_with(grid, "grid"), "--output", "tuned.yaml"]) == 0
    for method, chosen in yaml.safe_load(Path("tuned.yaml").read_text()).items():
        scores = {
            run.recipe: json.loads(Path("results/grid/runs", run.name, "metrics.json").read_text())
            for run in runs(grid)
            if run.method == method
        }
        best = min(scores, key=lambda one: scores[one]["heldout_nll"])
        assert (chosen["lr"], chosen.get("optimizer", "sgd")) == (best.lr, best.optimizer)


def test_finalists_hold_for_their_own_optimizer(tmp_path):
    point = {"recipe": {"lr": 0.1, "weight_decay": 1e-3}, "settings": {}}
    given = {"single": [point]}
    other = suite({"method": "single"}, architecture="vit-tiny-2", finalists=given)
    with pytest.raises(InputError, match=r"recipe of single is for optimizer 'sgd'.*'vit-tiny-2'"):
        expand(other)
    [run] = runs({**other, "recipe": {"optimizer": "sgd"}})
    assert (run.recipe.optimizer, run.recipe.lr) == ("sgd", 0.1)


def test_few_finished_points_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("search.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    made = expand(CONFIG)
    fabricate(made, Path("results"), failed=[p.run.name for p in made.runs[:2]])
    tables.write(made, Path("results"))
    options = ["--runs", "results/runs.csv", "--config", "search.yaml"]
    assert main(["tune", *options, "--finalists", "finalists.yaml"]) == 0
    assert capsys.readouterr().out == "single: 2 points finished of 3 wanted\n"
    assert len(yaml.safe_load(Path("finalists.yaml").read_text())["single"]) == 2


def test_stages_are_not_mixed(tmp_path):
    fabricate(expand(CONFIG), tmp_path / "a")
    fabricate(expand({**CONFIG, "epochs": 2}), tmp_path / "b")
    for folder in (tmp_path / "b" / "runs").iterdir():
        folder.rename(tmp_path / "a" / "runs" / folder.name)
    with pytest.raises(InputError, match=r"1 epochs; .*2 epochs: allowed: one stage"):
        read_runs(tmp_path / "a" / "runs", space(TUNING))
    with pytest.raises(InputError, match="no run finished"):
        read_runs(tmp_path / "b" / "runs", space(TUNING))


def test_tuned_settings_are_inherited_unless_an_entry_names_them(tmp_path):
    tuned = tmp_path / "tuned.yaml"
    settings = {"distillation": 2.5, "temperature": 2.0}
    chosen = {
        "nfe": {"recipe": {"lr": 0.03, "weight_decay": 1e-4}, "settings": settings},
        "single": {"recipe": {"lr": 0.3}, "settings": {}},
    }
    tuned.write_text(yaml.safe_dump(chosen))
    config = suite(
        {"method": "nfe", "exits": [2, 3]},
        {"method": "nfe", "exits": 2, "pruning": "erk", "sparsity": 0.5},
        {"method": "nfe", "exits": 2, "granularity": "output_filter"},
        {"method": "nfe", "exits": 2, "distillation": 0},
        {"method": "nfe", "exits": 2, "recipe": {"lr": 0.2}},
        {"method": "nfe", "exits": 2, "protocol": "published"},
        {"method": ["single", "deep_ensemble", "mimo"]},
        tuned=str(tuned),
    )
    planned = expand(config)
    found = [(r.method, r.recipe.lr, r.settings.get("distillation")) for r in runs(config)]
    assert found[:10] == [
        ("nfe", 0.03, 2.5),
        ("nfe", 0.03, 2.5),
        ("nfe", 0.03, 2.5),
        ("nfe", 0.03, 2.5),
        ("nfe", 0.03, 0.0),
        ("nfe", 0.2, 2.5),
        ("nfe", 0.1, 1.0),
        ("single", 0.3, None),
        ("deep_ensemble", 0.3, None),
        ("mimo", 0.1, None),
    ]
    # Deep ensembles run under single's choice; MIMO has none, and the plan says so.
    assert planned.untuned == ("mimo",)
    text = list(planning.lines(planned, planning.costs(planned, tmp_path, None, 0, Site())))
    assert "not tuned, so with the default recipe: mimo" in text
    assert text[-1].startswith(f"{len(planned.runs)} runs: ")
    assert expand(suite({"method": "mimo"})).untuned == ()


def test_bare_recipes_are_read_as_ever(tmp_path):
    """A recipe by itself, one with empty settings, and one in the entry make the same runs."""
    (tmp_path / "bare.yaml").write_text("nfe: {lr: 0.3, weight_decay: 0.002}")
    recipe = "{recipe: {lr: 0.3, weight_decay: 0.002}, settings: {}}"
    (tmp_path / "full.yaml").write_text(f"nfe: {recipe}")
    bare = expand(suite({"method": "nfe"}, tuned=str(tmp_path / "bare.yaml")))
    full = expand(suite({"method": "nfe"}, tuned=str(tmp_path / "full.yaml")))
    own = expand(suite({"method": "nfe", "recipe": {"lr": 0.3, "weight_decay": 0.002}}))
    assert bare.digest == full.digest == own.digest


def released_with_bare_recipes():
    for path in sorted((ROOT / "config").glob("*.yaml")):
        config = yaml.safe_load(path.read_text())
        plans = list((ROOT / "results" / path.stem).glob("plan-*.json"))
        tuned = yaml.safe_load((ROOT / config["tuned"]).read_text()) if "tuned" in config else {}
        if plans and tuned and "recipe" not in next(iter(tuned.values())):
            yield pytest.param(path, plans[0], id=path.stem)


@pytest.mark.parametrize(("path", "plan"), list(released_with_bare_recipes()))
def test_released_suites_keep_their_tuned_recipes(path, plan):
    """For methods whose name and settings alone say which run it is."""

    def told(identities):
        return {
            (i["method"], i["architecture"], i["seed"], i["epochs"], i["audit"]): i["recipe"]
            for i in identities
            if i["method"] in ("single", "mimo", "sembg")
        }

    released = told(run["identity"] for run in json.loads(plan.read_text())["runs"])
    expanded = told(run["identity"] for run in expand(read_config(path)).record()["runs"])
    assert released == expanded != {}


def changed(**changes):
    return {**CONFIG, "tuning": {**TUNING, **changes}}


def given(path):
    return {**SECOND, "finalists": path}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({**CONFIG, "tuned": "x.yaml"}, "tuning and tuned: allowed: one of them"),
        ({**CONFIG, "audit": True}, "audit is true: a tuning looks at no test image"),
        ({**CONFIG, "recipe": {"lr": 0.1}}, "lr is given by the entry and by the tuning"),
        ({**CONFIG, "protocol": "published"}, "protocol is 'published': allowed where"),
        (changed(points=3), "points is 3: allowed: powers of two"),
        (changed(points=16.0), "points: 16.0 is not of type 'integer'"),
        (changed(recipe={"lr": [0.1, 0.2]}), "'weight_decay' is a required property"),
        (changed(methods={"mimoo": {"repetition": [1, 2]}}), "tuning: unknown method 'mimoo'"),
        (
            changed(methods={"mimo": {"repetitions": [1, 2]}}),
            "tuning, mimo: unknown setting 'repetitions': did you mean 'repetition'",
        ),
        (
            changed(methods={"nfe": {key: [1, 2] for key in ("exits", "ratio", "whole")}}),
            "tuning/methods/nfe: .*too many properties",
        ),
        (
            changed(methods={"nfe": {"distillation": {"low": 2, "high": 1, "scale": "log"}}}),
            "tuning, nfe, distillation: range 2 to 1: allowed: low below high",
        ),
        (
            changed(methods={"nfe": {"distillation": {"low": 0, "high": 1, "scale": "log"}}}),
            "range 0 to 1 with scale log: allowed: ends of one sign, not 0",
        ),
        (
            {**CONFIG, "groups": {"core": [{"method": "nfe", "distillation": 1}]}},
            "entry 1: distillation is given by the entry and by the tuning: allowed: one",
        ),
        (
            {**CONFIG, "groups": {"core": [{"method": "deep_ensemble"}]}},
            "deep_ensemble takes the choice of single: allowed: single",
        ),
        (given("absent.yaml"), "absent.yaml: no such file: nfe-bench tune --finalists makes it"),
        (given({"single": [{"recipe": {}}]}), "finalists: no finalists of mimo: allowed: single"),
        (given({"single": [{"lr": 1}]}), "finalists: single is .*: allowed: recipe and settings"),
        (given({"single": []}), "finalists: single is .*: allowed: a list of points"),
        (given({"singel": [{}]}), "finalists: unknown method 'singel'"),
    ],
)
def test_bad_searches_are_refused_in_one_line(bad, message):
    with pytest.raises(InputError, match=message) as caught:
        expand(bad)
    assert "\n" not in str(caught.value)


def test_choosing_needs_no_tables():
    """A machine that only trains reads runs and chooses; drawing and tables are not loaded."""
    code = (
        "import sys, nfe.report.tuning; "
        "print([m for m in ('pandas', 'matplotlib', 'snakemake') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_the_tuned_file_is_the_same_however_its_runs_are_ordered():
    offered = space(TUNING)
    trials = [
        trial(nll, lr, seed, "nfe", distillation=1.0)
        for nll, lr, seed in [(0.3, 0.1, 0), (0.2, 0.1, 1), (0.2, 0.3, 0), (0.3, 0.3, 1)]
    ]
    texts = {
        tuned_yaml(Stage(list(order), "d"), offered, "s")
        for order in itertools.permutations(trials)
    }
    assert len(texts) == 1
