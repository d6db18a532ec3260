"""The rivals as methods: what they compute, against constructions made by other means."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from rivals import RIVALS, context, method, network, unsettle_norms
from torch import Tensor, nn

from baselines.batch_ensemble import RankOne
from baselines.beed import Beed, teacher
from baselines.exit_ensemble_distillation import (
    ExitEnsembleDistillation,
    classification,
    mse_to_mean,
    soft_cross_entropy_to_mean,
)
from baselines.mc_dropout import MemberDropout
from baselines.mimo import Mimo
from baselines.sembg import BranchStructure
from baselines.shared.exits import Exits
from baselines.shared.replacing import replace_layers
from nfe.backbones import Architecture, architecture
from nfe.common.errors import InputError
from nfe.engine.trainer import make_optimizer
from nfe.evaluation.metrics import Combine, combined_log_probabilities
from nfe.method import (
    DrawsOnCpu,
    FormsBatches,
    GroupsParameters,
    Recipe,
    SequentialMembers,
    method_class,
)
from nfe.method.recipe import recipe_of

TIGHT = {"atol": 1e-5, "rtol": 1e-5}


# --- every rival ------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["wrn-10-1", "resnet18"])
@pytest.mark.parametrize("name", RIVALS)
def test_a_step_and_a_prediction(name: str, backbone: str) -> None:
    chosen = method(name, backbone)
    made = network(name, backbone)
    images, labels = torch.randn(6, 3, 16, 16), torch.arange(6) % 5
    inputs, targets = FormsBatches.of(chosen).training_batch(
        images, labels, torch.Generator().manual_seed(0)
    )
    DrawsOnCpu.of(chosen).draw(made, inputs)
    loss, logits = chosen.loss(made.train(), inputs, targets)
    loss.backward()
    assert logits.shape[0] == len(targets)
    trained = made.members[made.active] if isinstance(made, SequentialMembers) else made
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.parameters())
    made.eval()
    members = chosen.settings().get("members") or {"wrn-10-1": 3, "resnet18": 4}[backbone]
    own = {"sembg": 3, "mixmo": 2, "oskd": 1, "self_distilled": 1, "slimmable": 4, "mutualnet": 3}
    members = {**own, "partially_masked": 2}.get(name, members)
    assert made(images).shape == (6, members, 5)
    # A prediction depends neither on the batch around it nor on the moment.
    torch.testing.assert_close(made(images)[2:3], made(images[2:3]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", RIVALS)
def test_groups_hold_every_parameter_once(name: str) -> None:
    made = network(name)
    groups = GroupsParameters.of(method(name)).parameter_groups(made, Recipe(8))
    held = [p for group in groups for p in group["params"]]
    assert len(held) == len(set(held)) == len(list(made.parameters()))


@given(st.permutations(range(4)), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_order_of_members_does_not_matter(order: list[int], seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(5, 4, 7)).astype(np.float16)
    rules: tuple[Combine, ...] = ("logits", "probabilities")
    for rule in rules:
        one = combined_log_probabilities(logits, rule)
        other = combined_log_probabilities(logits[:, order], rule)
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("name", ["mimo", "batch_ensemble", "packed_ensemble"])
def test_permuted_weights_are_permuted_members(name: str) -> None:
    """Exchanging the members' own weights exchanges the members and leaves their mean."""
    made = network(name, members=3).eval()
    unsettle_norms(made)
    permuted = copy.deepcopy(made)
    order = [2, 0, 1]
    permute_members(name, permuted, order)
    images = torch.randn(4, 3, 16, 16)
    one, other = made(images), permuted(images)
    assert (one[:, 0] - one[:, 1]).abs().max() > 1e-3
    torch.testing.assert_close(other, one[:, order], **TIGHT)
    torch.testing.assert_close(other.softmax(-1).mean(1), one.softmax(-1).mean(1), **TIGHT)


@torch.no_grad()
def permute_members(name: str, made: nn.Module, order: list[int]) -> None:
    def blocks(tensor: Tensor, axis: int) -> Tensor:
        return torch.cat([tensor.chunk(3, axis)[m] for m in order], axis)

    parameters = dict(made.named_parameters()) | dict(made.named_buffers())
    for key, value in parameters.items():
        if name == "mimo" and key == "backbone.stem.weight":
            value.copy_(blocks(value, 1))
        elif name == "mimo" and key.startswith("backbone.head.4"):
            value.copy_(blocks(value, 0))
        elif (name == "batch_ensemble" and key.rpartition(".")[2] in ("r", "s")) or (
            name == "batch_ensemble" and key == "backbone.head.4.bias"
        ):
            value.copy_(value[order])
        elif name == "packed_ensemble" and value.dim() > 0:
            value.copy_(blocks(value, 0))


# --- MIMO -------------------------------------------------------------------------------


@given(
    members=st.integers(1, 4),
    repetition=st.integers(1, 4),
    share=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
@settings(max_examples=30, deadline=None)
def test_mimo_rows(members: int, repetition: int, share: float) -> None:
    batch = 8
    images = torch.arange(batch).float().view(batch, 1, 1, 1).expand(batch, 2, 1, 1)
    chosen = Mimo(members, repetition, share)
    inputs, targets = chosen.training_batch(
        images, torch.arange(batch), torch.Generator().manual_seed(0)
    )
    rows = repetition * batch
    assert inputs.shape == (rows, 2 * members, 1, 1)
    assert targets.shape == (rows, members)
    # Each member sees every image `repetition` times, beside its own label.
    assert (
        targets.sort(0).values == torch.arange(batch).repeat_interleave(repetition)[:, None]
    ).all()
    assert (inputs[:, ::2, 0, 0] == targets).all()
    same = (targets == targets[:, :1]).all(1).sum()
    assert same >= round(rows * share)


def test_mimo_members_see_different_images() -> None:
    chosen = Mimo(3, 4)
    _, targets = chosen.training_batch(
        torch.zeros(64, 1, 1, 1), torch.arange(64), torch.Generator().manual_seed(0)
    )
    assert (targets[:, 0] == targets[:, 1]).float().mean() < 0.1


def test_mimo_loss_is_summed_over_members() -> None:
    chosen, made = method("mimo"), network("mimo").train()
    inputs, targets = torch.randn(4, 9, 16, 16), torch.randint(5, (4, 3))
    loss, logits = chosen.loss(made, inputs, targets)
    expected = sum(F.cross_entropy(logits[:, m], targets[:, m]) for m in range(3))
    torch.testing.assert_close(loss, torch.as_tensor(expected))


# --- BatchEnsemble ----------------------------------------------------------------------


@torch.no_grad()
def test_batch_ensemble_is_m_dense_networks() -> None:
    """Member m is the plain network with weights W ∘ (s_m r_mᵀ), in every layer."""
    made = network("batch_ensemble", members=3).eval()
    unsettle_norms(made)
    images = torch.randn(2, 3, 16, 16)
    logits = made(images)
    for member in range(3):
        dense = copy.deepcopy(made.backbone)

        def plain(_: str, layer: Any, m: int = member) -> nn.Module:
            inner = copy.deepcopy(layer.layer)
            outer = layer.s[m][:, None] * layer.r[m][None]
            inner.weight.mul_(outer.reshape(*outer.shape, *[1] * (inner.weight.dim() - 2)))
            if layer.bias is not None:
                inner.bias = nn.Parameter(layer.bias[m].clone())
            return inner

        replace_layers(dense, RankOne, plain)
        torch.testing.assert_close(logits[:, member], dense(images), **TIGHT)


def test_batch_ensemble_divides_the_rows() -> None:
    labels = torch.arange(6)
    images = labels.float().view(6, 1, 1, 1)
    draws = torch.Generator()
    _, whole = method("batch_ensemble", members=3).training_batch(images, labels, draws)
    assert whole.tolist() == labels.tolist() * 3
    chosen = method("batch_ensemble", members=3, repetition=1)
    rows, once = chosen.training_batch(images, labels, draws)
    assert once.tolist() == labels.tolist()
    assert rows.flatten().tolist() == labels.tolist()
    with pytest.raises(InputError, match="repetition is 2 with 7 images a batch and 3 members"):
        method("batch_ensemble", members=3, repetition=2).training_batch(
            torch.zeros(7, 1, 1, 1), torch.zeros(7), draws
        )


def test_fast_weights_get_half_the_gradient_and_no_decay() -> None:
    """Five steps of Nesterov SGD against the update written out."""
    chosen, made = method("batch_ensemble"), network("batch_ensemble").double()
    recipe = Recipe(4)
    optimizer = make_optimizer(chosen, made, recipe)
    layer = next(m for m in made.modules() if isinstance(m, RankOne))
    expected = {"r": layer.r.detach().clone(), "weight": layer.layer.weight.detach().clone()}
    velocity = {key: torch.zeros_like(value) for key, value in expected.items()}
    for step in range(5):
        rate = 0.1 / (step + 1)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)
        inputs, targets = torch.randn(6, 3, 16, 16).double(), torch.randint(5, (6,))
        optimizer.zero_grad()
        chosen.loss(made.train(), inputs, targets)[0].backward()
        gradients = {
            "r": 0.5 * layer.r.grad,
            "weight": layer.layer.weight.grad + recipe.weight_decay * expected["weight"],
        }
        for key, gradient in gradients.items():
            # The rate changes between steps; velocity is in units of gradient, as PyTorch's.
            velocity[key] = recipe.momentum * velocity[key] + gradient
            expected[key] = expected[key] - rate * (gradient + recipe.momentum * velocity[key])
        optimizer.step()
    torch.testing.assert_close(layer.r.detach(), expected["r"])
    torch.testing.assert_close(layer.layer.weight.detach(), expected["weight"])


def test_with_adamw_the_shared_kernels_and_matrices_alone_decay() -> None:
    """What the card says: nor r, s and biases, matrices though they are; they are slower."""
    chosen, made = method("batch_ensemble", "vit-tiny-4"), network("batch_ensemble", "vit-tiny-4")
    optimizer = make_optimizer(chosen, made, recipe_of(4, "adamw", {}))
    names = {parameter: name for name, parameter in made.named_parameters()}
    groups = [(names[p], group) for group in optimizer.param_groups for p in group["params"]]
    assert {name for name, _ in groups} == set(names.values())
    decayed = {name for name, group in groups if group["weight_decay"]}
    shared = {f"{n}.layer.weight" for n, m in made.named_modules() if isinstance(m, RankOne)}
    assert decayed == shared
    slower = {name for name, group in groups if group.get("lr_factor") == 0.5}
    assert slower == {n for n in names.values() if n.rpartition(".")[2] in ("r", "s")} | {
        f"{n}.bias"
        for n, m in made.named_modules()
        if isinstance(m, RankOne) and m.bias is not None
    }


def test_activations_between_rank_one_layers_stay_in_bfloat16() -> None:
    seen: set[torch.dtype] = set()
    made = network("batch_ensemble", "wrn-10-1", members=2)
    for layer in made.modules():
        if isinstance(layer, (RankOne, nn.BatchNorm2d)):
            layer.register_forward_hook(lambda _module, _inputs, y: seen.add(y.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        made(torch.randn(4, 3, 16, 16)).float().sum().backward()
    assert seen == {torch.bfloat16}
    assert method("batch_ensemble").version == 2


def test_factors_follow_init() -> None:
    torch.manual_seed(0)
    normal = RankOne(nn.Conv2d(500, 8, 1, bias=False), members=4, init=-0.5).r
    assert normal.mean().item() == pytest.approx(1, abs=0.05)
    assert normal.std().item() == pytest.approx(0.5, abs=0.05)
    signs = RankOne(nn.Conv2d(500, 8, 1, bias=False), members=4, init=0.75).r
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert (signs > 0).float().mean().item() == pytest.approx(0.75, abs=0.05)


# --- exit-ensemble distillation and BEED ------------------------------------------------

LOGITS = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 4.0], [0.0, 0.0]]], dtype=torch.float64)
LABELS = torch.tensor([0, 1])


def test_eed_terms_by_hand() -> None:
    # Two images, two exits, two classes; means (1, 0) and (0, 2).
    cross_entropy = (math.log(2) + math.log1p(math.exp(-4))) / 2
    cross_entropy += (math.log1p(math.exp(-2)) + math.log(2)) / 2
    assert classification(LOGITS, LABELS).item() == pytest.approx(cross_entropy)
    # Exit 1: errors −1, 0, 0, 2; exit 2: 1, 0, 0, −2: each 5 / 4.
    assert mse_to_mean(LOGITS).item() == pytest.approx(2.5)
    soft = 0.0
    for teacher_gap, gaps in ((1, (0, 2)), (2, (4, 0))):
        p = 1 / (1 + math.exp(-teacher_gap / 3))
        for gap in gaps:
            q = 1 / (1 + math.exp(-gap / 3))
            soft -= (p * math.log(q) + (1 - p) * math.log(1 - q)) / 2
    assert soft_cross_entropy_to_mean(LOGITS).item() == pytest.approx(0.1 * 9 * soft)


@pytest.mark.parametrize("output", ["mse", "kl"])
def test_eed_loss_is_the_sum_of_its_terms(output: str) -> None:
    chosen = ExitEnsembleDistillation(output=output)
    made = network("exit_ensemble_distillation", "resnet18").eval()
    assert isinstance(made, Exits)
    images, labels = torch.randn(3, 3, 16, 16), torch.tensor([0, 3, 1])
    loss, logits = chosen.loss(made, images, labels)
    pooled = torch.stack([m.mean((2, 3)) for m in made.maps(images)], 1)
    assert pooled.shape == (3, 4, 512)
    mean = pooled.mean(1)
    expected = sum(F.cross_entropy(logits[:, k], labels) for k in range(4))
    expected += sum(F.mse_loss(pooled[:, k], mean) for k in range(4))
    if output == "mse":
        expected += sum(F.mse_loss(logits[:, k], logits.mean(1)) for k in range(4))
    else:
        soft = (logits.mean(1) / 3).softmax(-1)
        expected += sum(0.9 * F.cross_entropy(logits[:, k] / 3, soft) for k in range(4))
    torch.testing.assert_close(loss, torch.as_tensor(expected))


def test_the_teacher_gets_no_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    mse_to_mean(logits).backward()
    # d/dz of Σ (z − const)² / 4: the mean's own dependence on z is not followed.
    expected = (LOGITS - LOGITS.mean(1, keepdim=True)) / 2
    torch.testing.assert_close(logits.grad, expected)
    assert not teacher(logits.transpose(0, 1), 1.6).requires_grad


def test_beed_terms_by_hand() -> None:
    three = torch.cat([LOGITS, LOGITS[:, :1] - 1], dim=1)
    weights = [1 / 5.16, 1.6 / 5.16, 2.56 / 5.16]
    mean = sum(w * three[:, k] for k, w in enumerate(weights))
    torch.testing.assert_close(teacher(three.transpose(0, 1), 1.6), mean)
    terms = Beed().output_terms(three, LABELS)
    follow = [1.15**2, 1.15, 1.0]
    soft = (mean / 3).softmax(-1)
    for k in range(3):
        hard = -three[:, k].log_softmax(-1)[torch.arange(2), LABELS].mean()
        log_ratio = soft.log() - (three[:, k] / 3).log_softmax(-1)
        divergence = 9 * (soft * log_ratio).sum(-1).mean()
        expected = (2 - follow[k]) * hard + follow[k] * divergence
        torch.testing.assert_close(terms[k], expected)


def test_beed_feature_term() -> None:
    made = network("beed", "resnet18").eval()
    assert isinstance(made, Exits)
    images, labels = torch.randn(2, 3, 16, 16), torch.tensor([1, 2])
    maps = made.maps(images)
    assert {m.shape for m in maps} == {torch.Size((2, 512, 2, 2))}
    weights = torch.tensor([1, 1.6, 1.6**2, 1.6**3])
    mean = sum(w * m for w, m in zip(weights / weights.sum(), maps, strict=True))
    with_features, logits = Beed().loss(made, images, labels)
    without, _ = Beed(features=0).loss(made, images, labels)
    expected = 0.1 * sum(F.mse_loss(m, mean) for m in maps)
    torch.testing.assert_close(with_features - without, torch.as_tensor(expected), **TIGHT)
    torch.testing.assert_close(without, Beed().output_terms(logits, labels).sum())


@pytest.mark.parametrize(
    ("name", "kernels"),
    [("exit_ensemble_distillation", [3]), ("beed", [1, 3, 1])],
)
def test_exit_branches_reach_the_trunks_shape(name: str, kernels: list[int]) -> None:
    made = network(name, "resnet18")
    assert isinstance(made, Exits)
    path = [64, 128, 256, 512]
    for number, branch in enumerate(made.exits):
        convolutions = [m for m in branch.modules() if isinstance(m, nn.Conv2d)]
        assert [c.kernel_size[0] for c in convolutions] == kernels * (3 - number)
        widths = [convolutions[0].in_channels, *(c.out_channels for c in convolutions)]
        assert list(dict.fromkeys(widths)) == path[number:]
        strides = math.prod(c.stride[0] for c in convolutions)
        assert strides == 2 ** (3 - number)


@pytest.mark.parametrize("name", ["exit_ensemble_distillation", "beed"])
def test_the_main_exit_is_the_plain_network(name: str) -> None:
    torch.manual_seed(0)
    plain = context("wrn-10-2").backbone().eval()
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(network(name).eval()(images)[:, -1], plain(images), **TIGHT)


# --- SEMBG and TreeNet ------------------------------------------------------------------


def test_sembg_widths_and_groups_on_wrn_28_10() -> None:
    branches = [BranchStructure(g, (1, 2, 3)) for g in (1, 2, 3)]
    assert [s.width(1, 160) for s in branches] == [156] * 3
    assert [(s.width(2, 320), s.width(3, 640)) for s in branches] == [
        (184, 369),
        (260, 522),
        (318, 639),
    ]
    made = network("sembg", "wrn-10-10")
    for count, branch in zip((1, 2, 3), made.branches, strict=True):
        for key, layer in branch.named_modules():
            if isinstance(layer, nn.Conv2d):
                assert layer.groups == (1 if "shortcut" in key else count)
    assert all(m.groups == 1 for m in made.trunk.modules() if isinstance(m, nn.Conv2d))


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    plain=st.sampled_from([64, 128, 256, 512]),
    stage=st.integers(2, 4),
)
@settings(max_examples=50, deadline=None)
def test_sembg_width_is_the_papers(counts: list[int], plain: int, stage: int) -> None:
    for g in counts:
        width = BranchStructure(g, tuple(counts)).width(stage, plain)
        exact = plain * math.sqrt(g / len(counts))
        assert width % g == 0
        assert exact - g < width <= exact * (1 + 1e-9)


def test_sembg_loss_is_that_of_fission() -> None:
    chosen, made = method("sembg"), network("sembg").eval()
    images, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    loss, logits = chosen.loss(made, images, labels)
    soft = (logits.mean(1) / 3).softmax(-1)
    expected = torch.zeros(())
    for k in range(3):
        student = (logits[:, k] / 3).log_softmax(-1)
        expected = expected + F.cross_entropy(logits[:, k], labels)
        expected = expected + 9 * (soft * (soft.log() - student)).sum(-1).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("shared", [0, 1, 2])
@torch.no_grad()
def test_treenet_is_m_dense_networks(shared: int) -> None:
    """Whole networks of their own, tied only by copies of the shared weights."""
    made = network("treenet", members=3, shared=shared).eval()
    unsettle_norms(made)
    torch.manual_seed(0)
    backbones = [context("wrn-10-2").backbone().eval() for _ in range(3)]
    images = torch.randn(2, 3, 16, 16)
    for member, dense in enumerate(backbones):
        dense.stem.load_state_dict(made.stem.state_dict())
        for number, stage in enumerate(dense.stages):
            own = made.branches[member]
            source = made.trunk[number] if number < shared else own[number - shared]
            stage.load_state_dict(source.state_dict())
        dense.head.load_state_dict(made.heads[member].state_dict())
        torch.testing.assert_close(made(images)[:, member], dense(images), **TIGHT)


def test_treenet_branches_train_like_single_networks() -> None:
    chosen, made = method("treenet"), network("treenet")
    images, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    loss, logits = chosen.loss(made, images, labels)
    expected = sum(F.cross_entropy(logits[:, m], labels) for m in range(3))
    torch.testing.assert_close(loss, torch.as_tensor(expected))


# --- MC dropout -------------------------------------------------------------------------


@torch.no_grad()
def test_mc_dropout_members_are_dense_networks_with_fixed_masks() -> None:
    made = network("mc_dropout", members=3, rate=0.3).eval()
    unsettle_norms(made)
    images = torch.randn(2, 3, 16, 16)
    logits = made(images)
    for member in range(3):
        dense = copy.deepcopy(made.backbone)

        def fixed(_: str, layer: Any, m: int = member) -> nn.Module:
            return Multiply(layer, m)

        replace_layers(dense, MemberDropout, fixed)
        torch.testing.assert_close(logits[:, member], dense(images), **TIGHT)


class Multiply(nn.Module):
    """One member's mask of a dropout layer."""

    def __init__(self, layer: MemberDropout, member: int) -> None:
        super().__init__()
        self.layer, self.member = layer, member

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layer.masks(x.shape[1:], x.device)[self.member]


def test_mc_dropout_trains_like_ordinary_dropout() -> None:
    made = network("mc_dropout", rate=0.3).train()
    dense = copy.deepcopy(made.backbone)
    replace_layers(dense, MemberDropout, lambda _, layer: nn.Dropout(layer.rate))
    images = torch.randn(2, 3, 16, 16)
    torch.manual_seed(1)
    ours = made(images)
    torch.manual_seed(1)
    torch.testing.assert_close(ours[:, 0], dense(images))


def test_masks_are_drawn_on_the_cpu_whatever_the_device() -> None:
    layer = MemberDropout(0.3, 4, seed=0, name="x")
    # No generator can be made for the meta device: what lies there was drawn elsewhere.
    assert layer.masks(torch.Size((3, 2)), torch.device("meta")).device.type == "meta"
    here = layer.masks(torch.Size((3, 2)), torch.device("cpu"))
    assert layer.masks(torch.Size((3, 2)), torch.device("cpu")) is here
    assert layer.masks(torch.Size((5,)), torch.device("cpu")).shape == (4, 1, 5)
    assert torch.equal(layer.masks(torch.Size((3, 2)), torch.device("cpu")), here)


def test_masks_drop_at_the_rate_and_keep_the_mean() -> None:
    layer = MemberDropout(0.3, 4, seed=0, name="x")
    masks = layer.masks(torch.Size((40, 10, 10)), torch.device("cpu"))
    assert (masks == 0).float().mean((1, 2, 3, 4)) == pytest.approx([0.3] * 4, abs=0.03)
    assert masks.mean().item() == pytest.approx(1, abs=0.02)
    assert not torch.equal(masks[0], masks[1])
    other = MemberDropout(0.3, 4, seed=1, name="x")
    assert not torch.equal(masks, other.masks(torch.Size((40, 10, 10)), torch.device("cpu")))


# --- Packed-Ensembles -------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["wrn-10-2", "resnet50", "resnext50", "vgg16"])
def test_packed_members_do_not_see_each_other(backbone: str) -> None:
    """Behind the stem, silencing one member's features changes that member alone."""
    torch.manual_seed(0)
    made = method("packed_ensemble", backbone).network(context(backbone, resolution=32)).eval()
    features = made.backbone.stem(torch.randn(2, 3, 32, 32))
    silenced = features.clone()
    silenced.chunk(3, dim=1)[1].zero_()

    def logits(x: Tensor) -> Tensor:
        for part in (*made.backbone.stages, made.backbone.head):
            x = part(x)
        return x.unflatten(1, (3, -1))

    changed = (logits(features) - logits(silenced)).abs().amax((0, 2))
    assert changed[1] > 0
    assert changed[0] == changed[2] == 0


# --- bad input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings_", "message"),
    [
        ("mimo", {"members": 0}, "members is 0: allowed: whole numbers from 1"),
        ("mimo", {"repetition": 0}, "repetition is 0: allowed: whole numbers from 1"),
        ("mimo", {"repetition": "1.5"}, "repetition is '1.5': allowed: whole numbers"),
        ("mimo", {"input_repetition": 2}, "input_repetition is 2: allowed"),
        ("batch_ensemble", {"members": -1}, "members is -1: allowed"),
        ("batch_ensemble", {"members": 2.5}, "members is 2.5: allowed: whole numbers"),
        ("batch_ensemble", {"repetition": 0}, "repetition is 0: allowed: whole numbers from 1"),
        ("batch_ensemble", {"repetition": 4}, "repetition is 4: allowed: .* from 1 to 3"),
        ("batch_ensemble", {"init": 0}, "init is 0.0: allowed"),
        ("treenet", {"members": 0}, "members is 0: allowed"),
        ("treenet", {"shared": 3}, "shared is 3: allowed: whole numbers from 0 to 2"),
        ("narrow_ensemble", {"members": 0}, "members is 0: allowed: whole numbers from 1"),
        ("narrow_ensemble", {"unit": 0}, "unit is 0: allowed: whole numbers from 1"),
        ("packed_ensemble", {"gamma": 0}, "gamma is 0: allowed"),
        ("packed_ensemble", {"alpha": -1}, "alpha is -1: allowed: numbers above 0"),
        ("mc_dropout", {"rate": 1}, "rate is 1: allowed: numbers above 0 and below 1"),
        ("mc_dropout", {"members": 0}, "members is 0: allowed"),
        ("sembg", {"groups": "1/0"}, "groups is '1/0': allowed: whole numbers from 1"),
        ("sembg", {"temperature": 0}, "temperature is 0: allowed: numbers above 0"),
        ("exit_ensemble_distillation", {"output": "kll"}, "unknown output 'kll'.*'kl'"),
        ("beed", {"balance": 1.5}, "balance is 1.5: allowed: above 0 up to 1.414"),
        ("snapshot", {"members": 0}, "members is 0: allowed: whole numbers from 1"),
        ("mixmo", {"repetition": 0}, "repetition is 0: allowed: whole numbers from 1"),
        ("mixmo", {"patch": -0.1}, r"patch is -0.1: allowed: numbers from 0 to 1"),
        ("mixmo", {"alpha": 0}, "alpha is 0: allowed: numbers above 0"),
        ("mixmo", {"root": "x"}, "root is 'x': allowed: numbers"),
        ("mixmo", {"members": 3}, "unknown setting of the method 'members'"),
        ("dst", {"members": 1.5}, "members is 1.5: allowed: whole numbers"),
        ("dst", {"sparsity": 1}, "sparsity is 1: allowed: numbers above 0 and below 1"),
        ("dst", {"drop": 0}, "drop is 0: allowed: numbers above 0 and below 1"),
        ("dst", {"interval": 0}, "interval is 0: allowed: numbers above 0"),
        ("edst", {"exploration": 1}, "exploration is 1: allowed: numbers above 0 and below"),
        ("edst", {"escape": 0}, "escape is 0: allowed: numbers above 0 and below 1"),
        ("prune_and_tune", {"members": -1}, "members is -1: allowed: whole numbers from 1"),
        ("prune_and_tune", {"parent": 0}, "parent is 0: allowed: numbers above 0 and below"),
        ("local_critic", {"width": 0}, "width is 0: allowed: whole numbers from 1"),
        ("local_critic", {"critic_lr": 0}, "critic_lr is 0: allowed: numbers above 0"),
        ("oskd", {"neighbours": 0}, "neighbours is 0: allowed: whole numbers from 1"),
        ("oskd", {"distillation": -1}, "distillation is -1: allowed: numbers from 0"),
        ("oskd", {"temperature": 0}, "temperature is 0: allowed: numbers above 0"),
        ("self_distilled", {"trust": 1}, "trust is 1: allowed: numbers above 0 and below 1"),
        ("multi_swag", {"modes": 1}, "modes is 1: allowed: whole numbers from 2"),
        ("swag", {"rank": 1}, "rank is 1: allowed: whole numbers from 2"),
        ("swag", {"rate": 1.5}, "rate is 1.5: allowed: numbers above 0 to 1"),
        ("swag", {"scale": -1}, "scale is -1: allowed: numbers from 0"),
        (
            "swag",
            {"start": 0.9, "statistics": 0.2},
            "start is 0.9 with statistics 0.2: allowed: shares of the run that together are below",
        ),
        ("subnetwork_ensemble", {"parent": 1}, "parent is 1: allowed: numbers above 0 and below"),
        ("subnetwork_ensemble", {"children": "nosy"}, "unknown children 'nosy'.*'noisy'"),
        ("subnetwork_ensemble", {"noise": -1}, "noise is -1: allowed: numbers from 0"),
        ("subnetwork_ensemble", {"chance": 2}, "chance is 2: allowed: numbers from 0 to 1"),
        ("subnetwork_ensemble", {"annealing": 0}, "annealing is 0: allowed: numbers above 0 to 1"),
        (
            "subnetwork_ensemble",
            {"children": "partitioned", "members": 1},
            "members is 1 with children 'partitioned': allowed: whole numbers from 2",
        ),
        ("ffl", {"members": 2}, "members is 2: allowed: whole numbers from 3"),
        ("ffl", {"shared": 3}, "shared is 3: allowed: whole numbers from 0 to 2"),
        ("ffl", {"rampup": 1.5}, "rampup is 1.5: allowed: numbers from 0 to 1"),
        ("ffl", {"fusion_decay": -1}, "fusion_decay is -1: allowed: numbers from 0"),
        ("slimmable", {"widths": "1"}, "widths is '1': allowed"),
        ("slimmable", {"widths": "0/1"}, "widths is '0/1': allowed: numbers above 0 to 1"),
        ("slimmable", {"widths": "1/0.5"}, r"widths is \[1.0, 0.5\]: allowed: ascending shares"),
        ("slimmable", {"inplace": 2}, "inplace is 2: allowed: true or false"),
        ("mutualnet", {"widths": "0.5/0.9"}, r"widths is \[0.5, 0.9\]: allowed: .* last one 1"),
        ("mutualnet", {"scales": "0.5/1"}, r"scales is \[0.5, 1.0\]: allowed: descending"),
        ("mutualnet", {"scales": "0.9"}, r"scales is \[0.9\]: allowed: .* the first one 1"),
        ("mutualnet", {"distillation": -1}, "distillation is -1: allowed: numbers from 0"),
        ("laplace", {"members": 0}, "members is 0: allowed: whole numbers from 1"),
        ("laplace", {"per_class": 0}, "per_class is 0: allowed: whole numbers from 1"),
        ("laplace", {"prior": 0}, "prior is 0: allowed: numbers above 0 or none"),
        ("hydra", {"members": 0}, "members is 0: allowed: whole numbers from 1"),
        ("hydra", {"temperature": 0}, "temperature is 0: allowed: numbers above 0"),
        ("hydra", {"common": 1}, "common is 1: allowed: numbers from 0 and below 1"),
        ("stochastic_depth", {"members": 0}, "members is 0: allowed: whole numbers from 1"),
        ("stochastic_depth", {"survival": 1}, "survival is 1: allowed: numbers above 0 and below"),
        ("partially_masked", {"sparsity": 1}, "sparsity is 1: allowed: numbers above 0 and below"),
    ],
)
def test_bad_settings_are_refused(name: str, settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        method(name, **settings_)


def test_groups_larger_than_the_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"groups is \[1, 7, 5\]: stage 1 has 32 channels"):
        network("sembg", groups="1/7/5")


@pytest.mark.parametrize(
    "name", ["exit_ensemble_distillation", "beed", "sembg", "treenet", "local_critic", "ffl"]
)
def test_a_network_without_stages_has_no_exits(name: str) -> None:
    flat = Architecture("flat", 0, architecture("wrn-10-1").factory)
    with pytest.raises(InputError, match="'flat' has 0 stages: allowed: architectures with at"):
        method_class(name)().resolved(flat)
