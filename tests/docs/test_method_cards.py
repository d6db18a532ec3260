"""The method cards say what the code does: names, settings, and costs as measured."""

import dataclasses
import importlib
import re

import pytest
from cards import CARDS, COLUMNS, NAMES, costs, rows, unit

from nfe.backbones import architecture
from nfe.method import method_class

# Methods that divide a batch into parts that cost different amounts.
IMAGES = {"mutualnet": 8}


def test_every_registered_method_of_ours_has_a_card() -> None:
    text = (CARDS.parents[1] / "pyproject.toml").read_text()
    table = text.split('entry-points."nfe_bench.methods"]')[1].split("\n[")[0]
    assert sorted(re.findall(r"^(\w+) = ", table, re.MULTILINE)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_equations_name_code_that_exists(name: str) -> None:
    table = rows(name, "Equations and where they are")
    assert table
    for _, file, qualified in table:
        found = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        for part in qualified.split("."):
            found = getattr(found, part)


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_the_methods_fields(name: str) -> None:
    documented = {row[0]: row[1] for row in rows(name, "Settings")}
    cls = method_class(name)
    # All fields: a method may leave out of its identity those that do not apply.
    assert documented.keys() == {field.name for field in dataclasses.fields(cls)}
    assert cls.from_settings(documented).settings() == cls().settings()


@pytest.mark.parametrize("backbone", ["resnet18", "wrn-28-10"])
@pytest.mark.parametrize("name", NAMES)
def test_costs_are_the_cards(name: str, backbone: str) -> None:
    table = {row[0]: row[1:] for row in rows(name, "Cost")}
    expected = dict(zip(COLUMNS, map(float, table[backbone]), strict=True))
    method = method_class(name)().resolved(architecture(backbone))
    measured = costs(method, backbone, IMAGES.get(name, 1))
    for column, value in expected.items():
        assert measured[column] / unit(backbone)[column] == pytest.approx(value, rel=0.02), column
