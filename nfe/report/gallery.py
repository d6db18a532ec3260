"""docs/gallery.md: every released figure on one page.

``python -m nfe.report.gallery > docs/gallery.md`` writes it anew, at the repository's root.
"""

from collections.abc import Iterator
from pathlib import Path

from nfe.report.catalogue import FIGURES, FORMATS, TITLES

_HEAD = """# Gallery

Every released figure; in print 5.5 or 3.25 inches wide. What each shows:
[figures](paper-suite.md#figures). `nfe-bench verify results/SUITE` draws them again and names any
that differs from what is here.
"""


def page(figures: Path) -> str:
    """Return the page.

    Args:
        figures: the folder of the suites' folders of figures.
    """
    return "\n".join([_HEAD, *_suites(figures)])


def _suites(figures: Path) -> Iterator[str]:
    for folder in sorted(path for path in figures.iterdir() if path.is_dir()):
        yield f"## {folder.name}\n"
        for name in FIGURES:
            if (folder / f"{name}.png").exists():
                at = f"../figures/{folder.name}/{name}"
                files = ", ".join(f"[{kind}]({at}.{kind})" for kind in FORMATS)
                yield f"### {folder.name}: {TITLES[name]}\n"
                yield f"![{TITLES[name]}]({at}.png)\n"
                yield f"`{name}`: {files}\n"


if __name__ == "__main__":
    print(page(Path("figures")), end="")
