"""Latency is that of what would be deployed: ordinary weights, nothing that only training needs."""

from pathlib import Path

import pytest
import torch
from rivals import network, unsettle_norms
from torch import nn
from torch.nn.utils import parametrize

from nfe.common.files import read_json
from nfe.engine.latency import FORMS, deployed, deployed_forms, measure
from nfe.engine.runner import Worker
from nfe.evaluation import cost
from nfe.splitting.network import FissionNetwork
from nfe.splitting.path_layers import SplitWeight
from nfe.suite.run import specify


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
    settings = {"exits": 2, "granularity": "alternating"}
    run = specify(
        dataset="digits", architecture_name="wrn-10-1", method="nfe", settings=settings, epochs=1
    )
    worker, measured = Worker(), []
    one, other = deployed_forms(run, worker.data(run), worker.device)
    images = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(other(images), one(images))

    def recorded(network: nn.Module, *at: object, **how: float) -> dict[str, float]:
        measured.append(latency(network, *at, **how))
        return measured[-1]

    latency = cost.latency
    monkeypatch.setattr(cost, "latency", recorded)
    measure(run, tmp_path, worker)
    record = read_json(next(tmp_path.iterdir()))
    medians = [passes["median"] for passes in measured]
    assert len(medians) == 4
    assert record["latency_ms"] == min(medians[:2])
    assert record["latency_ms_batch128"] == min(medians[2:])
    fastest = [FORMS[pair.index(min(pair))] for pair in (medians[:2], medians[2:])]
    assert record["paths"] == dict(zip(("1", "128"), fastest, strict=True))
