"""One page over all released suites, results/index.html: python -m nfe.report.page.overview

Of each suite: the latest version of its tables, what they hold, and where page, tables and changes
stand. Plain HTML: no script, no network. ``nfe-bench release`` writes it again.
"""

from collections import Counter
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import quote

from nfe.common.errors import InputError
from nfe.common.files import read_json, write_bytes
from nfe.report.release import manifest
from nfe.report.tables import read_runs, title

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
    facts = [
        f"version {version} of {record['date']}",
        f"{len(rows)} runs",
        *(f"{count} of them {status}" for status, count in failed.items()),
        f"{len({row['method'] for row in rows})} methods",
        *dict.fromkeys(title(row) for row in rows),
    ]
    at = quote(results.name)
    links = {"page": manifest.PAGE} | {n: n for n in _FILES if (results / n).exists()}
    links["what moved"] = f"releases/{version}/changes.md"
    links |= {old: f"releases/{quote(old)}/" for old in reversed(earlier)}
    listed = " ".join(f'<a href="{at}/{to}">{escape(name)}</a>' for name, to in links.items())
    note = record["configuration"].get("note", "")
    return (
        f'<section>\n<h2><a href="{at}/{manifest.PAGE}">{escape(results.name)}</a></h2>\n'
        f"<p>{escape(note)}</p>\n<p>{escape('; '.join(facts))}.</p>\n"
        f'<p class="links">{listed}</p>\n</section>'
    )


if __name__ == "__main__":
    print(write(Path()))
