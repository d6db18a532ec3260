"""Every data set has a card in the documentation, and it says what the code does."""

import dataclasses
import re
from pathlib import Path

import pytest

from nfe import data as datasets
from nfe.data import prepare
from nfe.data.base import Card

DOCS = Path(__file__).resolve().parents[2] / "docs" / "datasets"
CARDS = [card for name in datasets.names() for card in datasets.dataset(name).cards]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: f"{card.name}{card.resolution}")
def test_the_documented_card_agrees(card: Card) -> None:
    text = (DOCS / f"{card.name}.md").read_text()
    words = " ".join(text.split())
    assert f"`{card.content_hash}`" in words
    assert ", ".join(f"{v:.4f}" for v in card.mean) in words
    assert ", ".join(f"{v:.4f}" for v in card.std) in words
    table = rf"\| {card.resolution} \|.*\| {card.padding} \| {_flip(card)} \| {card.batch_size} \|"
    flips = "flips" if card.flip else "no flips"
    line = rf"Padding {card.padding}, {flips}.*, batch {card.batch_size}"
    assert re.search(table, text) or re.search(line, words)
    for part in ("Source", "Terms", "Splits"):
        assert f"**{part}**" in text
    assert f"[{card.name}]({card.name}.md)" in (DOCS / "README.md").read_text()


@pytest.mark.parametrize("card", CARDS, ids=lambda card: f"{card.name}{card.resolution}")
def test_a_card_in_git_is_what_the_code_writes(card: Card, tmp_path: Path) -> None:
    kept = DOCS.parents[1] / "config" / "data" / f"{card.name}-{card.resolution}.json"
    if not kept.exists():
        pytest.skip("no released suite is on it")
    (written,) = prepare.write_cards(card.name, tmp_path, card.resolution)
    assert written.read_bytes() == kept.read_bytes()
    assert dataclasses.replace(card, version=2).record()["version"] == 2


def _flip(card: Card) -> str:
    return "yes" if card.flip else "no"


def test_the_strengths_of_corruptions_are_documented() -> None:
    from nfe.data.corruptions import CORRUPTIONS

    text = (DOCS / "README.md").read_text()
    for kind, (_, strengths) in CORRUPTIONS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{kind}`"))
        assert tuple(float(cell) for cell in row.split("|")[3:8]) == strengths
