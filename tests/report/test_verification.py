"""nfe-bench verify: one altered byte anywhere in a suite is found and named."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import safetensors
import safetensors.torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nfe.cli.main import main
from nfe.common.files import write_json, write_npz
from nfe.engine.latency import measure
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.evaluation import early_exit_curve
from nfe.evaluation import metrics as evaluation
from nfe.report import tables
from nfe.report.page import write as write_page
from nfe.report.release.verification import LOGIT_TOLERANCE, METRIC_TOLERANCE, verify
from nfe.suite.expansion import expand

CONFIG = {
    "suite": "small",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 1,
    "groups": {
        "headline": [
            {"method": "deep_ensemble", "members": 2},
            {"method": ["mc_dropout", "batch_ensemble"]},
            {"method": "nfe", "exits": 2, "pruning": "snip", "sparsity": 0.9},
            {"method": "nfe", "exits": 3, "pruning": "random", "sparsity": 0.999},
        ]
    },
}
SUITE = expand(CONFIG)
RUNS = {planned.run.method: planned.run for planned in reversed(SUITE.runs)}
PRUNED = next(p.run for p in SUITE.runs if "snip" in p.run.name)


class Root:
    """A folder with the suite's results and artifacts."""

    def __init__(self, folder):
        self.folder = folder
        self.results = folder / "results" / "small"
        self.artifacts = folder / "artifacts" / "small"

    def run(self, run):
        return self.results / "runs" / run.name

    def predictions(self, run):
        return self.artifacts / run.name / "predictions.npz"

    def edit(self, path, change):
        value = json.loads(path.read_text())
        change(value)
        write_json(path, value)

    def problems(self, **options):
        return verify(self.results, **options).problems


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = Root(tmp_path_factory.mktemp("verified"))
    runs = root.results / "runs"
    for planned in SUITE.runs:
        folders = RunFolders(
            root.run(planned.run), root.artifacts / planned.run.name, runs, root.artifacts
        )
        execute(planned.run, folders, Worker())
    measure([SUITE.runs[0].run], root.results / "latency", Worker())
    tables.write(SUITE, root.results)
    return root


@pytest.fixture(scope="module")
def whole(trained, tmp_path_factory):
    """A second copy, for tests that put back what they change."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(trained.folder, folder, dirs_exist_ok=True)
    return Root(folder)


@pytest.fixture
def root(trained, tmp_path):
    """A copy to alter."""
    shutil.copytree(trained.folder, tmp_path, dirs_exist_ok=True)
    return Root(tmp_path)


def test_what_was_made_is_verified_down_to_the_weights(root, capsys):
    assert main(["verify", str(root.results), "--deep"]) == 0
    said = capsys.readouterr().out
    trained_runs = sum(not p.run.members() for p in SUITE.runs) - 1
    assert f"predictions of {trained_runs} from weights" in said
    assert said.endswith("verified\n")
    assert "at hand" not in said


def test_what_is_not_at_hand_is_said(root, capsys):
    root.predictions(PRUNED).unlink()
    (root.artifacts / RUNS["mc_dropout"].name / "model.safetensors").unlink()
    assert main(["verify", str(root.results), "--deep"]) == 0
    said = capsys.readouterr().out
    assert f"{PRUNED.name}: predictions not at hand" in said
    assert f"{RUNS['mc_dropout'].name}: weights not at hand" in said
    assert said.count("not at hand") == 2


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data(), st.booleans(), st.sampled_from(["runs.csv", "summary.csv"]))
def test_one_character_of_any_cell_is_found_and_the_cell_named(whole, data, pulled, name):
    path = whole.results / name
    before = path.read_text()
    rows = list(csv.reader(io.StringIO(before)))
    row = data.draw(st.integers(1, len(rows) - 1))
    column = data.draw(st.sampled_from([i for i, cell in enumerate(rows[row]) if cell]))
    cell = rows[row][column]
    at = data.draw(st.integers(0, len(cell) - 1))
    letter = data.draw(st.sampled_from("0123456789x").filter(lambda c: c != cell[at]))
    key = rows[row][rows[0].index("run")] if name == "runs.csv" else f"line {row + 1}"
    rows[row][column] = cell[:at] + letter + cell[at + 1 :]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    hidden = whole.folder / "elsewhere"
    try:
        path.write_text(text.getvalue())
        if not pulled:
            whole.artifacts.rename(hidden)
        assert whole.problems() == [
            f"{path}: {key}: {rows[0][column]}: {rows[row][column]}, recomputed {cell}"
        ]
    finally:
        path.write_text(before)
        if hidden.exists():
            hidden.rename(whole.artifacts)


def test_rows_columns_and_other_formats_are_covered(root):
    path = root.results / "runs.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert "missing" in root.problems()[0]
    path.write_text("".join([*lines, lines[-1]]))
    assert root.problems() == [f"{path}: line {len(lines) + 1}: nothing makes this row"]
    path.write_text("".join(lines).replace("accuracy,", "precision,", 1))
    assert root.problems() == [f"{path}: line 1: accuracy: precision, recomputed accuracy"]
    path.write_text("".join(lines))
    for name in ("summary.md", "summary.tex", "summary.json"):
        text = (root.results / name).read_text()
        (root.results / name).write_text(text.replace("1", "2", 1))
        assert f"{name}: line " in root.problems()[0]
        (root.results / name).unlink()
        assert "no such file" in root.problems()[0]
        (root.results / name).write_text(text)
    assert root.problems() == []


def test_every_metric_follows_from_predictions_to_1e_9(root):
    path = root.run(PRUNED) / "metrics.json"
    before = json.loads(path.read_text())
    # The share of live weights follows from the weights.
    floats = [n for n, v in before.items() if isinstance(v, float) and n != "live_weights"]
    names = [*floats, "member_nll", "combine"]
    assert {"nll", "ece", "brier", "accuracy_other", "heldout_nll", "disagreement"} <= set(names)
    for name in names:
        altered = dict(before)
        altered[name] = _moved(before[name], 2 * METRIC_TOLERANCE)
        write_json(path, altered)
        tables.write(SUITE, root.results)
        assert [f"{path}: {name}:" in line for line in root.problems()] == [True]
        altered[name] = _moved(before[name], METRIC_TOLERANCE / 4)
        write_json(path, altered)
        tables.write(SUITE, root.results)
        assert root.problems() == [] or name == "combine"


def _moved(value, by):
    if isinstance(value, list):
        return [value[0] + by, *value[1:]]
    return value + by if isinstance(value, float) else "probabilities"


def test_without_predictions_the_per_image_files_vouch_for_the_metrics(root):
    shutil.rmtree(root.artifacts)
    for name in ("accuracy", "nll", "disagreement"):
        path = root.run(PRUNED) / "metrics.json"
        before = path.read_text()
        root.edit(path, lambda m, name=name: m.update({name: m[name] + 0.01}))
        tables.write(SUITE, root.results)
        assert [f"{path}: {name}:" in line for line in root.problems()] == [True]
        path.write_text(before)


def test_an_edited_configuration_is_found(root):
    config = root.run(PRUNED) / "config.json"
    root.edit(config, lambda c: c["recipe"].update(lr=0.2))
    assert root.problems() == [f"{config}: recipe/lr: 0.2, expected 0.1"]


def test_an_edited_plan_is_found_even_where_the_configuration_follows(root):
    (plan,) = root.results.glob("plan-*.json")
    before = plan.read_text()
    for change in (
        lambda p: p["runs"][0]["identity"].update(epochs=2),
        lambda p: p["runs"][0].update(groups=["pai"]),
        lambda p: p.update(note="better"),
        lambda p: p.update(suite="other"),
    ):
        root.edit(plan, change)
        assert str(plan) in root.problems()[0]
        plan.write_text(before)

    def rename(value):
        for planned in value["runs"]:
            planned["identity"]["epochs"] = 2

    root.edit(plan, rename)
    assert "runs/0/name" in root.problems()[0]


def test_a_stranger_among_the_runs_is_found(root):
    (root.results / "runs" / "other").mkdir()
    assert root.problems() == [f"{root.results / 'runs' / 'other'}: not in the plan"]


def test_weights_of_another_run_are_found(root):
    first, second = (m.name for m in SUITE.runs[0].run.members())
    path = root.artifacts / first / "model.safetensors"
    shutil.copy(root.artifacts / second / "model.safetensors", path)
    assert root.problems() == [f"{path}: weights of another run than {first}"]


@pytest.mark.parametrize("name", ["predictions.npz", "model.safetensors"])
def test_a_damaged_artifact_is_named(root, name):
    path = root.artifacts / PRUNED.name / name
    path.write_bytes(path.read_bytes()[:100])
    assert [str(path) in line for line in root.problems()] == [True]


def test_an_ensemble_is_its_members(root):
    run = RUNS["deep_ensemble"]
    path = root.run(run) / "metrics.json"
    before = path.read_text()
    root.edit(path, lambda m: m.update(parameters=m["parameters"] - 1))
    tables.write(SUITE, root.results)
    assert [f"{path}: parameters:" in line for line in root.problems()] == [True]
    path.write_text(before)
    _forge(root, run)
    assert root.problems() == [
        f"{root.predictions(run)}: test_logits: not its members' predictions"
    ]


def _forge(root, run):
    """Put perfect predictions in a run's place, and all that follows from them."""
    with np.load(root.predictions(run)) as stored:
        arrays = dict(stored)
    sharp = 10 * np.eye(10, dtype=np.float16)[arrays["test_labels"]]
    arrays["test_logits"] = np.repeat(sharp[:, None], arrays["test_logits"].shape[1], axis=1)
    write_npz(root.predictions(run), arrays)
    rule = run.build_method().combine
    scores = evaluation.test_scores(arrays, rule)
    path = root.run(run) / "metrics.json"
    root.edit(path, lambda m: m.update(scores | early_exit_curve.scores(arrays, m)))
    images = evaluation.per_image(arrays["test_logits"], arrays["test_labels"], rule)
    write_npz(root.run(run) / "per_image.npz", images)
    tables.write(SUITE, root.results)


def test_forged_predictions_pass_every_check_but_the_deep_one(root):
    _forge(root, PRUNED)
    assert root.problems() == []
    (problem,) = root.problems(deep=True)
    assert f"{root.predictions(PRUNED)}: test_logits: image 0, member 0, class 0" in problem
    root.predictions(PRUNED).unlink()
    (problem,) = root.problems(deep=True)
    assert f"{root.run(PRUNED) / 'per_image.npz'}: nll: image" in problem


def test_an_altered_weight_and_its_costs_are_found_by_the_deep_check(root):
    path = root.artifacts / PRUNED.name / "model.safetensors"
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    name = next(n for n in tensors if n.startswith("heads") and n.endswith("weight"))
    tensors[name].view(-1)[0] += 1
    path.write_bytes(safetensors.torch.save(tensors, metadata))
    assert root.problems() == []
    assert [str(root.predictions(PRUNED)) in line for line in root.problems(deep=True)] == [
        True
    ] * 2
    metrics = root.run(PRUNED) / "metrics.json"
    root.edit(metrics, lambda m: m.update(macs_nonzero=m["macs_nonzero"] - 1))
    tables.write(SUITE, root.results)
    assert f"{metrics}: macs_nonzero:" in root.problems(deep=True)[0]
    root.edit(metrics, lambda m: m.update(macs_nonzero=m["macs_nonzero"] + 1, live_weights=0.1))
    tables.write(SUITE, root.results)
    assert f"{metrics}: live_weights: 0.1, recomputed " in root.problems(deep=True)[0]


def test_a_network_that_can_be_built_did_not_collapse(root):
    collapsed = next(p.run for p in SUITE.runs if p.run.settings.get("sparsity") == 0.999)
    assert json.loads((root.run(collapsed) / "metrics.json").read_text())["status"] == "collapsed"
    metrics = root.run(PRUNED) / "metrics.json"
    write_json(metrics, {"status": "collapsed", "reason": "so they say"})
    tables.write(SUITE, root.results)
    (problem,) = root.problems(deep=True)
    assert problem == f"{metrics}: status: collapsed, but the network can be built"


def test_the_deep_tolerance_is_far_below_what_changes_a_class():
    # Logits of this suite's images lie between -20 and 20: a tolerance of some hundredths.
    assert 20 * LOGIT_TOLERANCE < 0.1


def test_a_page_of_another_style_or_of_other_rows_is_stale_and_named(root, capsys):
    page = write_page(root.results)
    assert main(["verify", str(root.results)]) == 0
    assert "0 figures and 1 page drawn again" in capsys.readouterr().out
    drawn = page.read_text(encoding="utf-8")
    for before, after in (("--paper: #ffffff", "--paper: #fffffe"), ('"ok"', '"failed"')):
        assert before in drawn
        page.write_text(drawn.replace(before, after, 1), encoding="utf-8")
        assert main(["verify", str(root.results)]) == 1
        told = capsys.readouterr().out.splitlines()
        assert [line for line in told if str(page) in line] == [
            f"{page}: stale: not what the suite's tables and figures give; draw it again: "
            f"nfe-bench page {root.results}"
        ]
        assert told[-1] == "1 difference"
    assert main(["page", str(root.results)]) == 0
    assert root.problems() == []


def test_no_plan_is_one_clear_line(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "one plan-….json is needed" in said
    assert said.count("\n") == 1
