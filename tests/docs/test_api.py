"""The API reference has every public name, and each of them has a docstring."""

import importlib
import re

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()


@pytest.mark.parametrize("module", ["nfe", "nfe.method"])
def test_every_public_name_is_on_the_page(module: str) -> None:
    shown = set(re.findall(r"^\.\. auto(?:class|function|data):: (\w+)$", PAGE, re.MULTILINE))
    home = importlib.import_module(module)
    # Those of nfe that its own modules show: losses, pruning, the plug-in interface.
    elsewhere = {"__version__", "fission_loss"}
    assert set(home.__all__) - elsewhere <= shown


@pytest.mark.parametrize("module", ["nfe", "nfe.method", "nfe.losses", "nfe.pruning"])
def test_every_public_name_is_there_and_explained(module: str) -> None:
    home = importlib.import_module(module)
    for name in getattr(home, "__all__", ()):
        found = getattr(home, name)
        if callable(found) and not repr(found).startswith(("typing", "dict", "list", "tuple")):
            assert found.__doc__, name


def test_what_is_not_there_is_said() -> None:
    nfe = importlib.import_module("nfe")
    assert nfe.__version__
    with pytest.raises(AttributeError, match="nothing"):
        nfe.nothing  # noqa: B018
