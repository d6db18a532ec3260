"""Finished runs → runs.csv, summary.csv, summary.md, summary.tex."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

from nfe.common.errors import InputError
from nfe.common.files import csv_bytes, read_json, write_bytes
from nfe.report import comparison, curves, evaluations, literature, selection, summaries
from nfe.report.catalogue import method_name
from nfe.report.reading import read
from nfe.report.release import manifest
from nfe.report.schema import (
    COSTS,
    METRICS,
    MORE_METRICS,
    RUNS,
    SCHEMA_VERSION,
    SCHEMAS,
    SETTING,
    SINCE_2,
    added,
    text,
)
from nfe.report.statistics import summarize
from nfe.suite.expansion import MEMBERS, Planned, Suite
from nfe.suite.outputs import RESULT_FILES, network_name

Row = dict[str, str]

# Further statistics: the choice's criterion in tuning, and the other rule of combining members.
FURTHER = ("heldout_nll", "accuracy_other", "nll_other", "ece_other")
RECIPE = ("lr", "weight_decay", "batch_size")
SUMMARY = (
    *SETTING,
    "settings",
    "epochs",
    "seeds",
    "failed",
    "collapsed",
    *summaries.columns(METRICS),
    *COSTS,
    "latency_ms",
    "latency_device",
    "train_seconds_mean",
    "groups",
    *RECIPE,
    *summaries.columns(FURTHER),
    "recipe",
    "schema",
)


def written_schema(suite: Suite, results: Path) -> int:
    """Return the schema in which a suite's tables are written.

    The tables of a plan that is released stay in the schema of its last release, however often
    they are rebuilt; all others are in the newest.
    """
    versions = manifest.releases(results)
    if not versions:
        return SCHEMA_VERSION
    folder = results / "releases" / versions[-1]
    if read_json(folder / manifest.NAME)["plan"] != suite.digest:
        return SCHEMA_VERSION
    return _schema_of(folder / "runs.csv") or SCHEMA_VERSION


def found_schema(suite: Suite, results: Path) -> int:
    """Return the schema of the tables that are there; of none, or damaged ones, that to write."""
    table = results / "runs.csv"
    found = _schema_of(table) if table.exists() else None
    return found or written_schema(suite, results)


def _schema_of(table: Path) -> int | None:
    """Return the one schema that the rows of a runs.csv name; None where it is not known."""
    cells = set(read(table, ("schema",), dtype=str, keep_default_na=False)["schema"])
    named = [schema for schema in SCHEMAS if cells == {str(schema)}]
    return named[0] if named else None


def run_rows(
    suite: Suite, results: Path, partial: bool = False, schema: int = SCHEMA_VERSION
) -> list[Row]:
    """Return one row per run of the suite, in the suite's order.

    Args:
        suite: the plan.
        results: the suite's results folder.
        partial: leave out runs that are neither finished nor failed, instead of refusing.
        schema: of the rows.

    Raises:
        InputError: a run's results are missing.
    """
    rows = []
    for planned in suite.runs:
        folder = results / "runs" / planned.run.name
        if all((folder / name).exists() for name in RESULT_FILES):
            rows.append(_cells(_values(suite, planned, folder, results), schema))
        elif (folder / "failure.json").exists():
            failed = {"status": "failed"}
            rows.append(_cells(_identity(suite, planned) | failed, schema))
        elif not partial:
            raise InputError(f"{folder}: the run is not finished; --partial leaves it out")
    return rows


def _identity(suite: Suite, planned: Planned) -> dict[str, Any]:
    run = planned.run
    settings = dict(run.settings)
    return {
        "suite": suite.name,
        "dataset": run.dataset,
        "resolution": run.resolution,
        "subset": run.subset,
        "architecture": run.architecture,
        "method": run.method,
        "members": run.method_settings().ensemble_size(),
        "exit_stages": settings.get("exit_stages"),
        "pruning": settings.get("pruning"),
        "sparsity": settings.get("sparsity"),
        "grouping": settings.get("grouping"),
        "grouping_ratio": settings.get("ratio"),
        "protocol": run.protocol,
        "settings": json.dumps(settings, sort_keys=True),
        "seed": run.seed,
        "epochs": run.epochs,
        "member_runs": [m.name for m in run.members()] or None,
        "run": run.name,
        "groups": list(planned.groups),
        "precision": run.precision,
        "threads": run.threads,
        "lr": run.recipe.lr,
        "weight_decay": run.recipe.weight_decay,
        "batch_size": run.recipe.batch_size,
        "recipe": json.dumps(run.recipe.record(), sort_keys=True),
        "audit": str(run.audit).lower(),
        "untuned": str(run.protocol == "equal" and run.method in suite.untuned).lower(),
    }


def _values(suite: Suite, planned: Planned, folder: Path, results: Path) -> dict[str, Any]:
    if read_json(folder / "config.json") != planned.run.identity():
        raise InputError(f"{folder / 'config.json'}: not the run that the suite plans")
    metrics = read_json(folder / "metrics.json")
    timing = read_json(folder / "timing.json")
    own = ("status", "members", "combine", "member_accuracy", "live_weights")
    kept = (*own, *METRICS, *COSTS, *MORE_METRICS)
    values = _identity(suite, planned) | {k: metrics[k] for k in kept if k in metrics}
    values |= {k: timing[k] for k in ("train_seconds", "device")}
    latency = results / "latency" / f"{network_name(planned.run)}.json"
    if latency.exists():
        measured = read_json(latency)
        values |= {k: measured[k] for k in ("latency_ms", "latency_ms_batch128", "latency_device")}
    return values


def _cells(values: dict[str, Any], schema: int) -> Row:
    values = values | {"schema": schema}
    return {c: text(c, values.get(c), schema) for c in (*RUNS, *added(schema))}


def setting_key(row: Row) -> tuple[str, ...]:
    """Return what makes two rows seeds of one setting."""
    # A collapsed run has no members to count; the settings tell it apart all the same.
    columns = [c for c in SETTING if c != "members"]
    others = ("settings", "epochs", "precision", "threads", "recipe", "audit")
    return tuple(row[c] for c in (*columns, *others))


def summary_rows(rows: Iterable[Row]) -> list[Row]:
    """Return one row per setting: mean, standard deviation and 95 % interval over its seeds.

    Runs that are only members of others do not count as seeds.
    """
    return [_summary(seeds) for seeds in by_setting(rows)]


def by_setting(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows of each setting, in the order of the summary."""
    settings: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row["groups"] != MEMBERS:
            settings.setdefault(setting_key(row), []).append(row)
    return list(settings.values())


def _summary(seeds: Sequence[Row]) -> Row:
    good = [row for row in seeds if row["status"] == "ok"]
    first = good[0] if good else seeds[0]
    constant = (*SETTING, "settings", "epochs", *RECIPE, "latency_ms", "latency_device")
    summary = {column: first[column] for column in (*constant, "recipe", "schema")}
    summary |= {column: first[column] for column in SINCE_2 if column in first}
    # Each seed prunes other weights, so the costs on what is left differ from seed to seed.
    summary |= {column: _mean_count([row[column] for row in good]) for column in COSTS}
    if "live_weights" in first:
        live = [float(row["live_weights"]) for row in good if row["live_weights"]]
        summary["live_weights"] = text("live_weights", summarize(live)["mean"])
    summary["seeds"] = str(len(good))
    summary |= {s: str(sum(r["status"] == s for r in seeds)) for s in ("failed", "collapsed")}
    groups = dict.fromkeys(group for row in seeds for group in row["groups"].split("/"))
    summary["groups"] = "/".join(groups)
    for metric in (*METRICS, *FURTHER):
        values = [float(row[metric]) for row in good if row[metric]]
        summary |= summaries.cells(metric, values)
    seconds = [float(row["train_seconds"]) for row in good]
    summary["train_seconds_mean"] = text("train_seconds", summarize(seconds)["mean"])
    return summary


def _mean_count(cells: Sequence[str]) -> str:
    """Return the mean of whole numbers, rounded: exact where they are equal, however large."""
    return str(round(Fraction(sum(map(int, cells)), len(cells)))) if cells else ""


SHOWN = (
    ("method", "method"),
    ("members", "M"),
    ("setting", "setting"),
    ("seeds", "seeds"),
    ("accuracy", "accuracy %"),
    ("nll", "NLL"),
    ("ece", "ECE"),
    ("brier", "Brier"),
    ("disagreement", "disagreement"),
    ("nonzero_parameters", "non-zero parameters"),
    ("macs_nonzero", "MACs non-zero"),
    ("macs_dense", "MACs dense"),
    ("train_macs", "training MACs"),
    ("latency_ms", "latency ms"),
)


# Settings with a column, or words, of their own.
_TOLD = ("members", "exits", "exit_stages", "pruning", "sparsity", "grouping", "ratio")


def _compared(rows: Sequence[Row]) -> set[tuple[str, str]]:
    """Return the fields in which rows of a method differ, each with that method's name."""
    values: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for key, value in details(row).items():
            values.setdefault((row["method"], key), set()).add(str(value))
    return {field for field, found in values.items() if len(found) > 1}


def details(row: Row) -> dict[str, Any]:
    """Return the settings that have no column of their own, by name."""
    settings = json.loads(row["settings"])
    further = {key: text(key, value) for key, value in settings.items() if key not in _TOLD}
    return {**json.loads(row["recipe"]), **further}


def setting_words(row: Row, compared: set[tuple[str, str]]) -> str:
    """Return what tells a summary row from the others of its method, in words.

    A setting in which one method's rows differ is told of all methods that have it; of the recipe,
    which all have, only what the method's own rows differ in.
    """
    recipe, keys = json.loads(row["recipe"]), {key for _, key in compared}
    told = {
        key: value
        for key, value in details(row).items()
        if (row["method"], key) in compared or (key in keys and key not in recipe)
    }
    about = {
        "pruning": row["pruning"] if row["pruning"] != "none" else "",
        "s": row["sparsity"] if row["pruning"] != "none" else "",
        "ratio": row["grouping_ratio"],
        "exits after": row["exit_stages"],
        "recipe": "not tuned" if row.get("untuned") == "true" else "",
        **{key.replace("_", " "): value for key, value in told.items()},
    }
    return ", ".join(f"{k} {v}" for k, v in about.items() if v not in ("", None))


def _shown(row: Row, compared: set[tuple[str, str]]) -> list[str]:
    """Return a summary row as a reader wants to see it."""
    cells = {
        **row,
        "setting": setting_words(row, compared),
        **{m: _with_interval(row, m) for m in METRICS},
    }
    for column in ("nonzero_parameters", "macs_nonzero", "macs_dense", "train_macs"):
        cells[column] = _short(row[column])
    lost = [f"{row[s]} {s}" for s in ("failed", "collapsed") if int(row[s])]
    cells["seeds"] = ", ".join([row["seeds"], *lost])
    return [cells[column] for column, _ in SHOWN]


_READER_DECIMALS = {"accuracy": 2, "nll": 4, "ece": 4, "brier": 4, "disagreement": 4}


def _with_interval(row: Row, metric: str) -> str:
    """Return ``mean ± half-width`` (95 % interval; standard deviation under 3 seeds)."""
    if not row[f"{metric}_mean"]:
        return "–"
    decimals = _READER_DECIMALS[metric]
    mean = f"{float(row[f'{metric}_mean']):.{decimals}f}"
    for statistic, mark in (("ci95", ""), ("std", " (sd)")):
        if row[f"{metric}_{statistic}"]:
            return f"{mean} ± {float(row[f'{metric}_{statistic}']):.{decimals}f}{mark}"
    return mean


def _short(number: str) -> str:
    if not number:
        return "–"
    value = float(number)
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


LEGEND = (
    "One row a setting. ±: half-width of the Student-t 95 % interval over seeds; sd: standard "
    "deviation, where there are fewer than 3 seeds. MACs: multiply-adds of one image's ensemble "
    "prediction; FLOPs = 2 × MACs."
)


def title(row: Row) -> str:
    """Return what a row's setting was trained and tested on."""
    return (
        f"{row['dataset']} {row['resolution']}×{row['resolution']} ({row['subset']}), "
        f"{row['architecture']}, {row['epochs']} epochs, protocol {row['protocol']}"
    )


def _sections(rows: Sequence[Row], devices: bool = True) -> dict[str, list[Row]]:
    sections: dict[str, list[Row]] = {}
    for row in rows:
        timed = devices and row["latency_device"]
        device = f", latency on {row['latency_device']}" if timed else ""
        sections.setdefault(title(row) + device, []).append(row)
    return sections


def absent(suite: Suite, rows: Sequence[Row]) -> str:
    """Return in words which planned runs have no row in runs.csv; empty where all have."""
    there = {row["run"] for row in rows}
    lost = [planned.run for planned in suite.runs if planned.run.name not in there]
    if not lost:
        return ""
    kinds = Counter(f"{run.method} on {run.dataset}, {run.architecture}" for run in lost)
    told = "; ".join(f"{count} of {kind}" for kind, count in kinds.items())
    return f"Not finished and left out: {len(lost)} of {len(suite.runs)} planned runs: {told}."


def markdown(suite: Suite, rows: Sequence[Row], missing: str = "") -> str:
    """Return the summary as Markdown; ``missing`` says which runs are left out."""
    lines = [f"# Results of suite {suite.name}", "", suite.note, "", LEGEND]
    lines += ["", f"**{missing}**"] if missing else []
    for title, section in _sections(rows).items():
        lines += ["", f"## {title}", ""]
        lines.append("| " + " | ".join(name for _, name in SHOWN) + " |")
        lines.append("|" + "---|" * len(SHOWN))
        compared = _compared(section)
        lines += ["| " + " | ".join(_shown(row, compared)) + " |" for row in section]
        if theirs := literature.cells(section, _with_interval):
            lines += ["", f"### {literature.TITLE}", "", literature.NOTE, ""]
            lines += [f"| {' | '.join(literature.HEADER)} |", "|" + "---|" * len(literature.HEADER)]
            lines += [f"| {' | '.join(cells)} |" for cells in theirs]
    return "\n".join(lines) + "\n"


_TEX = {
    "%": r"\%",
    "±": r"$\pm$",
    "–": "--",
    "×": r"$\times$",
    "_": r"\_",
    "&": r"\&",
    "#": r"\#",
    "“": "``",
    "”": "''",
}


def _tex(cell: str) -> str:
    return "".join(_TEX.get(character, character) for character in cell)


# Narrower than a page's text where it must be; the package graphicx has the command.
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
# Lines of a table that a page holds.
_LINES = 40


def _tabular(
    title: str, columns: str, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[str]:
    """Yield the lines of as many tables as the rows take, each no larger than a page."""
    for start in range(0, len(rows), _LINES):
        more = " (continued)" if start else ""
        yield from (r"\begin{table}", r"\centering\footnotesize")
        yield rf"\caption{{{_tex(title + more)}}}"
        yield from (_FITTED, rf"\begin{{tabular}}{{{columns}}}", r"\toprule")
        yield " & ".join(map(_tex, header)) + r" \\"
        yield r"\midrule"
        for cells in rows[start : start + _LINES]:
            yield " & ".join(map(_tex, cells)) + r" \\"
        yield from (r"\bottomrule", r"\end{tabular}}", r"\end{table}")


# Which setting it is; the columns of a first table, and of a second one beside the same.
_NAMING = ("method", "members", "setting")
_HEADLINE = ("seeds", "accuracy", "nll", "ece")


def latex(suite: Suite, rows: Sequence[Row], missing: str = "") -> str:
    """Return the summary as LaTeX tables (packages booktabs and graphicx).

    What the headline is about stands in a first table, the other columns in a second one.
    """
    lines = [f"% Suite {suite.name}. {suite.note}", f"% {LEGEND}"]
    lines += [f"% {missing}", _tex(missing)] if missing else []
    rest = tuple(column for column, _ in SHOWN if column not in (*_NAMING, *_HEADLINE))
    for title, section in _sections(rows).items():
        compared = _compared(section)
        shown = [
            dict(zip(dict(SHOWN), _shown(row, compared), strict=True))
            | {"method": method_name(row["method"])}
            for row in section
        ]
        for columns, words in ((_HEADLINE, ""), (rest, "Further metrics and costs. ")):
            chosen = (*_NAMING, *columns)
            cells = [[row[column] for column in chosen] for row in shown]
            header = [dict(SHOWN)[column] for column in chosen]
            lines += _tabular(f"{words}{title}", f"lll{'r' * len(columns)}", header, cells)
        if theirs := literature.cells(section, _with_interval):
            caption = f"{title}. {literature.TITLE}. {literature.NOTE}"
            lines += _tabular(caption, "llrrrrrrp{4cm}p{6cm}", literature.HEADER, theirs)
    return "\n".join(lines) + "\n"


def displayed(summary: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Return for each summary row its section's title and the cells of the columns ``SHOWN``.

    Sections are those of any device: what was not timed stands beside what was.
    """
    found: dict[int, tuple[str, list[str]]] = {}
    for title, section in _sections(summary, devices=False).items():
        compared = _compared(section)
        found |= {id(row): (title, _shown(row, compared)) for row in section}
    return [found[id(row)] for row in summary]


def labels(summary: Sequence[Row]) -> list[str]:
    """Return a short name of each summary row's setting, each name once, on whatever device."""
    named: dict[int, str] = {}
    for title, section in _sections(summary, devices=False).items():
        compared = _compared(section)
        for row in section:
            members = f"M {row['members']}" if row["members"] else ""
            words = (row["method"], members, setting_words(row, compared))
            label = ", ".join(word for word in words if word)
            named[id(row)] = f"{title}: {label}" if label in named.values() else label
    return [named[id(row)] for row in summary]


def by_label(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of runs.csv of each setting, by its label."""
    return dict(zip(labels(summary_rows(rows)), by_setting(rows), strict=True))


def read_settings(results: Path) -> dict[str, list[Row]]:
    """Return the rows of a suite's runs.csv, by label.

    Raises:
        InputError: there is no such table.
    """
    return by_label(read_runs(results / "runs.csv"))


def read_runs(table: Path) -> list[Row]:
    """Return the rows of a runs.csv.

    Raises:
        InputError: there is no such table.
    """
    rows = read(table, RUNS, dtype=str, keep_default_na=False).to_dict("records")
    return cast(list[Row], rows)


def metrics_json(summary: Sequence[Row]) -> bytes:
    """Return the settings' means as nested JSON, which ``dvc metrics`` reads.

    Numbers are the table's own text, so that a change here is a change there.
    """
    nested: dict[str, dict[str, float]] = {}
    for label, row in zip(labels(summary), summary, strict=True):
        means = {metric: row[f"{metric}_mean"] for metric in METRICS}
        nested[label] = {metric: float(mean) for metric, mean in means.items() if mean}
    return (json.dumps(nested, indent=1, allow_nan=False) + "\n").encode()


def contents(
    suite: Suite, results: Path, partial: bool = False, schema: int = SCHEMA_VERSION
) -> dict[str, bytes]:
    """Return every table by file name, rebuilt from the runs' files.

    Raises:
        InputError: a run's results are missing.
    """
    rows = run_rows(suite, results, partial, schema)
    summary = summary_rows(rows)
    seeds = by_label(rows)
    pairs = comparison.suite_pairs(seeds, suite.comparisons)
    compared = comparison.rows(seeds, pairs, results / "runs")
    evaluated = evaluations.rows(seeds, results / "runs")
    audited = selection.rows(seeds, results / "runs")
    return {
        "runs.csv": csv_bytes((*RUNS, *added(schema)), rows),
        "curves.csv": csv_bytes(curves.COLUMNS, curves.rows(seeds, results / "runs")),
        "summary.csv": csv_bytes((*SUMMARY, *added(schema)), summary),
        "comparisons.csv": csv_bytes(comparison.COLUMNS, comparison.cells(compared)),
        "summary.json": metrics_json(summary),
        "summary.md": markdown(suite, summary, absent(suite, rows)).encode(),
        "summary.tex": latex(suite, summary, absent(suite, rows)).encode(),
        **({"evaluation.csv": csv_bytes(evaluations.COLUMNS, evaluated)} if evaluated else {}),
        **({"selection.csv": csv_bytes(selection.COLUMNS, audited)} if audited else {}),
    }


def write(suite: Suite, results: Path, partial: bool = False) -> None:
    """Write the suite's tables, and beside them the plan that they were made from.

    Raises:
        InputError: a run's results are missing.
    """
    schema = written_schema(suite, results)
    if schema == 1:
        # Neither these tables nor the plan beside them knew of it.
        suite = dataclasses.replace(suite, untuned=())
    for name, content in contents(suite, results, partial, schema).items():
        write_bytes(results / name, content)
    plan = results / f"plan-{suite.digest}.json"
    for old in results.glob("plan-*.json"):
        if old != plan:
            old.unlink()
    write_bytes(plan, (json.dumps(suite.record(), indent=1) + "\n").encode())
