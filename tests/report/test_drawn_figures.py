"""The released figures, read back from their SVGs and compared with the released tables."""

import re
from functools import cache

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from drawn import Drawing

from nfe.common.files import read_json
from nfe.evaluation.metrics import BINS
from nfe.report.catalogue import FIGURES

DRAWN = sorted((ROOT / "figures").glob("*/*.svg"))
SETTING = ["method", "members", "settings", "recipe", "epochs", "architecture"]
COSTS = (("macs_nonzero", 2), ("macs_dense", 2), ("latency_ms", 1))
PAIRS = (("nll", "accuracy"), ("ece", "accuracy"), ("ece", "nll"))
GAINS = (("accuracy", 1), ("nll", -1))


@cache
def table(suite):
    kinds = {"grouping_ratio": str, "exit_stages": str, "member_accuracy": str}
    return pd.read_csv(ROOT / "results" / suite / "runs.csv", dtype=kinds)


def rows_of(path):
    rows = table(path.parent.name)
    groups = FIGURES[path.stem]
    return rows[rows["groups"].str.split("/").map(lambda g: not set(groups).isdisjoint(g))]


def settings(rows):
    """Return the seeds of each setting by the name of their first run."""
    good = rows[rows["status"] == "ok"]
    return {s["run"].iloc[0]: s for _, s in good.groupby(SETTING, dropna=False, sort=False)}


def figures(*names):
    found = [path for path in DRAWN if path.stem in names]
    assert {path.stem for path in found} == set(names)
    return pytest.mark.parametrize("path", found, ids=lambda p: f"{p.parent.name}/{p.stem}")


def close(found, right):
    """Marks stand where they should, to a hundredth of a point of the page."""
    assert found == pytest.approx(right, rel=2e-4, abs=2e-5)


def member(seeds, number):
    return float(seeds["member_accuracy"].str.split("/").str[number - 1].astype(float).mean())


@figures("accuracy_vs_flops")
def test_marks_stand_at_their_costs_and_accuracies(path):
    drawing, wanted = Drawing(path), settings(rows_of(path))
    for column, panel in enumerate(drawing.panels):
        cost, factor = COSTS[column % 3]
        shown = wanted
        if cost.startswith("latency"):
            # Times of two devices do not compare: those of the most frequent one are drawn.
            device = pd.concat(wanted.values())["latency_device"].mode()
            shown = {r: s for r, s in wanted.items() if s["latency_device"].isin(device[:1]).all()}
        there = {run for run, s in shown.items() if s[cost].notna().all()}
        marks = panel.marks()
        assert set(marks) == there
        for run, ((x, y),) in marks.items():
            close((x, y), (factor * wanted[run][cost].mean(), wanted[run]["accuracy"].mean()))


@figures("accuracy_vs_flops")
def test_a_front_is_what_nothing_beats_among_equals_or_is_not_there(path):
    suite = path.parent.name
    (plan,) = (ROOT / "results" / suite).glob("plan-*.json")
    drawing, rows = Drawing(path), rows_of(path)
    wanted = {
        run: s for run, s in settings(rows).items() if "headline" in s["groups"].iloc[0].split("/")
    }
    ranks = read_json(plan).get("ranks", True) and len({len(s) for s in wanted.values()}) == 1
    for column, panel in enumerate(drawing.panels):
        front = panel.line("front@")
        assert bool(front) == ranks
        if not ranks:
            continue
        cost, factor = COSTS[column % 3]
        places = [(factor * s[cost].mean(), s["accuracy"].mean()) for s in wanted.values()]
        best = {
            (c, a)
            for c, a in places
            if not any(d <= c and b >= a and (d, b) != (c, a) for d, b in places)
        }
        for c, a in best:
            assert any(np.allclose((c, a), corner, rtol=2e-4) for corner in front)
        heights = [accuracy for _, accuracy in best]
        assert all(np.isclose(heights, height, rtol=2e-4).any() for _, height in front)
    assert ranks or "No Pareto front" in drawing.words


@figures("calibration")
def test_marks_stand_at_their_metrics(path):
    wanted = settings(rows_of(path))
    for column, panel in enumerate(Drawing(path).panels):
        x, y = PAIRS[column % 3]
        marks = panel.marks()
        assert set(marks) == set(wanted)
        for run, (place,) in marks.items():
            close(place, (wanted[run][x].mean(), wanted[run][y].mean()))


@figures("training_cost")
def test_marks_stand_at_what_a_training_costs(path):
    wanted = settings(rows_of(path))
    for panel, metric in zip(Drawing(path).panels, ("accuracy", "nll"), strict=True):
        marks = panel.marks()
        assert set(marks) == set(wanted)
        for run, (place,) in marks.items():
            close(place, (wanted[run]["train_macs"].mean(), wanted[run][metric].mean()))


@figures("pai")
def test_pruned_networks_stand_at_their_sparsity_and_cost_and_lost_ones_off_the_scale(path):
    drawing, rows = Drawing(path), rows_of(path)
    wanted = settings(rows[rows["pruning"] != "none"])
    seen = set()
    for number, panel in enumerate(drawing.panels):
        for run, (place,) in panel.marks().items():
            seen.add(run)
            seeds = wanted[run]
            x = 2 * seeds["macs_nonzero"].mean() if number % 2 else seeds["sparsity"].iloc[0]
            close(place, (x, seeds["accuracy"].mean()))
    assert seen == set(wanted)
    lost = (rows["status"] != "ok").sum()
    assert (f"{lost} collapsed" in drawing.words) == bool(lost)
    assert ("off the" in drawing.words) == bool(lost)


@figures("capacity")
def test_gains_are_differences_of_seeds(path):
    rows = rows_of(path)
    single = rows[rows["method"] == "single"].set_index(["architecture", "seed"])
    for panel, (metric, sign) in zip(Drawing(path).panels, GAINS, strict=True):
        marks = panel.marks()
        assert marks
        for name, (place,) in marks.items():
            first = rows[rows["run"] == name.partition(":")[0]].iloc[0]
            same = (rows["settings"] == first["settings"]) & (rows["method"] == first["method"])
            seeds = rows[same & (rows["architecture"] == first["architecture"])]
            keys = list(zip(seeds["architecture"], seeds["seed"], strict=True))
            gain = sign * (seeds[metric].to_numpy() - single.loc[keys, metric].to_numpy())
            assert place[1] == pytest.approx(gain.mean(), rel=1e-3, abs=5e-4)


@figures("grouping_ratio")
def test_shares_and_accuracies_of_exits_and_ensemble(path):
    wanted = settings(rows_of(path))
    drawing = Drawing(path)
    marks = {k: v for panel in drawing.panels for k, v in panel.marks().items()}
    for run, seeds in wanted.items():
        share = float(seeds["grouping_ratio"].iloc[0].split("/")[0])
        close(marks[f"{run}:ensemble"][0], (share, seeds["accuracy"].mean()))
        for k in (1, 2):
            close(marks[f"{run}:exit {k}"][0], (share, member(seeds, k)))
    assert len(marks) == 3 * len(wanted)


@figures("exits", "exit_places")
def test_members_ensembles_and_gains(path):
    wanted = {run: s for run, s in settings(rows_of(path)).items() if s["members"].iloc[0] > 1}
    drawing = Drawing(path)
    left, right = drawing.panels
    marks, gains = left.marks(), right.marks()
    said = " ".join(drawing.words.split())
    assert ("the first 8 are shown" in said) == any(
        s["members"].iloc[0] > 8 for s in wanted.values()
    )
    assert {name for name in marks if ":" not in name} == set(wanted)
    for run, seeds in wanted.items():
        close(left.marks()[run][0][0], seeds["accuracy"].mean())
        count = int(seeds["members"].iloc[0])
        alone = [member(seeds, k) for k in range(1, count + 1)]
        for k, right_value in enumerate(alone[:8], start=1):
            close(marks[f"{run}:{k}"][0][0], right_value)
        gain = seeds["accuracy"].mean() - np.mean(alone)
        x, y = gains[f"{run}:gain"][0]
        assert (x, y) == pytest.approx((seeds["disagreement"].mean(), gain), rel=1e-3, abs=5e-3)


@figures("early_exit")
def test_curves_begin_at_the_first_exit_and_end_at_the_ensemble(path):
    suite = path.parent.name
    for panel in Drawing(path).panels:
        for run, seeds in settings(rows_of(path)).items():
            folders = [ROOT / "results" / suite / "runs" / name for name in seeds["run"]]
            found = [read_json(folder / "metrics.json")["early_exit"] for folder in folders]
            mean = np.array(found, dtype=float).mean(axis=0)
            line = panel.line(f"curve:{run}@")
            for corner, right in ((line[0], mean[0]), (line[-1], mean[-1])):
                close(corner, (2 * right[2], right[1]))


@figures("reliability")
def test_bars_are_the_shares_of_images_right(path):
    suite = path.parent.name
    panels = Drawing(path).panels
    for panel, seeds in zip(panels, settings(rows_of(path)).values(), strict=True):
        shares = []
        for run in seeds["run"]:
            images = np.load(ROOT / "results" / suite / "runs" / run / "per_image.npz")
            place = np.ceil(images["confidence"].astype(np.float64) * BINS).astype(int) - 1
            shares.append(
                [
                    images["correct"][place == k].mean() if (place == k).any() else np.nan
                    for k in range(BINS)
                ]
            )
        right = pd.DataFrame(shares).mean()
        for k, height in panel.bars().items():
            assert height == pytest.approx(right[k], abs=5e-3)
        assert set(panel.bars()) == set(right.dropna().index)


@pytest.mark.parametrize("path", DRAWN, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_numbers_of_seeds_are_written(path):
    counts = {len(seeds) for seeds in settings(rows_of(path)).values()}
    if path.stem in ("exits", "exit_places"):
        counts = {len(s) for s in settings(rows_of(path)).values() if s["members"].iloc[0] > 1}
    words = re.sub(r"\s+", " ", Drawing(path).words)
    listed = {
        int(n) for text in re.findall(r"n = (\d+(?: or \d+)*)", words) for n in text.split(" or ")
    }
    assert listed >= counts


@pytest.mark.parametrize("path", sorted((ROOT / "figures").glob("*/*.pdf")), ids=lambda p: p.stem)
def test_fonts_are_ones_that_venues_take(path):
    content = path.read_bytes()
    assert b"/Type3" not in content
    assert b"/FontFile2" in content
