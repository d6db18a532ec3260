"""AdamW: PyTorch's steps bit for bit, what decays, and where a recipe asks for it."""

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from nfe.backbones import architecture
from nfe.common.errors import InputError
from nfe.engine import checkpoint
from nfe.engine.checkpoint import Progress
from nfe.engine.trainer import make_optimizer
from nfe.method import AdamW, Method, Recipe, Step
from nfe.method.recipe import recipe_of
from nfe.suite.run import from_identity, specify
from nfe.suite.tuning import Point, Tuned


def _parameters(draws: torch.Generator) -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(5, 3, generator=draws)) for _ in range(3)]


def test_steps_are_pytorchs_bit_for_bit() -> None:
    draws = torch.Generator().manual_seed(0)
    ours = _parameters(draws)
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    groups = [[{"params": p[:2]}, {"params": p[2:], "weight_decay": 0.0}] for p in (ours, theirs)]
    settings = {"lr": 1e-2, "weight_decay": 0.05}
    one = AdamW(groups[0], **settings)
    other = torch.optim.AdamW(groups[1], fused=True, **settings)
    for rate in (1e-2, 1e-2, 2e-3):
        for group in (*one.param_groups, *other.param_groups):
            group["lr"] = rate
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(5, 3, generator=draws)
            b.grad = a.grad.clone()
        one.step()
        other.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
        assert one.state[a].keys() == other.state[b].keys()
        assert all(torch.equal(one.state[a][k], other.state[b][k]) for k in one.state[a])


def test_a_scaled_step_is_the_plain_one_or_none() -> None:
    draws = torch.Generator().manual_seed(0)
    plain = _parameters(draws)
    scaled = [nn.Parameter(p.detach().clone()) for p in plain]
    one, other = (AdamW([{"params": p}], lr=1e-2, weight_decay=0.05) for p in (plain, scaled))
    scaler = GradScaler("cpu", init_scale=1024)
    for infinite in (True, False, True, False):
        for a, b in zip(plain, scaled, strict=True):
            a.grad = torch.randn(5, 3, generator=draws)
            b.grad = a.grad * scaler.get_scale()
        if infinite:
            scaled[1].grad[0, 0] = torch.inf
        else:
            one.step()
        scaler.scale(torch.zeros(()))
        scaler.step(other)
        scaler.update()
        assert all(torch.equal(a, b) for a, b in zip(plain, scaled, strict=True))
    assert {float(other.state[p]["step"]) for p in scaled} == {2.0}


def test_a_saved_state_goes_on_as_if_nothing_had_happened(tmp_path) -> None:
    def begun() -> tuple[nn.Module, AdamW]:
        torch.manual_seed(0)
        network = nn.Linear(3, 2)
        return network, AdamW([{"params": network.parameters()}], lr=0.1, weight_decay=0.05)

    def step(network: nn.Module, optimizer: AdamW, image: float) -> None:
        optimizer.zero_grad()
        network(torch.full((1, 3), image)).square().sum().backward()
        optimizer.step()

    whole, cut, resumed = begun(), begun(), begun()
    for image in (1.0, -2.0, 0.5):
        step(*whole, image)
    step(*cut, 1.0)
    checkpoint.save(tmp_path, "run", *cut, Progress(step=1))
    assert checkpoint.restore(tmp_path, "run", *resumed)
    step(*resumed, -2.0)
    step(*resumed, 0.5)
    assert torch.equal(whole[0].weight, resumed[0].weight)


class _Scaled(nn.Module):
    """A kernel, a matrix, a norm, biases, and a scale as ConvNeXt has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))


def test_matrices_and_kernels_alone_decay() -> None:
    network = _Scaled()
    names = {parameter: name for name, parameter in network.named_parameters()}
    optimizer = make_optimizer(Method, network, recipe_of(8, "adamw", {}))  # type: ignore[arg-type]
    decays = {
        names[p]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert decays.keys() == set(names.values())
    assert {name for name, decay in decays.items() if decay} == {"conv.weight", "linear.weight"}
    assert decays["conv.weight"] == 0.05


def test_each_optimizer_has_defaults_that_a_recipe_may_change() -> None:
    assert recipe_of(8, "sgd", {}) == Recipe(8)
    plain = recipe_of(8, "adamw", {})
    assert (plain.lr, plain.weight_decay, plain.schedule, plain.warmup) == (1e-3, 0.05, "cosine", 5)
    assert recipe_of(8, "sgd", {"optimizer": "adamw", "lr": "0.002"}).warmup == 5
    assert recipe_of(8, "adamw", {"optimizer": "sgd"}) == Recipe(8)
    rates = [plain.learning_rate(Step(step, 400, 4)) for step in range(20)]
    shares = [1e-3 * (step + 1) / 20 for step in range(20)]
    assert rates[:4] == pytest.approx(shares[:4])  # in the first epoch the cosine is 1
    assert rates == sorted(rates)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, "unknown optimizer 'adam': did you mean 'adamw'"),
        ({"optimizer": "adamw", "momentum": 0.8}, "momentum is 0.8 with optimizer 'adamw'"),
        ({"optimizer": "adamw", "nesterov": False}, "nesterov is False with optimizer 'adamw'"),
    ],
)
def test_bad_recipes_are_refused_in_one_line(changes, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        recipe_of(8, "sgd", changes)
    assert "\n" not in str(caught.value)


def _run(**changes):
    return specify(
        dataset="digits", architecture_name="wrn-10-1", method="single", epochs=2, **changes
    )


def test_the_optimizer_is_part_of_an_identity_where_it_says_something() -> None:
    sgd, adamw = _run(), _run(recipe={"optimizer": "adamw"})
    assert "optimizer" not in sgd.identity()["recipe"]
    told = adamw.identity()["recipe"]
    assert told["optimizer"] == "adamw"
    assert not {"momentum", "nesterov"} & told.keys()
    for run in (sgd, adamw):
        again = from_identity(run.identity())
        assert again == run
        assert again.digest == run.digest
    assert sgd.digest != adamw.digest


def test_identities_are_those_of_before_there_was_a_choice() -> None:
    """The digest that a run of this configuration had when there was SGD alone."""
    assert _run().digest[:10] == "000d602978"


def test_published_recipes_are_sgds() -> None:
    with pytest.raises(InputError, match=r"protocol 'published' with optimizer 'adamw'.*sgd"):
        _run(protocol="published", recipe={"optimizer": "adamw"})


def test_a_recipe_tuned_for_another_optimizer_is_refused() -> None:
    choice = {"architecture": "wrn-10-1", "method": "single", "recipe": {"optimizer": "adamw"}}
    tuned = Tuned({"single": Point({"lr": 0.2, "weight_decay": 1e-3})})
    with pytest.raises(InputError, match=r"tuned recipe of single is for optimizer 'sgd'"):
        tuned.applied(choice)
    own = Tuned({"single": Point({"lr": 0.002, "optimizer": "adamw"})})
    assert own.applied(choice)[0]["recipe"] == {"lr": 0.002, "optimizer": "adamw"}
    assert architecture("wrn-10-1").optimizer == "sgd"
