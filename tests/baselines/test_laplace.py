"""Last-layer Laplace: the posterior against the exact Hessian, its evidence, and its draws."""

import copy

import pytest
import torch
import torch.nn.functional as F
from rivals import context, method, network
from torch import Tensor, nn

from baselines.laplace import PRIORS, LastLayer, Posterior
from nfe.backbones import Backbone
from nfe.common.errors import InputError
from nfe.method import SGD, Context, Step

DRAWS = torch.Generator().manual_seed(0)
MEAN = torch.randn(3, 4, generator=DRAWS, dtype=torch.float64)
FEATURES = torch.randn(50, 4, generator=DRAWS, dtype=torch.float64)


def kron(posterior: Posterior) -> Tensor:
    """N · (G ⊗ A), weights in the order of their rows."""
    a, g = (
        vectors @ torch.diag(values) @ vectors.T
        for values, vectors in (posterior.inputs, posterior.outputs)
    )
    return posterior.images * torch.kron(g, a)


def covariance(posterior: Posterior) -> Tensor:
    """Of the draws, exactly: they are linear in the normal numbers."""
    axes = torch.eye(posterior.mean.numel(), dtype=torch.float64).view(-1, *posterior.mean.shape)
    offsets = (posterior.draw(axes) - posterior.mean).flatten(1)
    return offsets.T @ offsets


def test_of_one_image_precision_is_the_exact_hessian() -> None:
    """There the Kronecker product is exact, and so is the Gauss–Newton matrix of a linear layer."""
    posterior = Posterior.fit(MEAN, FEATURES[:1], images=7, prior=0.3)

    def objective(weights: Tensor) -> Tensor:
        logits = FEATURES[:1] @ weights.view(3, 4).T
        loss = F.cross_entropy(logits, torch.tensor([1]))
        return 7 * loss + 0.3 / 2 * weights.square().sum()

    hessian = torch.autograd.functional.hessian(objective, MEAN.flatten())
    torch.testing.assert_close(covariance(posterior), torch.linalg.inv(hessian))


def test_factors_are_means_over_images() -> None:
    posterior = Posterior.fit(MEAN, FEATURES, images=200, prior=0.3)
    gram = sum(torch.outer(row, row) for row in FEATURES) / 50
    curvature = torch.zeros(3, 3, dtype=torch.float64)
    for row in FEATURES:
        p = (MEAN @ row).softmax(0)
        curvature += (torch.diag(p) - torch.outer(p, p)) / 50
    precision = 200 * torch.kron(curvature, torch.as_tensor(gram))
    torch.testing.assert_close(kron(posterior), precision)
    exact = torch.linalg.inv(precision + 0.3 * torch.eye(12, dtype=torch.float64))
    torch.testing.assert_close(covariance(posterior), exact)


def test_evidence_is_that_of_the_whole_matrix_and_the_prior_its_maximum() -> None:
    posterior = Posterior.fit(MEAN, FEATURES, images=200)
    eye = torch.eye(12, dtype=torch.float64)

    def direct(prior: float) -> Tensor:
        weights = MEAN.flatten()
        gaussian = torch.distributions.MultivariateNormal(0 * weights, eye / prior)
        # The integral of exp(−½ (w − w*)ᵀ H (w − w*)).
        return gaussian.log_prob(weights) - torch.logdet(kron(posterior) + prior * eye) / 2

    shift = direct(1.0) - posterior.evidence(1.0)
    for prior in (1e-3, 0.1, 30.0):
        torch.testing.assert_close(posterior.evidence(prior) + shift, direct(prior))
    best = max(PRIORS.tolist(), key=direct)
    assert posterior.prior == pytest.approx(best)
    # MacKay's fixed point, within the grid's spacing: δ ‖w‖² = Σ λ / (λ + δ).
    share = posterior.curvature / (posterior.curvature + best)
    assert (share.sum() / MEAN.square().sum()).item() == pytest.approx(best, rel=0.13)


def looking() -> Context:
    """A context with training images to look at."""
    plain = context("wrn-10-2")

    def example(per_class: int) -> tuple[Tensor, Tensor]:
        draws = torch.Generator().manual_seed(3)
        labels = torch.arange(5).repeat_interleave(per_class)
        return torch.randn(len(labels), 3, 16, 16, generator=draws), labels

    return Context(plain.architecture, 3, 5, 16, 0, example)


@torch.enable_grad()
def trained(seed: int = 0, **settings: object) -> LastLayer:
    """After one step, which is the last of a run of one."""
    chosen = method("laplace", **settings)
    torch.manual_seed(0)
    at = looking()
    made = chosen.network(Context(at.architecture, 3, 5, 16, seed, at.example)).train()
    images, labels = at.example(2)
    chosen.loss(made, images, labels)[0].backward()
    rates = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0}
    optimizer = SGD([{"params": list(made.parameters())}], **rates)
    optimizer.step()
    for number in (0, 1):
        assert not made.drawn
        chosen.after_step(made, optimizer, Step(number, 2, 2))
    assert made.training
    return made.eval()


@torch.no_grad()
def test_members_are_the_posterior_of_the_trained_network() -> None:
    made = trained(members=4, prior=2.0)
    images = looking().example(50)[0]
    features = made.features(images)
    layer = made.classifier.linear
    mean = torch.cat([layer.weight, layer.bias[:, None]], dim=1).double()
    # 10 images a step, two steps an epoch.
    posterior = Posterior.fit(mean, features, images=20, prior=2.0)
    # The normal numbers that the draws were made from.
    offsets = made.classifier.offsets.double()
    rotated = posterior.outputs[1].T @ offsets @ posterior.inputs[1]
    normal = rotated * (posterior.curvature + 2.0).sqrt()
    assert normal.mean().abs() < 4 / normal.numel() ** 0.5
    assert normal.std().item() == pytest.approx(1, abs=0.06)
    logits = made(images[:3])
    for member in range(4):
        weights = (mean + offsets[member]).float()
        expected = features[:3].float() @ weights.T
        torch.testing.assert_close(logits[:, member], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_draws_follow_the_seed_and_the_prior() -> None:
    one, same, other = trained(prior=1.0), trained(prior=1.0), trained(seed=1, prior=1.0)
    assert torch.equal(one.classifier.offsets, same.classifier.offsets)
    assert not torch.equal(one.classifier.offsets, other.classifier.offsets)
    tight = trained(prior=1e6).classifier.offsets
    assert tight.abs().max() < 0.01
    assert trained().classifier.offsets.isfinite().all()


@torch.no_grad()
def test_before_the_end_all_members_are_the_network() -> None:
    made = network("laplace", members=3).eval()
    plain = copy.deepcopy(made.backbone)
    plain.head[4] = made.classifier.linear
    images = torch.randn(4, 3, 16, 16)
    for logits in made(images).unbind(1):
        torch.testing.assert_close(logits, plain(images), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(made.train()(images)[:, 0], plain.train()(images))


def test_a_copy_is_drawn_by_itself() -> None:
    made = method("laplace").network(looking()).train()
    made(torch.randn(4, 3, 16, 16))
    copied = copy.deepcopy(made)
    copied.draw(images=20, per_class=3, prior=1.0)
    assert copied.classifier is copied.backbone.head[4]
    assert copied.classifier.offsets.abs().max() > 0
    assert made.classifier.offsets.abs().max() == 0


def test_a_last_layer_that_is_not_linear_is_refused() -> None:
    head = nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = Backbone(nn.Identity(), [nn.Identity()], head)
    with pytest.raises(InputError, match="last layer is Conv2d: allowed: a linear layer"):
        LastLayer(backbone, 3, looking().example, 0)
