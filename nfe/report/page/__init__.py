"""A suite's results as one self-contained page, index.html: no network, nothing beside it."""

import base64
import hashlib
import json
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import vl_convert

from nfe.common.files import write_bytes
from nfe.report.page import content
from nfe.report.release.manifest import PAGE

_SCRIPTS = ("state.js", "grid.js", "plots.js", "detail.js", "main.js")


def write(results: Path) -> Path:
    """Write the page of a results folder from its tables and its runs' files.

    Args:
        results: ``ROOT/results/SUITE``, complete with tables.

    Returns:
        The page's path.

    Raises:
        InputError: a table or a run's file is missing or damaged.
    """
    write_bytes(results / PAGE, render(content.collect(results)).encode())
    return results / PAGE


@cache
def _bundle() -> str:
    """Return the plotting libraries as one script; bundling them takes seconds."""
    # The package's stub lacks the default: no snippet, the libraries alone.
    return vl_convert.javascript_bundle()  # type: ignore[call-arg]


def render(data: dict[str, Any]) -> str:
    """Return the page that shows what ``content.collect`` returns.

    Scripts run by their hash alone and nothing may be loaded, so a value from a file could not
    act even if it were not escaped.
    """
    assets = files("nfe.report.page")
    plotting = f"(() => {{{_bundle()}}})();"
    ours = "\n".join((assets / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    ours = f"(() => {{\n{ours}}})();"
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in (plotting, ours))
    return Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        suite=escape(data["suite"]),
        note=escape(data["note"]),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}",
        style=(assets / "page.css").read_text(encoding="utf-8"),
        data=_inert(data),
        vega=f"Vega {vl_convert.get_vega_version()}, Vega-Lite "
        f"{vl_convert.get_vegalite_versions()[-1]}, Vega-Embed "
        f"{vl_convert.get_vega_embed_version()}",
        plotting=plotting,
        ours=ours,
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _inert(data: dict[str, Any]) -> str:
    """Return JSON in which nothing can end or open an HTML element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
