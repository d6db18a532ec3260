"""What a suite's author writes by mistake is answered by one line with the remedy."""

import pytest

from nfe.common.errors import InputError, unknown
from nfe.suite.expansion import check_config, expand
from nfe.suite.run import specify


def suite(*entries, **more):
    """A suite of one group."""
    frame = {"suite": "s", "dataset": "digits", "architecture": "wrn-10-1", "epochs": 1, "seeds": 1}
    return {**frame, "groups": {"g": list(entries)}, **more}


def ratios(*entries):
    return [planned.run.settings["ratio"] for planned in expand(suite(*entries)).runs]


def refusal(config):
    with pytest.raises(InputError) as caught:
        expand(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_setting_that_one_method_of_a_list_lacks_is_said_to_be_the_others():
    said = refusal(suite({"method": ["single", "nfe"], "exits": 2}))
    assert "exits is a setting of nfe, not of single" in said
    assert said.endswith("an entry of its own for single, whose settings are: none")
    include = {"method": "nfe", "exits": 2, "include": [{"method": "mimo"}]}
    assert "not of mimo" in refusal(suite(include))


def test_nothing_stands_behind_allowed_only_where_the_line_says_so():
    assert refusal(suite({"method": "single", "exits": 2})).endswith("allowed: none")
    assert str(unknown("thing", "x", [])) == "unknown thing 'x': allowed: none"


def test_a_name_that_is_nothing_like_another_is_not_guessed():
    assert "did you mean" not in str(unknown("setting", "lr", ["whole", "exits"]))
    assert "did you mean 'exits'" in str(unknown("setting", "exit", ["whole", "exits"]))


@pytest.mark.parametrize("method", ["nfe", "single"])
def test_a_part_of_the_recipe_outside_it_is_told_its_place(method):
    said = refusal(suite({"method": method, "lr": 0.01}))
    assert f"lr is no setting of {method}: it belongs to the recipe" in said
    assert "recipe: {lr: 0.01}" in said and "--recipe lr=0.01" in said
    said = refusal(suite({"method": method}, lr=0.01))
    assert "lr belongs to the recipe: allowed: recipe: {lr: 0.01}" in said


def test_a_setting_inside_the_recipe_is_told_its_place():
    said = refusal(suite({"method": "nfe", "recipe": {"exits": 2}}))
    assert "exits is no part of the recipe, but a setting of nfe" in said
    with pytest.raises(InputError, match="--set exits=2"):
        specify(
            dataset="digits",
            architecture_name="wrn-10-1",
            method="nfe",
            epochs=1,
            recipe={"exits": 2},
        )


def test_a_list_of_numbers_is_one_ratio():
    assert ratios({"method": "nfe", "exits": 2, "ratio": [0.5, 0.5]}) == [[0.5, 0.5]]
    assert ratios({"method": "nfe", "exits": 2, "ratio": [0.3, 0.7]}) == [[0.3, 0.7]]
    text = {"method": "nfe", "exits": 2, "ratio": "0.3/0.7"}
    listed = {"method": "nfe", "exits": 2, "ratio": [0.3, 0.7]}
    assert expand(suite(text)).runs[0].run.name == expand(suite(listed)).runs[0].run.name


def test_a_list_of_such_lists_offers_each_and_an_exclude_may_name_one():
    offered = {"method": "nfe", "exits": 2, "ratio": [[0.5, 0.5], [0.3, 0.7], "0.1/0.9"]}
    assert ratios(offered) == [[0.5, 0.5], [0.3, 0.7], [0.1, 0.9]]
    assert ratios({**offered, "exclude": [{"ratio": [0.3, 0.7]}]}) == [[0.5, 0.5], [0.1, 0.9]]
    more = {"method": "nfe", "exits": 2, "include": [{"ratio": [0.3, 0.7]}]}
    assert ratios(more) == [[0.5, 0.5], [0.3, 0.7]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epoch": 2}, "top level: unknown key 'epoch': did you mean 'epochs'?"),
        ({"evaluate": {"odd": []}}, "evaluate: unknown key 'odd': did you mean 'ood'?"),
        ({"dataset": 3}, "dataset: 3: allowed: text or a list of different values, each text"),
    ],
)
def test_what_the_schema_refuses_is_said_with_what_it_allows(change, said):
    with pytest.raises(InputError, match="suite configuration, ") as caught:
        check_config(suite({"method": "single"}, **change))
    assert said in str(caught.value)


def test_a_sparsity_pattern_without_quotes_is_told_to_take_them(tmp_path):
    from nfe.suite.expansion import read_config

    path = tmp_path / "suite.yaml"
    path.write_text(
        "suite: s\ngroups:\n  g:\n    - {method: nfe, granularity: 2:4}\n", encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"line 4: 2:4 .*base 60.*allowed: .*text in quotes"):
        read_config(path)
