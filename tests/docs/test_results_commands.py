"""What the results' pages quote is what the commands on these pages print, p included."""

import csv
import json
import re
import shlex
from dataclasses import dataclass

import pytest
from conftest import ROOT

from nfe.cli.main import main

PAGES = ("results.md", "results-tiny-imagenet-cpu.md")
CLAIM = re.compile(
    r"([−+]\d+\.\d+)(?: points)? \((−?\d+\.\d+) to (−?\d+\.\d+)(?:\)?, p ([=<]) (\d(?:\.\d+)?))?"
)
TABLE = re.compile(r"\]\(\.\./((?:results|benchmarks)/[^)]*(?:comparisons|families)[^)]*\.csv)\)")


@dataclass(frozen=True)
class Claim:
    """A difference, its interval, and p where it is told, as a page prints them."""

    difference: str
    low: str
    high: str
    relation: str
    p: str

    def is_of(self, row: dict[str, object]) -> bool:
        """Return whether the numbers are a row's, rounded."""
        told = {
            "difference": self.difference,
            "ci95_low": self.low,
            "ci95_high": self.high,
        }
        return all(
            row[key] not in ("", None) and near(text, float(str(row[key])))
            for key, text in told.items()
        )

    def has_p(self, row: dict[str, object]) -> bool:
        """Return whether p, where it is told, is a row's corrected one."""
        if not self.p:
            return True
        if row["p_holm"] in ("", None):
            return False
        p = float(str(row["p_holm"]))
        return p < float(self.p) if self.relation == "<" else near(self.p, p)


def near(text: str, value: float) -> bool:
    digits = text.replace("−", "-")
    return abs(float(digits) - value) <= 0.500001 * 10.0 ** -len(digits.partition(".")[2])


def claims(page: str) -> list[Claim]:
    text = re.sub(r"\s+", " ", (ROOT / "docs" / page).read_text())
    return [Claim(*found) for found in CLAIM.findall(text)]


def tables(page: str) -> list[dict[str, str]]:
    rows = []
    for path in dict.fromkeys(TABLE.findall((ROOT / "docs" / page).read_text())):
        with open(ROOT / path, newline="") as file:
            rows += list(csv.DictReader(file))
    return rows


@pytest.mark.parametrize("page", PAGES)
def test_every_difference_stands_in_one_row_with_its_interval_and_p(page: str) -> None:
    rows, found = tables(page), claims(page)
    assert len(found) > 20
    lost = [c for c in found if not any(c.is_of(row) and c.has_p(row) for row in rows)]
    assert lost == []


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_comparison_prints_what_the_page_quotes(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / page).read_text()
    commands = [line for line in text.splitlines() if line.startswith("nfe-bench compare ")]
    assert commands
    for command in commands:
        words = shlex.split(command)[1:]
        words[1] = str(ROOT / words[1])
        assert main([*words, "--json"]) == 0
        records = json.loads(capsys.readouterr().out)
        assert main(words) == 0
        printed = capsys.readouterr().out
        quoted = 0
        for claim in claims(page):
            shown = [record for record in records if claim.is_of(record)]
            if shown and claim.p:
                quoted += 1
                # The family that counts, not any that the comparison is in.
                assert any(claim.has_p(record) for record in shown), claim
        assert quoted >= 4
        for record in records:
            assert f"{record['p_holm']:.6f}" in printed
            assert f"{record['kind']} ({record['family']})" in printed
