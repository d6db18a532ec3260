"""Every decimal number in docs/results.md is a cell of the table that its paragraph names."""

import csv
import re

import pytest
from conftest import ROOT

DOCUMENT = ROOT / "docs" / "results.md"
LINK = re.compile(r"\]\(\.\./((?:results|benchmarks)/[^)]+\.csv)\)")
NUMBER = re.compile(r"(?<![\w.])([-−+]?)(\d+\.\d+)(?: ([kMGT])\b)?(?![\w.]*\d)")
UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def blocks() -> list[str]:
    """Return paragraphs; a table or a list belongs to the paragraph before it."""
    found: list[str] = []
    for part in re.split(r"\n\s*\n", DOCUMENT.read_text()):
        if part.startswith(("|", "- ")) and not found[-1].startswith("#"):
            found[-1] += "\n" + part
        else:
            found.append(part)
    return [block for block in found if not block.startswith(("#", "```"))]


def numbers(block: str) -> list[tuple[str, str, str]]:
    """Return the decimal numbers of a block: sign, digits and unit of each."""
    return NUMBER.findall(re.sub(r"`[^`]*`|\]\([^)]*\)|release \S+", "", block))


def cells(path: str) -> list[float]:
    """Return every number in a table; lists are joined by slashes."""
    with open(ROOT / path, newline="") as file:
        texts = [part for row in csv.reader(file) for cell in row for part in cell.split("/")]
    found = []
    for text in texts:
        try:
            found.append(float(text))
        except ValueError:
            continue
    return found


def unfounded(block: str) -> list[str]:
    """Return the numbers of a block that are the rounding of no cell of its tables.

    A number without a sign may be that of a loss, told in words.
    """
    known = [value for path in LINK.findall(block) for value in cells(path)]
    lost = []
    for sign, digits, unit in numbers(block):
        half = 0.500001 * 10.0 ** -len(digits.partition(".")[2])
        signs = {"": (1, -1), "+": (1,)}.get(sign, (-1,))
        values = (way * value / UNITS[unit] for way in signs for value in known)
        if not any(abs(float(digits) - value) <= half for value in values):
            lost.append(f"{sign}{digits} {unit}".strip())
    return lost


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block[:40].replace("\n", " "))
def test_every_number_is_in_the_table_that_is_named(block: str) -> None:
    assert unfounded(block) == []


def test_a_wrong_number_would_be_found() -> None:
    named = "99.99 and 0.123456 %, 1.23 G ([table](../results/quick/summary.csv))"
    assert unfounded(named) == ["99.99", "0.123456", "1.23 G"]
    assert unfounded("97.42 %") == ["97.42"]
    assert unfounded("−97.42 % ([table](../results/quick/summary.csv))") == ["−97.42"]
    assert unfounded("97.42 %, 21.9 G ([table](../results/quick/summary.csv))") == []
