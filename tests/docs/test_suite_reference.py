"""docs/suite-reference.md says what the schema and the methods' fields say, and all of it."""

import dataclasses

import pytest
from conftest import ROOT

from nfe.common import strict_yaml
from nfe.method.interface import method_class
from nfe.method.recipe import Recipe
from nfe.suite import reference
from nfe.suite.expansion import SCHEMA

PAGE = (ROOT / "docs" / "suite-reference.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_code_says():
    assert reference.page() == PAGE, (
        "write it anew: python -m nfe.suite.reference > docs/suite-reference.md"
    )


def keys(schema):
    """Every key that the schema names, however deep."""
    for name, value in schema.items():
        if name == "properties":
            yield from value
        if isinstance(value, dict):
            yield from keys(value)
        for part in value if isinstance(value, list) else ():
            yield from keys(part) if isinstance(part, dict) else ()


def test_every_key_of_the_schema_is_there():
    inside = {"low", "high", "scale"}  # of an axis
    for key in set(keys(strict_yaml.load(SCHEMA))) - inside:
        assert f"`{key}`" in PAGE, key


def test_every_setting_is_there_with_what_it_means():
    tables = {part.splitlines()[0]: part for part in PAGE.split("\n## ")}
    for name in ("nfe", "mimo", "snapshot", "mixmo"):
        table = tables[f"Settings of `{name}`"]
        for field in dataclasses.fields(method_class(name)):
            assert f"| `{field.name}` |" in table
    for field in dataclasses.fields(Recipe):
        assert f"| `{field.name}` |" in tables["`recipe`"]


@pytest.mark.parametrize("row", [line for line in PAGE.splitlines() if line.startswith("| `")])
def test_every_setting_is_explained(row):
    assert all(cell.strip() for cell in row.strip("|").split(" | ")[:-1])
