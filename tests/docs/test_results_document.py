"""Every decimal number of the results' pages is a cell of the table that its paragraph names."""

import re

import pytest
from conftest import ROOT
from founded import unfounded

# Each page, from which heading on.
DOCUMENTS = {
    "results.md": "# ",
    "results-tiny-imagenet-cpu.md": "# ",
    "performance.md": "## GPU\n",
}


def blocks(document: str, heading: str) -> list[str]:
    """Return paragraphs; a table or a list belongs to the paragraph before it."""
    found: list[str] = []
    text = (ROOT / "docs" / document).read_text()
    for part in re.split(r"\n\s*\n", text[text.index(heading) :]):
        if part.startswith(("|", "- ")) and not found[-1].startswith("#"):
            found[-1] += "\n" + part
        else:
            found.append(part)
    return [block for block in found if not block.startswith(("#", "```"))]


@pytest.mark.parametrize(
    "block",
    [block for page in DOCUMENTS.items() for block in blocks(*page)],
    ids=lambda block: block[:40].replace("\n", " "),
)
def test_every_number_is_in_the_table_that_is_named(block: str) -> None:
    assert unfounded(block) == []


def test_a_wrong_number_would_be_found() -> None:
    named = "99.99 and 0.123456 %, 1.23 G ([table](../results/quick/summary.csv))"
    assert unfounded(named) == ["99.99", "0.123456", "1.23 G"]
    assert unfounded("97.42 %") == ["97.42"]
    assert unfounded("−97.42 % ([table](../results/quick/summary.csv))") == ["−97.42"]
    assert unfounded("97.42 %, 21.9 G ([table](../results/quick/summary.csv))") == []
