"""Which methods work with which networks: docs/own-networks.md has the table, and it is true."""

import re

import pytest
import torch
from conftest import ROOT
from torch import nn

from baselines.batch_ensemble import RankOne
from baselines.shared.replacing import replace_layers
from nfe.backbones import Backbone, architecture
from nfe.common.errors import InputError
from nfe.engine.fits import Size, markdown, refusal
from nfe.method import method_names
from nfe.pruning import prunable

SIZE = {"channels": 3, "classes": 5, "resolution": 32}
PAGE = (ROOT / "docs" / "own-networks.md").read_text(encoding="utf-8")
TABLE = re.search(r"^\| method \|.*?(?=\n\n[^\d])", PAGE, re.M | re.S)[0]
NETWORKS = re.findall(r"`([^`]+)`", TABLE.splitlines()[0])
NOTES = dict(re.findall(r"^(\d+)\. (.*)$", TABLE, re.M))


def cells(network):
    """What the page says of each method with a network: None, or the sentence."""
    column = 1 + NETWORKS.index(network)
    rows = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| `")]
    found = {row[0].strip("`"): row[column].strip() for row in rows}
    return {
        method: None if cell == "works" else NOTES[re.fullmatch(r"no \((\d+)\)", cell)[1]]
        for method, cell in found.items()
    }


def test_the_table_has_every_method_and_the_networks_that_it_is_about():
    assert list(cells(NETWORKS[0])) == method_names()
    assert NETWORKS == [
        "resnet18",
        "torchvision:resnet18",
        "torchvision:mobilenet_v3_small",
        "timm:convnext_atto",
        "timm:vit_tiny_patch16_224",
        "vit-tiny-4",
        "convnext-atto-2",
    ]


# One of a library's and one of ours; all of them, with every method: the slow test below.
@pytest.mark.parametrize("network", ["torchvision:mobilenet_v3_small", "convnext-atto-2"])
def test_what_it_says_of_small_networks_is_so(network):
    found = architecture(network)
    said = cells(network)
    # Ensembles of separate or successive networks do nothing that a single one does not.
    others = set(said) - {"deep_ensemble", "snapshot", "edst"}
    assert {m: refusal(m, found, Size()) for m in others} == {m: said[m] for m in others}


@pytest.mark.slow
def test_the_table_is_what_the_command_prints():
    assert markdown(method_names(), [architecture(name) for name in NETWORKS]) == TABLE


def test_rank_one_factors_stand_at_the_features_of_tokens():
    torch.manual_seed(0)
    plain = nn.Linear(4, 6)
    weight, bias = plain.weight.detach().clone(), plain.bias.detach().clone()
    layer = RankOne(plain, 3, -0.5)
    tokens = torch.randn(6, 4, 4)  # as many tokens as features: an axis could be mistaken
    found = layer(tokens)
    for row in range(6):
        member = row // 2
        own = weight * layer.s[member][:, None] * layer.r[member][None]
        torch.testing.assert_close(found[row], tokens[row] @ own.T + bias)


def test_sparse_training_covers_the_linear_layers_of_a_transformer():
    network = architecture("timm:vit_tiny_patch16_224").build(**SIZE)
    wanted = {n for n, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    assert set(prunable(network)) == {n for n in wanted if not n.startswith("head")}
    assert len(wanted) == 12 * 4 + 2
    # A network's own head and hidden layers stay whole, as ever.
    plain = architecture("vgg16-imagenet").build(**SIZE)
    assert all(isinstance(layer, nn.Conv2d) for layer in prunable(plain).values())


def test_attention_that_is_no_layer_cannot_be_made_sparse():
    blocks = [nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)]
    network = Backbone(nn.Linear(4, 8), blocks, nn.Linear(8, 2))
    with pytest.raises(InputError, match=r"'stages\.0\.self_attn': PyTorch's MultiheadAttention"):
        prunable(network)


def test_layers_that_nobody_would_call_are_not_replaced():
    network = nn.Sequential(nn.MultiheadAttention(8, 2))
    with pytest.raises(InputError, match=r"'0\.out_proj': PyTorch's MultiheadAttention"):
        replace_layers(network, nn.Linear, lambda _, layer: layer)


def test_every_replaced_layer_of_a_library_s_network_is_called():
    method = "torchvision:mobilenet_v3_small", "timm:convnext_atto", "timm:vit_tiny_patch16_224"
    for name in method:
        network = architecture(name).build(**SIZE)
        called = []

        class Called(nn.Module):
            def __init__(self, name, layer):
                super().__init__()
                self.name, self.layer = name, layer

            def forward(self, x, called=called):
                called.append(self.name)
                return self.layer(x)

        kinds = (nn.Conv2d, nn.Linear)
        wanted = [n for n, m in network.named_modules() if isinstance(m, kinds)]
        replace_layers(network, kinds, Called)
        network.eval()(torch.randn(1, 3, 32, 32))
        assert sorted(called) == sorted(wanted), name
