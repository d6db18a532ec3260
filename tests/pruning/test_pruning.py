"""Pruning scores against closed forms and finite differences; masks against their promises."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import CLASSES, slim
from torch import nn
from torch.nn.utils import parametrize

from nfe import fission
from nfe.backbones import architecture
from nfe.common.errors import CollapseError, InputError
from nfe.pruning import (
    NEED_DATA,
    PRUNERS,
    Request,
    erk_counts,
    grasp_scores,
    keep_highest,
    masks,
    memory_mb,
    prunable,
    prune,
    snip_scores,
    synflow_scores,
)
from nfe.pruning.scores import _batches


class Net(nn.Module):
    """Two convolutions, one norm, a linear head; smooth, so that differences are accurate."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        x = torch.tanh(self.norm(self.conv1(x)))
        return self.linear(torch.tanh(self.conv2(x)).mean(dim=(2, 3)))


LAYERS = ("conv1", "conv2")


def data(n=12, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, 2, 5, 5, generator=draws, dtype=torch.float64),
        torch.randint(3, (n,), generator=draws),
    )


def net(seed=0, norm=True):
    torch.manual_seed(seed)
    return Net(norm).double()


def loss_at(model, example, temperature=1.0):
    scored = copy.deepcopy(model).train()
    return F.cross_entropy(scored(example[0]) / temperature, example[1])


def positions(weight):
    return [
        (0,) * weight.dim(),
        tuple(s - 1 for s in weight.shape),
        tuple(s // 2 for s in weight.shape),
    ]


@pytest.mark.parametrize("norm", [True, False])
def test_snip_is_the_effect_of_scaling_a_weight(norm):
    """|g w| = |dL/dc| for a factor c on the weight, by central differences."""
    model, example = net(norm=norm), data()
    scores = snip_scores(model, Request(LAYERS, 0.5, example=example))
    step = 1e-5
    for layer in LAYERS:
        weight = model.get_submodule(layer).weight
        for position in positions(weight):
            value, losses = weight[position].item(), []
            for factor in (1 + step, 1 - step):
                with torch.no_grad():
                    weight[position] = value * factor
                losses.append(loss_at(model, example).item())
            with torch.no_grad():
                weight[position] = value
            expected = abs(losses[0] - losses[1]) / (2 * step)
            assert scores[layer][position].item() == pytest.approx(expected, rel=1e-5, abs=1e-10)


def test_snip_of_a_linear_classifier_has_a_closed_form():
    """For logits W x the gradient is (softmax − one-hot)ᵀ x / n."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 3, 1, bias=False), nn.Flatten()).double()
    x, y = torch.randn(9, 4, 1, 1, dtype=torch.float64), torch.randint(3, (9,))
    weight = model[0].weight.detach().view(3, 4)
    probabilities = torch.softmax(x.view(9, 4) @ weight.T, dim=1)
    gradient = (probabilities - F.one_hot(y, 3)).T @ x.view(9, 4) / 9
    scores = snip_scores(model, Request(("0",), 0.5, example=(x, y)))["0"]
    torch.testing.assert_close(scores.view(3, 4), (gradient * weight).abs())


def test_grasp_is_the_weight_times_the_hessian_gradient_product():
    """Hg by central differences of the gradient along g, the linear layer's part included."""
    model, example = net(norm=False), data()

    weights = [model.get_submodule(n).weight for n in (*LAYERS, "linear")]

    def gradient_of_model():
        loss = F.cross_entropy(model(example[0]) / 200, example[1])
        return torch.autograd.grad(loss, weights)

    g = gradient_of_model()
    step = 1e-2 / max(float(part.norm()) for part in g)
    moved = []
    for sign in (1, -1):
        with torch.no_grad():
            for weight, part in zip(weights, g, strict=True):
                weight.add_(part, alpha=sign * step)
        moved.append(gradient_of_model())
        with torch.no_grad():
            for weight, part in zip(weights, g, strict=True):
                weight.sub_(part, alpha=sign * step)
    scores = grasp_scores(model, Request(LAYERS, 0.5, example=example))
    for i, layer in enumerate(LAYERS):
        product = (moved[0][i] - moved[1][i]) / (2 * step)
        expected = weights[i].detach() * product
        torch.testing.assert_close(
            scores[layer], expected, rtol=2e-3, atol=1e-4 * float(expected.abs().max())
        )


def in_batches(monkeypatch, size):
    """Let pruners score at most ``size`` images at a time."""
    monkeypatch.setattr("nfe.pruning.scores._BATCH", size)


def test_scores_do_not_depend_on_micro_batches_without_norms(monkeypatch):
    model, example = net(norm=False), data()
    whole = {p: PRUNERS[p](model, Request(LAYERS, 0.5, example=example)) for p in ("snip", "grasp")}
    in_batches(monkeypatch, 5)
    for pruning, expected in whole.items():
        found = PRUNERS[pruning](model, Request(LAYERS, 0.5, example=example))
        for layer in LAYERS:
            torch.testing.assert_close(found[layer], expected[layer], rtol=1e-9, atol=1e-15)


def weights_and_loss(model, temperature):
    """Return the weights of convolutions and linear layers, and the loss as a function of them."""
    layers = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    start = [model.get_submodule(n).weight.detach() for n in layers]

    def loss(weights, images, labels):
        values = {f"{n}.weight": w for n, w in zip(layers, weights, strict=True)}
        logits = torch.func.functional_call(model, values, (images,)) / temperature
        return F.cross_entropy(logits, labels)

    return layers, start, loss


def reference_snip(model, batches):
    layers, start, loss = weights_and_loss(model, 1.0)
    gradients = [torch.func.grad(loss)(start, x, y) for x, y in batches]
    total = [torch.stack(parts).mean(0) for parts in zip(*gradients, strict=True)]
    found = zip(layers, start, total, strict=True)
    return {n: (g * w).abs() for n, w, g in found if "linear" not in n and "head" not in n}


def reference_grasp(model, batches):
    """w ⊙ Hg by an explicit product: forward over reverse, g and H summed over the batches."""
    layers, start, loss = weights_and_loss(model, 200.0)

    def gradient(*weights):
        each = [torch.func.grad(loss)(list(weights), x, y) for x, y in batches]
        return tuple(torch.stack(parts).mean(0) for parts in zip(*each, strict=True))

    along = gradient(*start)
    _, product = torch.func.jvp(gradient, tuple(start), along)
    found = zip(layers, start, product, strict=True)
    return {n: w * hg for n, w, hg in found if "linear" not in n and "head" not in n}


REFERENCES = {"snip": reference_snip, "grasp": reference_grasp}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("pruning", REFERENCES)
def test_scores_and_masks_equal_an_independent_implementation(monkeypatch, pruning, parts):
    """Gradients and products of another kind, on the same images in the same batches."""
    torch.manual_seed(0)
    model = slim("resnet18").double().train()
    draws = torch.Generator().manual_seed(1)
    images = torch.randn(20, 3, 16, 16, generator=draws, dtype=torch.float64)
    example = images, torch.randint(CLASSES, (20,), generator=draws)
    in_batches(monkeypatch, 20 // parts)
    layers = tuple(prunable(model))
    found = PRUNERS[pruning](model, Request(layers, 0.9, example=example))
    batches = list(zip(example[0].chunk(parts), example[1].chunk(parts), strict=True))
    # Batch norm as in training, its running statistics unused and not written.
    plain = copy.deepcopy(model)
    for norm in (m for m in plain.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        norm.track_running_stats = False
    expected = REFERENCES[pruning](plain, batches)
    assert set(expected) == set(layers)
    for name in layers:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=1e-12)
    kept = torch.cat([m.flatten() for m in masks(model, pruning, 0.9, example).values()])
    flat = torch.cat([expected[n].flatten() for n in layers])
    edge = flat.sort(descending=True).values[round(0.1 * len(flat))]
    clear = (flat - edge).abs() > 1e-9 * flat.abs().max()
    assert clear.double().mean() > 0.99
    assert torch.equal(kept[clear], (flat > edge)[clear])


def test_the_linear_layer_counts_in_grasp():
    """Not only the convolutions' gradient: with the linear layer's part, scores are others."""
    model, example = net(norm=False), data()
    layers, start, loss = weights_and_loss(model, 200.0)

    def gradient(*convolutions):
        return torch.func.grad(loss)([*convolutions, start[2]], *example)[:2]

    alone = tuple(start[:2])
    _, product = torch.func.jvp(gradient, alone, tuple(gradient(*alone)))
    scores = grasp_scores(model, Request(LAYERS, 0.5, example=example))
    assert layers == ["conv1", "conv2", "linear"]
    assert not torch.allclose(scores["conv1"], start[0] * product[0], rtol=0.1, atol=0)


def test_batches_are_as_large_as_memory_allows_and_follow_from_shapes():
    def sizes(name, resolution, images, pruning):
        model = architecture(name).build(channels=3, classes=10, resolution=resolution)
        image = torch.zeros(1, 3, resolution, resolution)
        parts = _batches(model, image, images, pruning)
        assert memory_mb(model, image, images, pruning) <= 20_000
        return parts

    assert sizes("wrn-10-1", 8, 512, "grasp") == 1
    assert sizes("wrn-10-1", 8, 513, "grasp") == 2
    assert sizes("resnet18", 32, 512, "snip") == 1
    # As the authors: ten images of each of 100 classes in two halves.
    assert sizes("resnet18", 32, 1000, "grasp") == 2
    assert memory_mb(nn.Identity(), torch.zeros(1, 3, 8, 8), 100, "magnitude") == 0


def test_synflow_of_two_linear_maps_has_a_closed_form():
    """R = 1ᵀ|V||W|1: the score of W_ij is |W_ij| Σ_k |V_ki| (and 1 for the next factor)."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(4, 6, 1, bias=False), nn.Conv2d(6, 3, 1, bias=False)
    model = nn.Sequential(first, second, nn.Flatten())
    example = (torch.randn(2, 4, 1, 1), torch.zeros(2, dtype=torch.int64))
    scores = synflow_scores(model, Request(("0", "1"), 0.0, example=example))
    w, v = first.weight.detach().abs().view(6, 4), second.weight.detach().abs().view(3, 6)
    torch.testing.assert_close(scores["0"].view(6, 4), w * v.sum(0)[:, None])
    torch.testing.assert_close(scores["1"].view(3, 6), v * w.sum(1)[None, :])


def test_synflow_conserves_flow_and_needs_no_data():
    """Per layer the scores sum to R (Tanaka et al., theorem 1), whatever images are given."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 5, 3, bias=False), nn.ReLU(), nn.Conv2d(5, 3, 3, bias=False), nn.Flatten()
    )
    one, other = ((torch.randn(2, 2, 5, 5), torch.zeros(2).long()) for _ in range(2))
    scores = synflow_scores(model, Request(("0", "2"), 0.0, example=one))
    assert float(scores["0"].sum()) == pytest.approx(float(scores["2"].sum()), rel=1e-5)
    again = synflow_scores(model, Request(("0", "2"), 0.0, example=other))
    assert torch.equal(scores["0"], again["0"])


def test_synflow_takes_float64_where_float32_overflows():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(4, 4, 1, bias=False) for _ in range(4)), nn.Flatten())
    example = (torch.randn(2, 4, 1, 1), torch.zeros(2).long())
    names = tuple("0123")
    plain = masks(model, "synflow", 0.5, example)
    with torch.no_grad():
        for layer in model[:4]:
            layer.weight.mul_(1e12)
    large = synflow_scores(model, Request(names, 0.5, example=example))
    assert all(
        score.dtype == torch.float64 and torch.isfinite(score).all() for score in large.values()
    )
    scaled = masks(model, "synflow", 0.5, example)
    assert all(torch.equal(plain[n], scaled[n]) for n in names)
    with torch.no_grad():
        for layer in model[:4]:
            layer.weight.mul_(1e90)
    with pytest.raises(InputError, match="overflow float64"):
        masks(model, "synflow", 0.5, example)


def test_synflow_avoids_the_layer_collapse_of_magnitude():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(8, 64, 3),
        nn.ReLU(),
        nn.Conv2d(64, 2, 3),
        nn.ReLU(),
        nn.Conv2d(2, 3, 1),
        nn.Flatten(),
    )
    with torch.no_grad():
        model[2].weight.mul_(1e-3)
    example = (torch.randn(2, 8, 5, 5), torch.zeros(2).long())
    with pytest.raises(CollapseError, match="layer '2'"):
        masks(model, "magnitude", 0.97, example)
    assert all(mask.any() for mask in masks(model, "synflow", 0.97, example).values())


def test_erk_densities_follow_the_formula():
    shapes = {"a": (64, 64, 3, 3), "b": (128, 64, 3, 3), "c": (128, 128, 3, 3)}
    kept = erk_counts(shapes, 0.8)
    size = {n: math.prod(s) for n, s in shapes.items()}
    factor = {n: kept[n] / size[n] / (sum(s) / size[n]) for n, s in shapes.items()}
    assert factor["a"] == pytest.approx(factor["b"], rel=1e-3)
    assert factor["b"] == pytest.approx(factor["c"], rel=1e-3)
    assert sum(kept.values()) == round(0.2 * sum(size.values()))


def test_erk_makes_small_layers_dense_and_solves_the_rest_again():
    shapes = {"tiny": (16, 3, 1, 1), "small": (16, 16, 3, 3), "large": (256, 256, 3, 3)}
    kept = erk_counts(shapes, 0.3)
    assert kept["tiny"] == 48
    assert kept["small"] == 16 * 16 * 9
    assert sum(kept.values()) == round(0.7 * sum(math.prod(s) for s in shapes.values()))


def example_for(model, n=20):
    draws = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, 8, 8, generator=draws), torch.arange(n) % CLASSES


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("pruning", PRUNERS)
@pytest.mark.parametrize("sparsity", [0.3, 0.85])
def test_the_kept_count_is_exact(pruning, scope, sparsity):
    torch.manual_seed(0)
    model = slim("resnet18")
    found = masks(model, pruning, sparsity, example_for(model), scope=scope)
    total = sum(mask.numel() for mask in found.values())
    kept = {n: int(mask.sum()) for n, mask in found.items()}
    if scope == "global" or pruning == "erk":
        assert sum(kept.values()) == round((1 - sparsity) * total)
    else:
        assert kept == {n: round((1 - sparsity) * mask.numel()) for n, mask in found.items()}


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    sparsity=st.floats(0, 0.99),
    levels=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_the_highest_are_kept_and_ties_go_by_index(sizes, sparsity, levels, seed):
    draws = torch.Generator().manual_seed(seed)
    scores = {
        str(i): torch.randint(levels, (n,), generator=draws).double() for i, n in enumerate(sizes)
    }
    flat = torch.cat(list(scores.values())).tolist()
    count = round((1 - sparsity) * len(flat))
    expected = set(sorted(range(len(flat)), key=lambda i: (-flat[i], i))[:count])
    kept = torch.cat(list(keep_highest(scores, [(tuple(scores), count)]).values()))
    assert set(kept.nonzero().flatten().tolist()) == expected


@pytest.mark.parametrize("pruning", PRUNERS)
def test_a_pruned_network_stays_pruned_in_training(pruning):
    torch.manual_seed(0)
    model = slim("wrn-10-1", 8)
    before = copy.deepcopy(model.state_dict())
    x, y = example_for(model)
    pruned = prune(model, pruning, 0.6, example=(x, y), scope="layer")
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())
    optimizer = torch.optim.SGD(pruned.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    start = {n: (m.weight == 0).clone() for n, m in prunable(pruned).items()}
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(pruned(x), y).backward()
        optimizer.step()
    for name, layer in prunable(pruned).items():
        assert (layer.weight[start[name]] == 0).all()
        assert (layer.weight[~start[name]] != 0).all()
        parametrize.remove_parametrizations(layer, "weight")
        assert "weight" in layer._parameters


def test_fission_scores_the_very_weights_that_it_keeps():
    torch.manual_seed(0)
    model = slim("wrn-10-1", 8)
    example = example_for(model)
    net = fission(model, 2, sparsity=0.7, pruning="snip", example=example)
    alone = masks(model, "snip", 0.7, example)
    for name, split in net.weights.items():
        assert torch.equal(split.group > 0, alone[name.replace("/", ".")])


@pytest.mark.parametrize("pruning", sorted(NEED_DATA))
def test_scoring_leaves_the_network_as_it_was(pruning):
    torch.manual_seed(0)
    model = slim("resnet18").train()
    before = copy.deepcopy(model.state_dict())
    masks(model, pruning, 0.5, example_for(model))
    assert model.training
    assert all(torch.equal(before[n], value) for n, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("snipp", 0.5), "did you mean 'snip'"),
        (("random", 1.0), "sparsity is 1.0"),
        (("random", -0.1), "sparsity is -0.1"),
        (("grasp", 0.5), "needs example"),
        (("none", 0.5), "'none'"),
    ],
)
def test_bad_requests_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        masks(slim("wrn-10-1", 8), *arguments)


def test_a_score_that_is_not_a_number_is_refused():
    model = slim("wrn-10-1", 8)
    with torch.no_grad():
        model.stem.weight.fill_(math.nan)
    with pytest.raises(InputError, match="NaN"):
        masks(model, "magnitude", 0.5)


def ordinary(dims: int = 2) -> nn.Module:
    torch.manual_seed(0)
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
    return nn.Sequential(
        conv(2, 6, 3, padding=1),
        nn.ReLU(),
        conv(6, 6, 3, padding=1),
        nn.Flatten(),
        nn.LazyLinear(4),
    )


def small(dims: int = 2) -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """A network and an example for it."""
    model, images = ordinary(dims), torch.randn(8, 2, *[5] * dims)
    model(images)
    return model, (images, torch.arange(8) % 4)


@pytest.mark.parametrize("pruning", sorted(PRUNERS))
@pytest.mark.parametrize("change", ["frozen", "no_grad", "inference", "int32", "bool buffer"])
def test_scores_do_not_depend_on_how_the_network_and_labels_are_held(pruning, change):
    model, example = small()
    expected = masks(model, pruning, 0.5, example)
    if change == "bool buffer":
        model[0].register_buffer("window", torch.ones(3, dtype=torch.bool))
    if change == "int32":
        example = (example[0], example[1].int())
    model.requires_grad_(change != "frozen")
    with torch.inference_mode(change == "inference"), torch.set_grad_enabled(change != "no_grad"):
        found = masks(model, pruning, 0.5, (example[0] + 0, example[1]))
    assert all(torch.equal(found[n], mask) for n, mask in expected.items())


@pytest.mark.parametrize("pruning", sorted(PRUNERS))
def test_a_pruned_network_is_not_pruned_again(pruning):
    model, example = small()
    once = prune(model, "magnitude", 0.5)
    with pytest.raises(InputError, match=r"layer '0' .* already pruned .*remove_parametrizations"):
        prune(once, pruning, 0.5, example=example)


@pytest.mark.parametrize("dims", [1, 3])
def test_convolutions_over_one_and_three_axes_are_pruned(dims):
    model, example = small(dims)
    for pruning in PRUNERS:
        pruned = prune(model, pruning, 0.5, example=example)
        kept = sum(int((pruned[n].weight != 0).sum()) for n in (0, 2))
        assert kept == round(0.5 * sum(model[n].weight.numel() for n in (0, 2)))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (lambda: nn.Linear(2, 2), {}, "Linear has no layer to prune: allowed: a network with conv"),
        (lambda: small()[0], {"layers": ["0", "3x"]}, "unknown layer '3x'"),
        (lambda: small()[0], {"layers": ["1"]}, r"layer '1' \(ReLU\) has no weight"),
        (lambda: small()[0], {"example": torch.zeros(3)}, r"example is one tensor \(3,\)"),
        (
            lambda: small()[0],
            {"example": (torch.zeros(3, 2), torch.zeros(2).long())},
            "example lab",
        ),
        (lambda: small()[0], {"pruning": "snip", "example": None}, "needs example"),
        (ordinary, {}, r"module '4' \(LazyLinear\) is lazy"),
        (lambda: small()[0].to("meta"), {}, "on the meta device"),
        (lambda: nn.utils.weight_norm(nn.Conv2d(2, 2, 1)), {}, "remove_weight_norm"),
    ],
)
def test_networks_that_cannot_be_pruned_are_refused_in_one_line(build, options, message):
    with pytest.raises(InputError, match=message) as error:
        prune(build(), **{"pruning": "magnitude", "sparsity": 0.5, **options})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("label", [-1, 4])
def test_labels_that_are_no_classes_are_refused(label):
    model, (images, labels) = small()
    labels[3] = label
    with pytest.raises(InputError, match="example labels: allowed: from 0 to 3"):
        prune(model, "snip", 0.5, example=(images, labels))
