"""Numbers of a document, looked up in the tables that it names."""

import csv
import re

from conftest import ROOT

LINK = re.compile(r"\]\(\.\./((?:results|benchmarks)/[^)]+\.csv)\)")
NUMBER = re.compile(r"(?<![\w.])([-−+]?)(\d+\.\d+)(?: ([kMGT])\b)?(?![\w.]*\d)")
RANGE = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")
UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def numbers(block: str) -> list[tuple[str, str, str]]:
    """Return the decimal numbers of a block: sign, digits and unit of each."""
    return NUMBER.findall(re.sub(r"`[^`]*`|\]\([^)]*\)|release \S+", "", block))


def cells(path: str) -> list[float]:
    """Return every number in a table; lists are joined by slashes, ends of ranges by a dash."""
    with open(ROOT / path, newline="") as file:
        texts = [part for row in csv.reader(file) for cell in row for part in cell.split("/")]
    texts += [end for text in texts if (ends := RANGE.fullmatch(text)) for end in ends.groups()]
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
