"""A run's identity: everything that decides its numbers and nothing else."""

import dataclasses
import json

import pytest

from nfe.common.errors import InputError
from nfe.suite.run import Run, from_identity, specify


def make(**changes) -> Run:
    values = {
        "dataset": "digits",
        "architecture_name": "wrn-10-1",
        "method": "nfe",
        "settings": {"exits": 2},
        "epochs": 3,
    }
    return specify(**{**values, **changes})


def test_identity_survives_json():
    run = make(settings={"exits": 3, "pruning": "snip", "sparsity": 0.5})
    again = from_identity(json.loads(json.dumps(run.identity())))
    assert again.digest == run.digest
    assert again.name == run.name
    assert again.build_method() == run.build_method()


CHANGES = [
    {"seed": 1},
    {"epochs": 4},
    {"precision": "bfloat16"},
    {"threads": 2},
    {"audit": True},
    {"protocol": "published"},
    {"architecture_name": "wrn-16-1"},
    {"method": "single", "settings": {}},
    {"settings": {"exits": 3}},
    {"settings": {"exits": 2, "ratio": "0.4/0.6"}},
    {"settings": {"exits": 2, "pruning": "snip", "sparsity": 0.5}},
    {"recipe": {"lr": 0.05}},
]


def test_whatever_decides_the_numbers_changes_the_name():
    names = [make().name, *(make(**change).name for change in CHANGES)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "same",
    [
        {"settings": {"exits": "2"}},
        {"settings": {"exits": 2, "ratio": "0.5/0.5"}},
        {"settings": {"exits": 2, "exit_stages": [1]}},
        {"settings": {"exits": 2, "pruning": "snip"}},
        {"recipe": {"lr": "0.1"}},
        {"epochs": "3"},
    ],
)
def test_the_same_run_said_in_other_words_has_the_same_name(same):
    assert make(**same).name == make().name


def test_names_are_plain_folder_names():
    name = make(settings={"exits": 3, "ratio": "0.2/0.3/0.5"}).name
    assert name.startswith("digits8_wrn-10-1_nfe_ratio=0.2-0.3-0.5_e3_s0_")
    assert "/" not in name


def test_deep_ensemble_replicates_share_no_member():
    members = [
        make(method="deep_ensemble", settings={"members": 3}, seed=r).members() for r in (0, 1)
    ]
    assert [m.seed for m in members[0]] == [0, 1, 2]
    assert [m.seed for m in members[1]] == [3, 4, 5]
    assert members[0][1].name == make(method="single", settings={}, seed=1).name


def test_an_identity_of_another_engine_is_refused():
    with pytest.raises(InputError, match="engine"):
        from_identity({**make().identity(), "engine": 0})
    with pytest.raises(InputError, match="identity"):
        from_identity({k: v for k, v in make().identity().items() if k != "seed"})


def test_every_field_stands_in_the_identity():
    later = {"class_seed": 0, "test_images": "extended", "versions": {"method": 2}}
    later["network"] = {"network": "timm:convnext_atto"}
    plain = make(method="single", settings={})
    assert not later.keys() & plain.identity().keys()
    told = dataclasses.replace(plain, **later)
    assert {f.name for f in dataclasses.fields(Run)} <= set(told.identity())
