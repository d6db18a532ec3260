"""The recipe: schedule in closed form, settings read strictly."""

import itertools

import pytest

from nfe.engine.errors import InputError
from nfe.engine.recipe import Recipe


def test_schedule_is_constant_linear_constant():
    recipe = Recipe(128)
    rates = [recipe.learning_rate(epoch, 200) for epoch in range(200)]
    assert rates[: 100 + 1] == [0.1] * 101
    assert rates[140] == pytest.approx(0.1 * (1 - 0.99 * 0.5))
    assert rates[180:] == pytest.approx([0.001] * 20)
    assert all(a >= b for a, b in itertools.pairwise(rates))


def test_warmup_rises_linearly():
    recipe = Recipe(128, warmup=3)
    assert [recipe.learning_rate(e, 100) for e in range(4)] == pytest.approx(
        [0.025, 0.05, 0.075, 0.1]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0}, "lr is 0"),
        ({"batch_size": "12.5"}, "batch_size is '12.5': allowed: a whole number"),
        ({"nesterov": "yes"}, "nesterov is 'yes': allowed: true or false"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"momentun": 0.9}, "did you mean 'momentum'"),
        ({"weight_decay": -1}, "weight_decay is -1"),
    ],
)
def test_bad_recipes_are_refused_in_one_line(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        Recipe(128).with_changes(changes)
    assert "\n" not in str(caught.value)
