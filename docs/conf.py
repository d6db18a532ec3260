"""The documentation as a site: README, CONTRIBUTING and docs/, with links that must hold."""

import tomllib
from pathlib import Path

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
