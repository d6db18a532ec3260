"""Step schedules, and the recipes that the methods' papers prescribe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfe.common.errors import InputError
from nfe.method import Recipe, Step, method_class
from nfe.suite.run import from_identity, specify


def rates(method: str, epochs: int) -> list[float]:
    run = specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method=method,
        epochs=epochs,
        protocol="published",
    )
    # The last of four steps of each epoch.
    return [run.recipe.learning_rate(Step(4 * epoch + 3, 4 * epochs, 4)) for epoch in range(epochs)]


@pytest.mark.parametrize(
    ("method", "epochs", "marks", "decay", "base", "warmup"),
    [
        ("mimo", 250, (100, 200, 225), 0.2, 0.1, 1),
        ("batch_ensemble", 250, (100, 200, 225), 0.2, 0.1, 1),
        ("exit_ensemble_distillation", 200, (75, 130, 180), 0.1, 0.1, 0),
        ("beed", 200, (75, 130, 180), 0.1, 0.1, 0),
        ("packed_ensemble", 200, (60, 120, 160), 0.2, 0.1, 0),
        ("mc_dropout", 200, (60, 120, 160), 0.2, 0.05, 1),
        ("dst", 250, (125, 187), 0.1, 0.1, 0),
        ("local_critic", 205, (103, 154), 0.1, 0.1, 0),
        ("mixmo", 300, (101, 201, 226), 0.1, 0.0125, 1),
        ("self_distilled", 300, (150, 225), 0.1, 0.1, 0),
        ("ffl", 300, (150, 225), 0.1, 0.1, 0),
        ("slimmable", 100, (30, 60, 90), 0.1, 0.1, 0),
        ("stochastic_depth", 500, (250, 375), 0.1, 0.1, 0),
    ],
)
def test_published_steps(
    method: str, epochs: int, marks: tuple[int, ...], decay: float, base: float, warmup: int
) -> None:
    assert method_class(method).published["epochs"] == epochs
    for epoch, rate in enumerate(rates(method, epochs)):
        expected = base * decay ** sum(epoch >= mark for mark in marks)
        assert rate == pytest.approx(expected), epoch
    run = specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method=method,
        epochs=epochs,
        protocol="published",
    )
    assert run.recipe.warmup == warmup
    first = [run.recipe.learning_rate(Step(step, 4 * epochs, 4)) for step in range(4)]
    shares = [0.25, 0.5, 0.75, 1] if warmup else [1, 1, 1, 1]
    assert first == pytest.approx([base * share for share in shares])


def test_published_optimizers() -> None:
    def published(method: str) -> Recipe:
        return Recipe(32).with_changes(
            {k: v for k, v in method_class(method).published.items() if k != "epochs"}
        )

    assert {
        published(m).weight_decay for m in ("mimo", "batch_ensemble", "mc_dropout", "mixmo")
    } == {6e-4}
    assert {published(m).weight_decay for m in ("beed", "sembg", "packed_ensemble")} == {5e-4}
    assert not published("beed").nesterov
    assert not published("exit_ensemble_distillation").nesterov
    assert published("sembg") == published("nfe") == published("single") == Recipe(128)


@given(
    marks=st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True).map(sorted),
    decay=st.floats(0.01, 0.99),
)
def test_steps_only_fall_at_milestones(marks: list[int], decay: float) -> None:
    shares = tuple(mark / 100 for mark in marks)
    recipe = Recipe(8, schedule="step", milestones=shares, decay=decay)
    curve = [recipe.learning_rate(Step(epoch, 100, 1)) for epoch in range(100)]
    falls = [e for e in range(1, 100) if curve[e] < curve[e - 1]]
    assert falls == marks
    assert curve[-1] == pytest.approx(0.1 * decay ** len(marks))


def test_text_and_json_give_the_same_recipe() -> None:
    changes = {"schedule": "step", "milestones": "0.5/0.75", "decay": "0.1"}
    common = {"dataset": "digits", "architecture_name": "wrn-10-1", "method": "single"}
    run = specify(**common, epochs=4, recipe=changes)
    assert run.recipe.milestones == (0.5, 0.75)
    assert from_identity(run.identity()) == run
    assert from_identity(run.identity()).identity() == run.identity()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "step"}, r"milestones is \[\]: allowed: ascending shares"),
        ({"schedule": "step", "milestones": "0.5"}, "decay is None: allowed"),
        ({"schedule": "step", "milestones": "0.5/0.4", "decay": 0.1}, "ascending"),
        (
            {"schedule": "step", "milestones": "0.5/1.5", "decay": 0.1},
            "allowed: numbers above 0 and below 1",
        ),
        (
            {"schedule": "step", "milestones": "0.5", "decay": 1},
            "decay is 1: allowed: numbers above 0 and below 1",
        ),
        ({"milestones": "0.5"}, "only with schedule 'step'"),
        ({"schedule": "steps"}, "unknown schedule 'steps': did you mean 'step'"),
    ],
)
def test_bad_schedules_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(8).with_changes(changes)
