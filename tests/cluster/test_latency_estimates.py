"""What a job that measures latency asks for, against what it does."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from nfe.cluster import costs, estimate
from nfe.engine import latency
from nfe.engine.runner import Worker
from nfe.evaluation import cost
from nfe.suite.outputs import network_name, taking_turns
from nfe.suite.run import Run, specify


def run_of(method: str, architecture: str = "wrn-10-1", seed: int = 0, **settings: Any) -> Run:
    return specify(
        dataset="digits",
        architecture_name=architecture,
        method=method,
        settings=settings,
        epochs=1,
        seed=seed,
    )


NETWORKS = [
    run_of("single"),
    run_of("deep_ensemble", members=3),
    run_of("nfe", exits=2, granularity="alternating"),
]


def test_networks_of_one_backbone_take_turns_and_seeds_share_one() -> None:
    wide = run_of("single", "wrn-10-2")
    turns = taking_turns([*NETWORKS, wide, run_of("single", seed=1)])
    assert [list(group) for group in turns] == [
        [network_name(run) for run in NETWORKS],
        [network_name(wide)],
    ]


def test_the_time_is_that_of_the_images_that_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    passes = cost.passes

    def counted(network: nn.Module, *how: Any, least: int, **_: Any) -> list[float]:
        hook = network.register_forward_pre_hook(lambda _, images: shown.append(len(images[0])))
        # However slow: as few passes as there are at least.
        found = passes(network, *how, seconds=0.0, least=least)
        hook.remove()
        return found

    monkeypatch.setattr(cost, "passes", counted)
    latency.measure(NETWORKS[2:], tmp_path, Worker())
    # One network, in both of its forms.
    assert sum(shown) == estimate._TIMED_IMAGES


def test_time_and_memory_grow_with_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    one, all_of_them = estimate.latency_mb(NETWORKS[:1]), estimate.latency_mb(NETWORKS)
    weights = costs.table()[costs.key(NETWORKS[0])].stored_bytes
    assert all_of_them - one == pytest.approx(1.25 * 4 * weights / 1e6, abs=1.5)
    assert estimate.latency_mb([*NETWORKS, run_of("single", seed=3)]) == all_of_them
    # Slow enough that their passes count: each is given the time of its multiply-adds.
    monkeypatch.setattr(estimate, "_INFERENCE_SPEED", {False: 1e6, True: 1e6})
    single, three = (estimate.latency_minutes([run], 0) for run in NETWORKS[:2])
    assert three - 4 == pytest.approx(3 * (single - 4), rel=0.05)


def test_memory_covers_the_weights_that_are_there() -> None:
    worker = Worker()
    held = 0
    for run in NETWORKS:
        for form in latency.deployed_forms(run, worker.data(run), worker.device):
            held += sum(t.nbytes for t in form.state_dict().values())
    asked = 1e6 * (estimate.latency_mb(NETWORKS) - estimate.memory_mb(NETWORKS))
    assert held < asked
