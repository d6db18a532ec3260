"""The recipe: schedule in closed form, settings read strictly."""

import itertools

import pytest

from nfe.common.errors import InputError
from nfe.method import Recipe, Step


def test_schedule_is_constant_linear_constant():
    recipe = Recipe(128)
    rates = [recipe.learning_rate(Step(epoch * 7, 200 * 7, 7)) for epoch in range(200)]
    assert rates[: 100 + 1] == [0.1] * 101
    assert rates[140] == pytest.approx(0.1 * (1 - 0.99 * 0.5))
    assert rates[180:] == pytest.approx([0.001] * 20)
    assert all(a >= b for a, b in itertools.pairwise(rates))


def test_warmup_rises_with_every_step():
    recipe = Recipe(128, warmup=2)
    rates = [recipe.learning_rate(Step(step, 400, 4)) for step in range(12)]
    assert rates == pytest.approx([0.1 * (step + 1) / 8 for step in range(8)] + [0.1] * 4)


def test_warmup_is_a_share_of_the_schedule_and_without_it_rates_are_constant_within_epochs():
    changes = {"schedule": "step", "milestones": (0.1, 0.5), "decay": 0.5}
    recipe, warm = (Recipe(8).with_changes({**changes, "warmup": w}) for w in (0, 3))
    moments = [Step(step, 50, 5) for step in range(50)]
    plain = [recipe.learning_rate(moment) for moment in moments]
    assert plain == [0.1] * 5 + [0.05] * 20 + [0.025] * 25
    shares = [min(1, (step + 1) / 15) for step in range(50)]
    expected = [rate * share for rate, share in zip(plain, shares, strict=True)]
    assert [warm.learning_rate(moment) for moment in moments] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0}, "lr is 0"),
        ({"batch_size": "12.5"}, "batch_size is '12.5': allowed: whole numbers from 1"),
        ({"nesterov": "perhaps"}, "nesterov is 'perhaps': allowed: true or false"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"momentun": 0.9}, "did you mean 'momentum'"),
        ({"weight_decay": -1}, "weight_decay is -1"),
    ],
)
def test_bad_recipes_are_refused_in_one_line(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        Recipe(128).with_changes(changes)
    assert "\n" not in str(caught.value)
