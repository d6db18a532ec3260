"""docs/gallery.md: every released figure on one page, each as large as in print.

``python -m nfe.report.gallery > docs/gallery.md`` writes it anew, at the repository's root.
"""

from collections.abc import Iterator
from pathlib import Path

from nfe.report.catalogue import FIGURES, FORMATS, TITLES

_HEAD = """# Gallery

Every released figure at its size in print, 5.5 or 3.25 inches wide; what each shows:
[figures](paper-suite.md#figures). `nfe-bench verify results/SUITE` draws them again and names any that
differs from what is here.
"""
# Pixels of a screen to an inch, by which browsers show a file of 300 a print inch.
_CSS, _PRINTED = 96, 300


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
            if (image := folder / f"{name}.png").exists():
                width = round(_CSS * _width(image) / _PRINTED)
                at = f"../figures/{folder.name}/{name}"
                files = ", ".join(f"[{kind}]({at}.{kind})" for kind in FORMATS)
                yield f"### {folder.name}: {TITLES[name]}\n"
                yield f"```{{image}} {at}.png\n:alt: {TITLES[name]}\n:width: {width}px\n```\n"
                yield f"`{name}`: {files}\n"


def _width(image: Path) -> int:
    """Return a PNG's width in pixels, which its header has in bytes 16 to 19."""
    with open(image, "rb") as file:
        return int.from_bytes(file.read(20)[16:], "big")


if __name__ == "__main__":
    print(page(Path("figures")), end="")
