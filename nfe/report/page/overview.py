"""One page over all released suites, results/index.html: python -m nfe.report.page.overview

Of each suite: the latest version of its tables, what they hold, the headline's rows, and where
page, tables and changes stand. Plain HTML: no script, no network. ``nfe-bench release`` writes it
again.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import quote

from nfe.common.errors import InputError
from nfe.common.files import read_json, write_bytes
from nfe.report.page import titles
from nfe.report.page.labels import short
from nfe.report.release import manifest
from nfe.report.tables import LEGEND, SHOWN, Row, displayed, read_runs, title

# Of the headline's rows, behind the name.
_COLUMNS = ("seeds", "accuracy", "nll", "ece", "macs_nonzero", "nonzero_parameters")
_FILES = ("runs.csv", "summary.csv", "comparisons.csv", "summary.md")


def write(root: Path) -> Path:
    """Write the page over the released suites in ``root``/results.

    Returns:
        The page's path.

    Raises:
        InputError: no suite is released, or a manifest or a table is missing or damaged.
    """
    folders = sorted(path.parent for path in (root / "results").glob("*/releases"))
    released = {folder: versions for folder in folders if (versions := manifest.releases(folder))}
    if not released:
        raise InputError(f"{root / 'results'}: no released suite")
    examples = [f"{folder.name} {versions[-1]}" for folder, versions in released.items()]
    page = files("nfe.report.page")
    text = Template(page.joinpath("overview.html").read_text(encoding="utf-8")).substitute(
        style=page.joinpath("page.css").read_text(encoding="utf-8"),
        example=escape(examples[0]),
        legend=escape(LEGEND),
        sections="\n".join(_section(*suite) for suite in released.items()),
    )
    write_bytes(root / "results" / manifest.PAGE, text.encode())
    return root / "results" / manifest.PAGE


def _section(results: Path, versions: Sequence[str]) -> str:
    *earlier, version = versions
    record = read_json(results / "releases" / version / manifest.NAME)
    # The copy that does not change, whatever is under way beside it.
    rows = read_runs(results / "releases" / version / "runs.csv")
    failed = Counter(row["status"] for row in rows if row["status"] != "ok")
    settings = _read(results / "releases" / version / "summary.csv")
    headline = [row for row in settings if "headline" in row["groups"].split("/")]
    facts = [
        f"version {version} of {record['date']}",
        f"{len(rows)} runs",
        *(f"{count} of them {status}" for status, count in failed.items()),
        f"{len(settings)} settings of {len({row['method'] for row in rows})} methods",
        *([f"{len(headline)} of them in the headline"] if headline else []),
        *_tasks(settings),
    ]
    at = quote(results.name)
    links = {"page": manifest.PAGE} | {n: n for n in _FILES if (results / n).exists()}
    links["what moved"] = f"releases/{version}/changes.md"
    links |= {old: f"releases/{quote(old)}/" for old in reversed(earlier)}
    listed = " ".join(f'<a href="{at}/{to}">{escape(name)}</a>' for name, to in links.items())
    note = record["configuration"].get("note", "")
    return (
        f'<section>\n<h2><a href="{at}/{manifest.PAGE}">{escape(results.name)}</a></h2>\n'
        f"<p>{escape(note)}</p>\n<p>{escape('; '.join(facts))}.</p>\n{_table(headline)}"
        f'<p class="links">{listed}</p>\n</section>'
    )


def _read(path: Path) -> list[Row]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _tasks(rows: Sequence[Row]) -> list[str]:
    """Return what the settings were trained and tested on, each word once."""
    return [
        *dict.fromkeys(
            f"{r['dataset']} {r['resolution']}×{r['resolution']} ({r['subset']})" for r in rows
        ),
        _either(row["architecture"] for row in rows),
        f"{_either(map(str, sorted(int(row['epochs']) for row in rows)))} epochs",
        f"protocol {_either(row['protocol'] for row in rows)}",
    ]


def _either(words: Iterable[str]) -> str:
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} or {last}" if most else last


def _table(headline: Sequence[Row]) -> str:
    """Return the headline's rows in the tables' own order, a table for each task."""
    tasks: dict[str, list[Row]] = {}
    for row in headline:
        tasks.setdefault(title(row), []).append(row)
    return "".join(_rows(task if len(tasks) > 1 else "", rows) for task, rows in tasks.items())


def _unbroken(name: str) -> str:
    """Return a name in which "M = 2" stays on one line."""
    return name.replace(" = ", "&nbsp;=&nbsp;")


def _rows(task: str, rows: Sequence[Row]) -> str:
    caption = f"<caption>{escape(task)}</caption>\n" if task else ""
    head = "".join(f'<th scope="col" class="number">{escape(titles.of(c))}</th>' for c in _COLUMNS)
    places = [[column for column, _ in SHOWN].index(column) for column in _COLUMNS]
    body = "".join(
        f'<tr><th scope="row">{_unbroken(escape(name))}</th>'
        + "".join(f'<td class="number">{escape(cells[place])}</td>' for place in places)
        + "</tr>\n"
        for name, (_, cells) in zip(short(rows), displayed(rows), strict=True)
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Headline">\n'
        f'<table>\n{caption}<thead><tr><th scope="col">headline</th>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table>\n</div>\n"
    )


if __name__ == "__main__":
    print(write(Path()))
