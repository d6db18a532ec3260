"""The method cards say what the code does: names, settings, and costs as measured."""

import dataclasses
import importlib
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from rivals import context
from torch import nn

from nfe.engine import cost
from nfe.engine.backbones import architecture
from nfe.engine.cost import MacCounter
from nfe.engine.method import Method, method_class

CARDS = Path(__file__).parents[1] / "docs" / "methods"
NAMES = sorted(path.stem for path in CARDS.glob("*.md"))
COLUMNS = ("inference", "non-zero", "training")


def rows(name: str, section: str) -> list[list[str]]:
    """The rows of the table in a section of a card."""
    text = (CARDS / f"{name}.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


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


def costs(method: Method, backbone: str) -> dict[str, float]:
    """Measured MACs for one image: inference executed and non-zero, and training on it once.

    Methods that take a run's epochs several times over train on it that often.
    """
    torch.manual_seed(0)
    network: nn.Module = method.network(context(backbone, classes=100, resolution=32))
    image = torch.randn(1, 3, 32, 32)
    nonzero, executed = cost.inference_macs(network, image)
    inputs, targets = method.training_batch(image, torch.tensor([0]), torch.Generator())
    method.draw(network, inputs)
    with MacCounter() as counter:
        method.loss(network.train(), inputs, targets)[0].backward()
    trained = method.trainings() * counter.executed
    return dict(zip(COLUMNS, (executed, nonzero, trained), strict=True))


@cache
def unit(backbone: str) -> dict[str, float]:
    return costs(method_class("single")(), backbone)


@pytest.mark.parametrize("backbone", ["resnet18", "wrn-28-10"])
@pytest.mark.parametrize("name", NAMES)
def test_costs_are_the_cards(name: str, backbone: str) -> None:
    table = {row[0]: row[1:] for row in rows(name, "Cost")}
    expected = dict(zip(COLUMNS, map(float, table[backbone]), strict=True))
    measured = costs(method_class(name)().resolved(architecture(backbone)), backbone)
    for column, value in expected.items():
        assert measured[column] / unit(backbone)[column] == pytest.approx(value, rel=0.02), column
