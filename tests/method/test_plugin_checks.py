"""What a plug-in says and returns is checked before training; a fault names class and file."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.engine import plugin
from nfe.engine.trainer import Trainer
from nfe.method import FormsBatches, GroupsParameters, interface, settings
from nfe.method.interface import Members, Method
from nfe.method.recipe import Recipe
from nfe.method.step import Step
from nfe.suite.run import specify

CARD = datasets.card("digits")


class Linear(nn.Module):
    """A linear classifier with a number of members and classes."""

    def __init__(self, members=1, classes=10):
        super().__init__()
        self.shape = (members, classes)
        self.layer = nn.Linear(64, members * classes)

    def forward(self, x):
        return self.layer(x.flatten(1)).unflatten(1, self.shape)


@dataclass(frozen=True)
class Good(FormsBatches, GroupsParameters, Method):
    members: int = 1

    def network(self, context):
        return Linear(self.members)


@pytest.fixture(scope="module")
def train():
    return datasets.load(CARD).train


def refusal(method, network, train):
    with pytest.raises(InputError) as caught:
        plugin.check(method, network, CARD, train, Recipe(64), Step(0, 10, 5))
    said = str(caught.value)
    assert "\n" not in said
    assert type(method).__qualname__ in said and __file__ in said
    return said


def changed_class(**names: Any) -> type[Method]:
    """A good method's class but for some of its names."""
    body = {"__module__": __name__, **names}
    return dataclasses.dataclass(frozen=True)(type("Changed", (Good,), body))


def changed(**names: Any) -> Method:
    return changed_class(**names)()


def test_a_good_method_passes_and_nothing_changes(train):
    network = nn.Sequential(nn.BatchNorm2d(1), Linear())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.get_rng_state()
    plugin.check(Good(), network, CARD, train, Recipe(64), Step(0, 10, 5))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())


class Tied(Linear):
    """Two names of one weight."""

    def __init__(self):
        super().__init__()
        self.again = self.layer


class Broken(Linear):
    """Logits that are not finite."""

    def forward(self, x):
        return super().forward(x) * torch.nan


class Several(Linear):
    """Several outputs where one tensor is wanted."""

    def forward(self, x):
        return [super().forward(x)]


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Linear(classes=9), "logits of shape (4, 1, 9): allowed: (4, members, 10)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), "logits of shape (4, 10)"),
        (Members(Linear()), "logits of shape (4, 1, 1, 10)"),
        (Linear(members=3), "3 members of logits (4, 3, 10): allowed: 1, as the settings say"),
        (Broken(), "logits that are not finite"),
        (Several(), "network: list: allowed: a tensor of logits"),
        (Tied(), "layer.weight and again.weight are one parameter"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_a_network_that_is_not_as_it_must_be_is_refused(network, said, train):
    assert said in refusal(Good(), network, train)


def _loss(change):
    def loss(self, network, inputs, targets):
        return change(*Good.loss(self, network, inputs, targets))

    return loss


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"loss": _loss(lambda loss, z: (loss.expand(2), z))}, "a loss of shape (2,)"),
        ({"loss": _loss(lambda loss, z: (loss.detach(), z))}, "no gradient"),
        ({"loss": _loss(lambda loss, z: (loss / 0, z))}, "a loss of inf"),
        ({"loss": _loss(lambda loss, z: (loss, z.mean(1)))}, "logits of shape (4, 10)"),
        (
            {"training_batch": lambda self, x, y, draws: (x, y.float())},
            "targets (4,) of torch.float32: allowed: class numbers",
        ),
        (
            {"parameter_groups": lambda self, n, r: [{"params": [n.layer.weight] * 2}]},
            "layer.weight stands there twice",
        ),
        (
            {"parameter_groups": lambda self, n, r: [{"params": [nn.Parameter(torch.ones(1))]}]},
            "a parameter that is not the network's",
        ),
    ],
)
def test_a_method_that_returns_something_else_is_refused(names, said, train):
    assert said in refusal(changed(**names), Linear(), train)


def test_a_run_is_checked_before_its_first_step(monkeypatch):
    run = specify(dataset="digits", architecture_name="wrn-10-1", method="single", epochs=1)
    broken = changed(network=lambda self, context: Linear(classes=9))
    monkeypatch.setattr(type(run), "build_method", lambda self: broken)
    with pytest.raises(InputError, match=r"Changed .*allowed: \(4, members, 10\)"):
        Trainer(run, datasets.load(CARD))


def _found(monkeypatch, loaded):
    class Point:
        name, value = "plug-in", "package.module:Name"

        def load(self):
            if isinstance(loaded, Exception):
                raise loaded
            return loaded

    monkeypatch.setattr(settings, "_points", lambda group: (Point(),))
    settings.settings_class.cache_clear()
    with pytest.raises(InputError) as caught:
        interface.method_class.__wrapped__("plug-in")
    settings.settings_class.cache_clear()
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"combine": "mean"}, "combine is 'mean': allowed: 'logits' or 'probabilities'"),
        ({"version": "2"}, "version is '2': allowed: whole numbers from 1"),
        (
            {"__annotations__": {"rate": complex}, "rate": 1j},
            "setting rate is of type complex: allowed: int, float",
        ),
        (
            {"__annotations__": {"rate": int}, "rate": 0.5},
            "setting rate has the default 0.5: allowed: whole numbers",
        ),
    ],
)
def test_a_class_that_is_not_as_it_must_be_is_refused(names, said, monkeypatch):
    found = _found(monkeypatch, changed_class(**names))
    assert said in found
    assert "Changed" in found and "\n" not in found


def test_what_is_no_method_is_refused(monkeypatch):
    assert "allowed: a subclass of Method" in _found(monkeypatch, Linear)
    said = _found(monkeypatch, ImportError("no module named x"))
    assert "package.module:Name cannot be imported (ImportError: no module named x)" in said


def test_a_class_that_is_no_dataclass_is_refused(monkeypatch):
    class Plain(Method):
        members: int = 2

        def network(self, context):
            return Linear()

    said = _found(monkeypatch, Plain)
    assert "Plain" in said and __file__ in said and "frozen dataclass" in said
