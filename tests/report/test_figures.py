"""Figures: what they show, that nothing is covered or clipped, and what became of lost runs."""

from dataclasses import replace
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from fabricated import CLASSES, fabricate
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text

from nfe.evaluation import metrics
from nfe.report import tables
from nfe.report.catalogue import FIGURES, FORMATS, available
from nfe.report.figures import draw, drawer, front, reliability, style
from nfe.report.figures.data import FigureData, read
from nfe.suite.expansion import expand

NFE = {"method": "nfe", "exits": 2}
DIVIDED = {**NFE, "granularity": "alternating", "scope": "layer", "pruning": "magnitude"}
CONFIG = {
    "suite": "invented",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 5,
    "seeds": 2,
    "groups": {
        "headline": [
            {"method": ["single", "deep_ensemble", "mimo", "exit_ensemble_distillation"]},
            {"method": "nfe", "exits": [2, 3]},
            {"method": ["single", "exit_ensemble_distillation"], "architecture": "wrn-10-2"},
        ],
        "sparsity": [{**NFE, "pruning": "snip", "sparsity": 0.5}],
        "pai": [
            {**NFE, "pruning": ["random", "snip"], "sparsity": [0.5, 0.9], "seeds": 3},
            {**NFE, "pruning": "synflow", "sparsity": [0.5, 0.9], "whole": "pointwise"},
            {**DIVIDED, "sparsity": [0.5, 0.9]},
            {**DIVIDED, "sparsity": [0.5, 0.9], "prune_channels": True},
        ],
        "grouping_ratio": [{**NFE, "ratio": ["0.3/0.7", "0.5/0.5"]}],
        "exits": [{**NFE, "exit_stages": ["1", "2"]}],
        "capacity": [{"method": ["single", "nfe"], "architecture": ["wrn-10-1", "wrn-10-2"]}],
        "longer": [{"method": "single", "epochs": epochs} for epochs in (10, 20)],
    },
}
FAILED, COLLAPSED, MISSING = (("random", 0.5, 0), ("random", 0.9, 0), ("snip", 0.9, 1))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A suite of which one run failed, one collapsed and one is missing; all for ``pai``."""
    folder = tmp_path_factory.mktemp("invented")
    suite = expand(CONFIG)

    def called(pruning, sparsity, seed):
        runs = [p.run for p in suite.runs if p.run.settings.get("pruning") == pruning]
        return [r.name for r in runs if (r.settings["sparsity"], r.seed) == (sparsity, seed)]

    fabricate(
        suite,
        folder,
        failed=called(*FAILED),
        collapsed=called(*COLLAPSED),
        missing=called(*MISSING),
        devices=("one GPU", "another GPU"),
    )
    tables.write(suite, folder, partial=True)
    return folder


def material(results, name):
    return read(results / "runs.csv", FIGURES[name])


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("data", [("digits", "all"), ("tiny-imagenet", "20-classes-250-per-class")])
@pytest.mark.parametrize("name", FIGURES)
def test_no_legend_covers_data_and_no_text_is_clipped(results, name, data):
    part = material(results, name)
    rows = part.rows.assign(dataset=data[0], subset=data[1])
    figure = drawer(name)(FigureData(rows, part.folder, part.missing))
    figure.canvas.draw()
    assert figure.get_figwidth() in (style.COLUMN, style.TEXT)
    axes = [ax for ax in figure.axes if ax.get_visible()]
    assert any(ax.has_data() for ax in axes)
    (legend,) = figure.legends
    boxes = [legend.get_window_extent(), figure._suptitle.get_window_extent()]
    boxes += [ax.get_tightbbox() for ax in axes]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    # In inches, around all that is drawn.
    drawn, size = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= -0.01
    assert drawn.y0 >= -0.01
    assert drawn.x1 <= size[0] + 0.01
    assert drawn.y1 <= size[1] + 0.01


@pytest.mark.parametrize("name", FIGURES)
def test_type_is_of_8_or_9_points(results, name):
    figure = drawer(name)(material(results, name))
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert {round(text.get_fontsize(), 2) for text in texts} <= {8, 9}


def test_a_front_is_drawn_among_equals_where_the_suite_ranks_and_nowhere_else(results):
    def fronts(part):
        figure = drawer("accuracy_vs_flops")(part)
        lines = [line.get_label() for ax in figure.axes for line in ax.lines]
        return lines.count("Pareto front of the headline"), figure.legends[0].get_title().get_text()

    part = material(results, "accuracy_vs_flops")
    assert fronts(part)[0] == 6
    count, told = fronts(replace(part, ranks=False))
    assert (count, "ranks nothing" in told) == (0, True)
    # One seed less of one setting, in one of the two networks' panels.
    lost = part.rows[(part.rows["method"] == "mimo") & (part.rows["seed"] == 0)].index
    count, told = fronts(part.of(part.rows.drop(index=lost)))
    words = " ".join(told.split())
    assert count in (3, 4)
    assert "differ in their number of seeds" in words


def test_every_lost_run_is_counted_beside_the_legend(results):
    figure = drawer("pai")(material(results, "pai"))
    told = " ".join(figure.legends[0].get_title().get_text().split())
    assert "Runs without a result: 1 failed, 1 collapsed, 1 missing." in told
    (strip,) = (child for ax in figure.axes for child in ax.child_axes)
    assert [text.get_text() for text in strip.texts] == ["Random"]
    lost = sorted((float(line.get_xdata()[0]), line.get_marker()) for line in strip.lines)
    assert lost == [(0.5, "+"), (0.9, "x")]
    # Off the scale: above the panel, not at an accuracy.
    parent = next(ax for ax in figure.axes if ax.child_axes)
    assert strip.get_window_extent().y0 >= parent.get_window_extent().y1


def test_pruned_networks_with_whole_layers_have_panels_of_their_own(results):
    figure = drawer("pai")(material(results, "pai"))
    shown = {}
    for ax in figure.axes:
        row = figure.axes[2 * (list(figure.axes).index(ax) // 2)]
        whole = "whole in every path: pointwise" in row.get_title("left").replace("\xa0", " ")
        shown.setdefault(whole, set()).update(ax.get_legend_handles_labels()[1])
    assert {"Random", "SNIP"} <= shown[False]
    assert shown[True] == {"SynFlow"}


def test_pruned_channels_have_lines_of_their_own_beside_other_divisions(results):
    figure = drawer("pai")(material(results, "pai"))
    labels = [
        set(ax.get_legend_handles_labels()[1])
        for ax in figure.axes
        if "division: alternating" in ax.get_title("left").replace("\xa0", " ")
    ]
    assert labels == [{"Magnitude", "Magnitude, channels"}]


def test_a_suite_of_which_all_runs_failed_still_has_its_figures(results):
    for name in FIGURES:
        part = material(results, name)
        lost = FigureData(part.rows.assign(status="failed"), part.folder, part.missing)
        figure = drawer(name)(lost)
        assert "failed" in figure.legends[0].get_title().get_text()
        plt.close(figure)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.floats(1, 9), st.floats(50, 99)), min_size=1, max_size=8))
def test_the_pareto_front_is_what_nothing_beats(pairs):
    figure, ax = plt.subplots()
    front.draw(ax, pd.DataFrame(pairs, columns=["cost", "accuracy"]))
    drawn = set(zip(*ax.lines[0].get_data(), strict=True))
    plt.close(figure)
    best = {
        (cost, accuracy)
        for cost, accuracy in pairs
        if not any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in pairs)
    }
    assert best <= drawn
    assert len(drawn) <= len(best) + 1


def test_one_curve_joins_the_lengths_of_the_single_network(results):
    figure = drawer("training_cost")(material(results, "training_cost"))
    rows = material(results, "training_cost").good
    single = rows[(rows["method"] == "single") & (rows["architecture"] == "wrn-10-1")]
    means = single.groupby("epochs")["accuracy"].mean()
    first = figure.axes[0]
    assert "5 to 20 epochs" in figure.get_suptitle().replace("\xa0", " ").replace("\n", " ")
    (curve,) = (line for line in first.lines if len(line.get_xdata()) == 3)
    assert curve.get_ydata() == pytest.approx(means.to_numpy())
    assert [text.get_text() for text in first.texts] == ["5", "10", "20"]


def test_divisions_of_the_weights_have_names_and_marks_of_their_own():
    whole = '{"granularity": "alternating"}'
    assert (
        style.name("nfe", 2, '{"granularity": "weight"}') == style.name("nfe", 2) == "NFE (M = 2)"
    )
    assert style.name("nfe", 2, whole) == "NFE (M = 2, alternating)"
    assert style.member_style("nfe", 2, whole) != style.member_style("nfe", 2)
    assert style.member_style("nfe", 2, '{"granularity": "weight"}') == style.member_style("nfe", 2)


def test_latencies_of_two_devices_are_never_in_one_panel(results):
    figure = drawer("accuracy_vs_flops")(material(results, "accuracy_vs_flops"))
    rows = material(results, "accuracy_vs_flops").good
    label = figure.axes[2].get_xlabel()
    (device,) = {d for d in rows["latency_device"].dropna() if f"{d}\n(1 more not shown)" in label}
    here = rows[rows["architecture"] == "wrn-10-1"]
    timed = here[here["latency_device"] == device].groupby(["method", "settings"]).ngroups
    marks = [[c for c in ax.containers if c.lines[0]] for ax in figure.axes]
    assert len(marks[2]) == timed < len(marks[0])


def test_gains_over_the_single_network_are_differences_of_seeds(results):
    rows = pd.read_csv(results / "runs.csv")
    figure = drawer("capacity")(material(results, "capacity"))
    drawn = [c for c in figure.axes[0].containers if c.get_label() == "NFE (M = 3)"]
    gains = [float(c.lines[0].get_ydata()[0]) for c in drawn]
    for network, gain in zip(("wrn-10-1", "wrn-10-2"), gains, strict=True):
        here = rows[(rows["architecture"] == network) & (rows["epochs"] == CONFIG["epochs"])]
        nfe = here[(here["method"] == "nfe") & (here["members"] == 3)].set_index("seed")
        single = here[here["method"] == "single"].set_index("seed")
        difference = (nfe["accuracy"] - single["accuracy"]).dropna()
        assert len(difference) == 2
        assert gain == pytest.approx(difference.mean())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99))
def test_reliability_diagrams_hold_the_calibration_error(seed):
    draws = np.random.default_rng(seed)
    logits, labels = draws.normal(0, 2, (60, 2, CLASSES)), draws.integers(0, CLASSES, 60)
    images = metrics.per_image(logits, labels, "logits")
    accuracy, count = reliability.bins(images["confidence"], images["correct"])
    index = np.ceil(images["confidence"] * metrics.BINS).astype(int) - 1
    mean = np.array(
        [images["confidence"][index == k].mean() if n else 0 for k, n in enumerate(count)]
    )
    gaps = np.abs(np.nan_to_num(accuracy) - mean) * count / 60
    log_probabilities = metrics.combined_log_probabilities(logits, "logits")
    assert gaps.sum() == pytest.approx(metrics.ece(log_probabilities, labels), abs=1e-5)


def test_the_same_files_give_the_same_bytes_in_every_format(results, tmp_path):
    for folder in ("first", "second"):
        draw("grouping_ratio", results / "runs.csv", tmp_path / folder)
    for kind in FORMATS:
        first, second = (tmp_path / f / f"grouping_ratio.{kind}" for f in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_a_figure_is_made_where_the_suite_has_its_first_group():
    assert available({"pai", "sparsity"}) == ["pai"]
    assert set(available({"headline"})) >= {"accuracy_vs_flops", "reliability", "calibration"}
    assert set(available(set(CONFIG["groups"]))) == set(FIGURES)


def test_tables_name_what_is_missing_and_count_what_was_lost(results):
    text = (results / "summary.md").read_text()
    assert "**Not finished and left out: 1 of " in text
    assert "1 of nfe on digits, wrn-10-1" in text
    assert "Not finished and left out" in (results / "summary.tex").read_text()
    summary = pd.read_csv(results / "summary.csv", dtype=str)
    lost = summary[summary["pruning"] == "random"].set_index("sparsity")
    assert lost.loc["0.5", ["seeds", "failed"]].tolist() == ["2", "1"]
    assert lost.loc["0.9", ["seeds", "collapsed"]].tolist() == ["2", "1"]


def test_published_numbers_stand_beside_ours_and_are_marked(tmp_path):
    config = {**CONFIG, "dataset": "cifar100", "architecture": "wrn-28-10", "seeds": 1}
    suite = expand({**config, "groups": {"headline": [{"method": ["single", "mimo"]}]}})
    fabricate(suite, tmp_path)
    tables.write(suite, tmp_path)
    text = (tmp_path / "summary.md").read_text()
    theirs = text.split("### Published, beside ours")[1]
    rows = [[cell.strip() for cell in line.split("|")] for line in theirs.splitlines()]
    (mimo,) = [row for row in rows if row[1:4] == ["mimo", "3", "82.0"]]
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("method")
    assert mimo[4] == f"{summary.loc['mimo', 'accuracy_mean']:.2f}"
    assert "google/uncertainty-baselines" in mimo[9]
    # None of theirs under a heading of ours, nor in the files that programs read.
    assert "82.0 " not in text.split("### Published")[0]
    assert "published" not in (tmp_path / "summary.csv").read_text()


def test_settings_that_differ_in_anything_have_names_of_their_own(tmp_path):
    entry = {**NFE, "distillation": [0, 1], "whole": ["none", "pointwise"], "seeds": 1}
    suite = expand({**CONFIG, "groups": {"headline": [entry]}})
    fabricate(suite, tmp_path)
    names = tables.labels(tables.summary_rows(tables.run_rows(suite, tmp_path)))
    assert len(set(names)) == 4
    assert sum("whole pointwise" in name for name in names) == 2
    assert sum("distillation 0" in name for name in names) == 2
