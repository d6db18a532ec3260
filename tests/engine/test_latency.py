"""Latency is that of what would be deployed: ordinary weights, nothing that only training needs."""

import pytest
import torch
from rivals import network, unsettle_norms
from torch import nn
from torch.nn.utils import parametrize

from nfe.engine.latency import deployed
from nfe.splitting.network import FissionNetwork
from nfe.splitting.path_layers import SplitWeight


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
