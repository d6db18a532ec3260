"""Tools that take networks as they are: they work on a fissioned one, or are refused in a line."""

import copy
import importlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.nn.functional as F
from networks import CLASSES, PLAIN_STAGES, Plain, convnext, wide_resnet
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nfe import fission
from nfe.common.errors import InputError
from nfe.losses import fission_loss
from nfe.splitting.grouping import Plan
from nfe.splitting.network import FissionNetwork
from nfe.splitting.path_layers import (
    PathConv1d,
    PathConv2d,
    PathConv3d,
    PathLayer,
    SplitWeight,
    for_path,
    stand_alone,
)


class Centred(nn.Conv2d):
    """A user's convolution, whose own forward reads its weight."""

    def centred(self) -> Tensor:
        return self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        out = F.conv2d(x, self.centred(), self.bias, padding=self.padding)
        return out.add_(1) + super().forward(x)


class Attention(nn.Module):
    """Attention that reads the weight of its last layer directly."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed = Centred(8, 8, 3, padding=1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixed(x)
        places = x.flatten(2).transpose(1, 2)
        return (places + self.attention(places, places, places)[0]).transpose(1, 2).reshape(x.shape)


class Unusual(nn.Module):
    """Layers that subclass PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Centred(3, 8, 3)
        self.one, self.two = Attention(), Attention()
        self.last = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.two(self.one(self.first(x))).mean(dim=(2, 3)))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, list[str] | None]] = {
    "backbone": (wide_resnet, 8, None),
    "traced": (Plain, 8, PLAIN_STAGES),
    "linear layers inside stages": (convnext, 32, None),
    "user's own layers": (Unusual, 8, ["one", "two"]),
}


@pytest.fixture(params=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple[FissionNetwork, Tensor]:
    build, resolution, stages = NETWORKS[request.param]
    torch.manual_seed(0)
    # Attention's own projections can only be copied for every path.
    options = {"sparsity": 0.3, "pruning": "random", "whole": ["other"]}
    network = fission(build(), 2, stages=stages, **options).eval()
    return network, torch.randn(2, 3, resolution, resolution)


@pytest.fixture
def network() -> FissionNetwork:
    torch.manual_seed(0)
    return fission(wide_resnet(), 3, sparsity=0.5, pruning="random", seed=1).eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def path_layers(network: nn.Module) -> list[PathLayer]:
    return [layer for layer in network.modules() if isinstance(layer, PathLayer)]


def saved_and_loaded(network: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [saved_and_loaded, copy.deepcopy])
def test_a_whole_network_is_copied_with_its_weights_still_shared(case, copied):
    network, x = case
    expected = network(x)
    twin = copied(network)
    assert torch.equal(twin(x), expected)
    assert list(twin.state_dict()) == list(network.state_dict())
    fission_loss(twin(x), torch.tensor([0, 1])).backward()
    assert all(split.weight.grad is not None for split in twin.weights.values())
    with torch.no_grad():
        for split in twin.weights.values():
            split.weight.zero_()
    assert not any(bool(layer.weight.any()) for layer in path_layers(twin))
    assert torch.equal(network(x), expected)


@pytest.mark.parametrize("case", ["backbone", "user's own layers"], indirect=True)
@pytest.mark.parametrize(
    "seen",
    [
        lambda net, x: torch.compile(net, backend="aot_eager", fullgraph=True),
        lambda net, x: torch.export.export(net, (x,)).module(),
        lambda net, x: torch.export.export(net, (x,), strict=True).module(),
    ],
    ids=["compile", "export", "strict export"],
)
def test_compilers_see_the_same_function(case, seen):
    network, x = case
    torch.compiler.reset()
    torch.testing.assert_close(seen(network, x)(x), network(x), rtol=0, atol=1e-6)


def test_onnx_takes_the_network_itself(network, x):
    onnxruntime = pytest.importorskip("onnxruntime")
    program = torch.onnx.export(network, (x,), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), network(x).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("average", [None, get_ema_multi_avg_fn(0.9)], ids=["mean", "exponential"])
def test_averages_keep_the_numbers_of_the_paths(network, average):
    averaged = AveragedModel(network, use_buffers=True, multi_avg_fn=average)
    for step in range(5):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1 + step / 10)
        averaged.update_parameters(network)
    for name, split in network.weights.items():
        mine = averaged.module.weights[name]
        assert mine.group.dtype == torch.uint8
        assert torch.equal(mine.group, split.group)
        assert not torch.equal(mine.weight, split.weight)


def test_the_numbers_of_the_paths_are_in_the_state_dict_and_no_buffers(network):
    keys = list(network.state_dict())
    assert keys[:2] == ["weights.stem.weight", "weights.stem.group"]
    assert not any(name.endswith("group") for name, _ in network.named_buffers())
    other = fission(wide_resnet(), 3, seed=2)
    kept = other.weights["stem"].group
    other.load_state_dict(network.state_dict())
    assert other.weights["stem"].group is kept
    for name, split in network.weights.items():
        assert torch.equal(other.weights[name].group, split.group)


def test_a_state_dict_may_be_assigned_to_a_network_without_memory(network, x):
    empty = fission(wide_resnet(), 3).to("meta")
    assert empty.weights["stem"].group.is_meta
    empty.load_state_dict(network.state_dict(), assign=True)
    assert torch.equal(empty.eval()(x), network(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("weights.stem.group"), r"Missing key.*weights\.stem\.group"),
        (
            lambda state: state.update({"weights.stem.group": torch.zeros(2)}),
            r"size mismatch for weights\.stem\.group: \(2,\) in the checkpoint, \(2, 3, 3, 3\)",
        ),
        (
            lambda state: state.update({"weights.stem.grop": torch.zeros(2)}),
            r"Unexpected key.*weights\.stem\.grop",
        ),
    ],
)
def test_another_network_s_state_dict_is_refused(network, change, message):
    state = network.state_dict()
    change(state)
    with pytest.raises(RuntimeError) as error:
        network.load_state_dict(state)
    error.match(r"(?s)" + message)


def test_the_numbers_of_the_paths_stay_whole_in_every_type(network):
    for changed in (network.half(), network.double(), network.type(torch.bfloat16)):
        assert changed.weights["stem"].group.dtype == torch.uint8


def test_a_functional_call_takes_the_state_dict(network, x):
    other = fission(wide_resnet(), 3, seed=2).eval()
    assert torch.equal(torch.func.functional_call(other, network.state_dict(), (x,)), network(x))


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of one process."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_distributed_data_parallel_trains(network, x):
    expected = network(x)
    parallel = nn.parallel.DistributedDataParallel(network)
    logits = parallel(x)
    assert torch.equal(logits, expected)
    logits.sum().backward()
    assert all(split.weight.grad is not None for split in network.weights.values())


def test_replicas_of_data_parallel_are_refused(network, x, monkeypatch):
    # Replicas are made on several GPUs only; what sends weights there is left out.
    module = importlib.import_module("torch.nn.parallel.replicate")
    monkeypatch.setattr(
        module, "_broadcast_coalesced_reshape", lambda tensors, devices, detach: [tensors] * 2
    )
    with pytest.raises(InputError, match=r"'stem': replicas of nn\.DataParallel .*Distributed"):
        nn.parallel.replicate(network, [torch.device("cuda", 0), torch.device("cuda", 1)])
    assert torch.equal(nn.DataParallel(network)(x), network(x))


@pytest.mark.parametrize("part", ["stem", "stages.0", "stages.2.1", "heads"])
def test_a_part_is_not_copied_alone(part):
    network = fission(Plain(), 3, stages=PLAIN_STAGES)
    with pytest.raises(InputError, match=r"cannot be copied alone.*members\(\)") as error:
        copy.deepcopy(network.get_submodule(part))
    assert "\n" not in str(error.value)


def init_convolution(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight)


def init_by_reset(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        layer.reset_parameters()


def add_in_place(layer: nn.Module) -> None:
    layer.weight += 1


WRITES: dict[str, Callable[[nn.Module], object]] = {
    "reset_parameters": lambda layer: layer.reset_parameters(),
    "apply init": lambda layer: layer.apply(init_convolution),
    "apply reset": lambda layer: layer.apply(init_by_reset),
    "a parameter": lambda layer: setattr(layer, "weight", nn.Parameter(torch.ones(2, 3, 3, 3))),
    "a tensor": lambda layer: setattr(layer, "weight", torch.ones(2, 3, 3, 3)),
    "data": lambda layer: layer.weight.data.zero_(),
    "new data": lambda layer: setattr(layer.weight, "data", torch.ones(2, 3, 3, 3)),
    "detached": lambda layer: layer.weight.detach().mul_(2),
    "a view": lambda layer: layer.weight.view(-1)[:3].fill_(1),
    "an item": lambda layer: layer.weight.__setitem__(0, 1),
    "an operator": add_in_place,
    "copy": lambda layer: layer.weight.copy_(torch.ones(2, 3, 3, 3)),
    "out": lambda layer: torch.mul(torch.ones(()), 2, out=layer.weight),
    "many": lambda layer: torch._foreach_mul_([layer.weight], 2),
    "orthogonal": lambda layer: nn.init.orthogonal_(layer.weight),
    "freeze": lambda layer: layer.weight.requires_grad_(False),
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "global prune": lambda layer: prune.global_unstructured(
        [(layer, "weight")], prune.L1Unstructured, amount=0.5
    ),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_share_cannot_be_written(network, x, write):
    expected = network(x)
    with (
        pytest.raises(InputError, match=r"network\.weights\['stem'\]\.weight") as error,
        torch.no_grad(),
    ):
        write(network.stem)
    assert "\n" not in str(error.value)
    assert torch.equal(network(x), expected)


def test_a_share_can_be_read(network):
    share, split = network.stem.weight, network.weights["stem"]
    assert torch.equal(share, split.select(3))
    assert (share.shape, share.dtype, share.device.type) == ((2, 3, 3, 3), torch.float32, "cpu")
    assert type(share * 2) is type(share.clone()) is Tensor
    # What is computed from it is written like any tensor, and it may be written elsewhere.
    assert torch.equal((share * 2).add_(1), 2 * split.select(3) + 1)
    assert torch.equal(torch.zeros_like(split.weight).copy_(share), split.select(3))
    share.sum().backward()
    assert torch.equal(split.weight.grad != 0, split.group == 3)


def test_a_path_s_own_parameters_can_be_written():
    network = fission(Plain(), 3, stages=PLAIN_STAGES)
    network.stem.first.bias = nn.Parameter(torch.ones(8))
    prune.l1_unstructured(network.stem.first, "bias", 0.5)
    assert int((network.stem.first.bias == 0).sum()) == 4


def test_split_weights_are_parametrized_and_not_pruned_by_hooks(network, x):
    split = network.weights["stem"]
    with pytest.raises(InputError, match=r"'weight_orig'.*fission\(sparsity=, pruning=\)"):
        prune.l1_unstructured(split, "weight", 0.5)
    expected = network(x)
    nn.utils.parametrizations.weight_norm(split)
    torch.testing.assert_close(network(x), expected)
    parametrize.remove_parametrizations(split, "weight")
    torch.testing.assert_close(network(x), expected)


def test_users_layers_keep_their_own_forward():
    torch.manual_seed(0)
    model, x = Unusual().eval(), torch.randn(2, 3, 8, 8)
    network = fission(model, 1, stages=["one", "two"], whole=["other"]).eval()
    assert {type(layer).__name__ for layer in path_layers(network)} == {
        "PathCentred",
        "PathNonDynamicallyQuantizableLinear",
    }
    with torch.no_grad():
        torch.testing.assert_close(network(x)[:, 0], model(x), rtol=0, atol=1e-6)
        assert {type(layer) for layer in network.member(1).modules()} >= {Centred, Attention}
        torch.testing.assert_close(network.member(1)(x), model(x), rtol=0, atol=1e-6)


class Referring(nn.Module):
    """Its convolution is registered twice, and held in a list besides."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.again = self.conv
        self.listed = [self.conv]

    def forward(self, x: Tensor) -> Tensor:
        return self.listed[0](x)


def test_every_reference_to_a_layer_becomes_one_to_its_path_layer():
    part = Referring()
    split = SplitWeight(part.conv.weight, torch.randint(1, 3, (4, 4, 1, 1), dtype=torch.uint8))
    mine = for_path(part, {split.weight: ("conv", split)}, 2)
    assert isinstance(mine.conv, PathConv2d)
    assert mine.conv is mine.again is mine.listed[0]
    assert type(part.conv) is nn.Conv2d
    plain = stand_alone(mine)
    assert type(plain.conv) is nn.Conv2d
    assert plain.conv is plain.again is plain.listed[0]
    x = torch.randn(2, 4, 3, 3)
    assert torch.equal(plain(x), mine(x))
    assert torch.equal(mine(x), F.conv2d(x, split.select(2), part.conv.bias))


@pytest.mark.parametrize(
    ("layer", "path_layer", "size"),
    [
        (nn.Conv1d(4, 6, 3, padding="same"), PathConv1d, (7,)),
        (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), PathConv2d, (5, 5)),
        (nn.Conv3d(4, 6, 3, groups=2), PathConv3d, (5, 5, 5)),
    ],
)
def test_convolutions_of_every_dimension_have_path_layers(layer, path_layer, size):
    groups = Plan((0.5, 0.5), "tensor", "weight", 0)
    masks = {"layer": torch.ones_like(layer.weight, dtype=torch.bool)}
    group = groups.divide("layer", masks, [1, 2], {"layer": layer.groups})["layer"]
    split = SplitWeight(layer.weight, group)
    mine = for_path(layer, {split.weight: ("layer", split)}, 1)
    assert type(mine) is path_layer
    assert "path=1" in repr(mine)
    expected = copy.deepcopy(layer)
    with torch.no_grad():
        expected.weight.mul_(group == 1)
    x = torch.randn(2, 4, *size)
    assert torch.equal(mine(x), expected(x))
    assert torch.equal(stand_alone(mine)(x), expected(x))
