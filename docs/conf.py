"""The documentation as a site: README, CONTRIBUTING and docs/, with links that must hold.

Pages of released suites stand in it where they stand in the repository, with what they link to.
"""

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["name"]
version = release = _PROJECT["version"]
copyright = "nfe-bench contributors, MIT licence"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# docs/api.md: public names, from their docstrings.
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/**",
    "results/*/summary.md",
]
exclude_patterns = ["docs/_site"]
# Section titles are link targets, as on a code host.
myst_heading_anchors = 3
html_theme = "alabaster"
html_theme_options = {"description": _PROJECT["description"], "page_width": "66rem"}
html_show_sphinx = False
html_copy_source = False


def _link_pages(app: Sphinx, doctree: Any) -> None:
    """Lead to a suite's page at its place: a copy among the downloads would lead nowhere itself."""
    here = (ROOT / app.env.docname).parent
    for node in list(doctree.findall(download_reference)):
        target = Path(os.path.normpath(here / node["reftarget"]))
        if not target.exists():
            target = Path(os.path.normpath(ROOT / node["reftarget"].lstrip("/")))
        if target.name == "index.html" and target.is_relative_to(ROOT / "results"):
            address = os.path.relpath(target, here)
            node.replace_self(nodes.reference("", "", *node.children, refuri=address))


def _publish(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        publish_pages(Path(app.outdir))


def publish_pages(site: Path) -> None:
    """Copy each released suite's results, figures and configuration into the site."""
    suites = [path.parent.name for path in (ROOT / "results").glob("*/releases")]
    files = ["CITATION.cff", "results/index.html"]
    files += [f"config/{name}.yaml" for name in suites]
    for folder in (f"{top}/{name}" for top in ("results", "figures") for name in suites):
        shutil.copytree(ROOT / folder, site / folder, dirs_exist_ok=True)
    for file in files:
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, target)


def setup(app: Sphinx) -> None:
    """Register what this site does beside Sphinx."""
    # Before Sphinx collects what is to be downloaded.
    app.connect("doctree-read", _link_pages, priority=100)
    app.connect("build-finished", _publish)
