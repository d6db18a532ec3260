"""Latency is that of what would be deployed: ordinary weights, nothing that only training needs."""

import itertools
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from rivals import network, unsettle_norms
from torch import nn
from torch.nn.utils import parametrize

from nfe.common.errors import InputError
from nfe.common.files import read_json
from nfe.engine import latency, load
from nfe.engine.latency import FORMS, TURNS, deployed, deployed_forms, measure
from nfe.engine.runner import Worker
from nfe.evaluation import cost
from nfe.splitting.network import FissionNetwork
from nfe.splitting.path_layers import SplitWeight
from nfe.suite.run import Run, specify


@pytest.mark.parametrize("name", ["single", "nfe", "prune_and_tune", "batch_ensemble"])
def test_deployed_networks_give_the_same_logits(name: str) -> None:
    trained = network(name, "wrn-10-1").eval()
    unsettle_norms(trained)
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(deployed(trained)(images), trained(images))


def test_a_fissioned_network_selects_no_weights_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = network("nfe", "wrn-10-1")
    assert isinstance(trained, FissionNetwork)
    ready = deployed(trained)

    def selected(*_: object) -> torch.Tensor:
        raise AssertionError("a mask was applied in a forward pass")

    monkeypatch.setattr(SplitWeight, "select", selected)
    ready(torch.rand(1, 3, 16, 16))
    with pytest.raises(AssertionError, match="a mask was applied"):
        trained(torch.rand(1, 3, 16, 16))


def test_children_of_prune_and_tune_have_plain_weights() -> None:
    trained = network("prune_and_tune", "wrn-10-1")
    assert any(parametrize.is_parametrized(layer) for layer in trained.modules())
    ready = deployed(trained)
    assert not any(parametrize.is_parametrized(layer) for layer in ready.modules())
    convolutions = [m for m in ready.modules() if isinstance(m, nn.Conv2d)]
    assert all(isinstance(m.weight, nn.Parameter) for m in convolutions)
    # The network that is trained further stays as it is.
    assert any(parametrize.is_parametrized(layer) for layer in trained.modules())


def test_of_two_forms_of_a_network_the_faster_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = digits("nfe", exits=2, granularity="alternating")
    worker, measured = Worker(), []
    one, other = deployed_forms(run, worker.data(run), worker.device)
    images = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(other(images), one(images))

    def recorded(*how: Any, **more: Any) -> list[float]:
        measured.append(passes(*how, **more))
        return measured[-1]

    passes = cost.passes
    monkeypatch.setattr(cost, "passes", recorded)
    measure([run], tmp_path, worker)
    record = read_json(next(tmp_path.iterdir()))
    # In each turn one form at both batches, then the other.
    assert len(measured) == 4 * TURNS
    medians = [
        statistics.median(itertools.chain(*measured[place :: len(measured) // TURNS]))
        for place in (0, 2, 1, 3)
    ]
    assert record["latency_ms"] == min(medians[:2])
    assert record["latency_ms_batch128"] == min(medians[2:])
    fastest = [FORMS[pair.index(min(pair))] for pair in (medians[:2], medians[2:])]
    assert record["paths"] == dict(zip(("1", "128"), fastest, strict=True))


def digits(method: str, **settings: Any) -> Run:
    return specify(
        dataset="digits", architecture_name="wrn-10-1", method=method, settings=settings, epochs=1
    )


def test_networks_take_turns_and_each_is_timed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [digits("single"), digits("treenet", members=2)]
    order = []
    passes = cost.passes

    def noted(network: nn.Module, *how: Any, **more: Any) -> list[float]:
        order.append(id(network))
        return passes(network, *how, **more)

    monkeypatch.setattr(cost, "passes", noted)
    measure([*runs, runs[0]], tmp_path, Worker())
    first, second = order[0], order[2]
    assert first != second
    assert order == [first, first, second, second] * TURNS
    for path in tmp_path.iterdir():
        record = read_json(path)
        assert len(record["others"]) == TURNS
        for found in record["passes"].values():
            assert len(found["turns"]) == TURNS
            assert min(found["turns"]) <= found["median"] <= max(found["turns"])
            assert found["quartile1"] <= found["median"] <= found["quartile3"]
    assert len(list(tmp_path.iterdir())) == 2
    measure(runs, tmp_path, Worker())
    assert len(order) == 4 * TURNS


def test_a_busy_machine_is_waited_for_and_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(load.ALLOW)
    monkeypatch.setattr(latency, "_PAUSE_SECONDS", 0.0)
    seen = [1.5, 0.0, 0.1, None, 0.0]
    monkeypatch.setattr(load.Others, "cores", lambda _: seen.pop(0))
    measure([digits("single")], tmp_path, Worker())
    assert read_json(next(tmp_path.iterdir()))["others"] == [0.0, 0.1, None, 0.0]
    monkeypatch.setattr(load.Others, "cores", lambda _: 1.5)
    with pytest.raises(InputError, match=r"others keep 1\.50 cores busy: allowed: up to 0\.\d\d"):
        measure([digits("treenet", members=2)], tmp_path, Worker())
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setenv(load.ALLOW, "1")
    measure([digits("treenet", members=2)], tmp_path, Worker())
    assert {tuple(read_json(path)["others"]) for path in tmp_path.iterdir()} > {(1.5,) * TURNS}
