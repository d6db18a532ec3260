"""The null GPU itself: what it shows, and that it computes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from build import needed, stubs
from device import Kind, Outcome, counts, each, reset, waits

# What is looked at, in one process.
SCENES: dict[str, Callable[[], Any]] = {}


def scene(function: Callable[[], Any]) -> Callable[[], Any]:
    SCENES[function.__name__] = function
    return function


def play(name: str) -> Any:
    return SCENES[name]()


def seen(function: Callable[[], Any]) -> Any:
    outcome: Outcome = each(play, tuple(SCENES))[function.__name__]
    return outcome.get()


def totals(*kinds: Kind) -> dict[str, int]:
    return {kind.name: counts(kind).total() for kind in kinds}


@scene
def nothing_computed() -> list[float]:
    x = torch.ones(3, device="cuda")
    return [*x.tolist(), (x + 1).sum().item()]


def test_what_comes_back_is_zeros() -> None:
    assert seen(nothing_computed) == [0, 0, 0, 0]


@scene
def counted() -> list[dict[str, int]]:
    x, found = torch.ones(4, 4, device="cuda"), []
    for work in (lambda: x + x, lambda: x @ x, x.clone):
        reset()
        work()
        found.append(totals(Kind.LAUNCH, Kind.COPY, Kind.WAIT))
    return found


def test_work_is_counted() -> None:
    launch = {"LAUNCH": 1, "COPY": 0, "WAIT": 0}
    assert seen(counted) == [launch, launch, {"LAUNCH": 0, "COPY": 1, "WAIT": 0}]


WAITING: dict[str, Callable[[torch.Tensor], Any]] = {
    "item": lambda x: x.sum().item(),
    "to the host": lambda x: x.cpu(),
    "from pageable memory": lambda x: x.copy_(torch.ones(3), non_blocking=True),
    "nonzero": lambda x: x.nonzero(),
    "synchronize": lambda _: torch.cuda.synchronize(),
}
FREE: dict[str, Callable[[torch.Tensor], Any]] = {
    "from pinned memory": lambda x: x.copy_(torch.ones(3).pin_memory(), non_blocking=True),
    "sum": lambda x: x + x,
    "fill": lambda x: x.fill_(2),
}


@scene
def waited() -> list[str]:
    x, found = torch.ones(3, device="cuda"), []
    for name, work in (WAITING | FREE).items():
        with waits() as places:
            work(x)
        found += [name] if places else []
    return found


def test_waits_are_seen() -> None:
    assert seen(waited) == list(WAITING)


@scene
def captured() -> list[dict[str, int]]:
    layer = torch.nn.Linear(4, 4).cuda()
    x, side, graph = torch.ones(2, 4, device="cuda"), torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(side):
        layer(x).sum().backward()
    reset()
    with torch.cuda.graph(graph, stream=side):
        layer(x).sum().backward()
    found = [totals(Kind.CAPTURED, Kind.ASTRAY)]
    reset()
    graph.replay()
    return [*found, totals(Kind.LAUNCH, Kind.GRAPH)]


def test_a_graph_is_captured_and_replayed_in_one_launch() -> None:
    recorded, replayed = seen(captured)
    assert recorded["CAPTURED"] >= 4
    assert recorded["ASTRAY"] == 0
    assert replayed == {"LAUNCH": 0, "GRAPH": 1}


@scene
def refused_in_a_capture() -> list[str]:
    x, found = torch.ones(3, device="cuda"), []
    for name, work in (WAITING | {"sum": FREE["sum"]}).items():
        try:
            with torch.cuda.graph(torch.cuda.CUDAGraph()):
                work(x)
        except RuntimeError:
            found.append(name)
    return found


def test_a_captured_region_must_not_wait() -> None:
    assert seen(refused_in_a_capture) == list(WAITING)


@scene
def astray() -> int:
    x, elsewhere = torch.ones(3, device="cuda"), torch.cuda.Stream()
    reset()
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        x + x
        with torch.cuda.stream(elsewhere):
            x + x
    return counts(Kind.ASTRAY).total()


def test_a_launch_beside_a_capture_is_seen() -> None:
    assert seen(astray) == 1


@scene
def too_much() -> str:
    try:
        torch.empty(81 << 30, dtype=torch.uint8, device="cuda")
    except torch.cuda.OutOfMemoryError as error:
        return str(error)
    return ""


def test_memory_ends_at_80_gb() -> None:
    assert "out of memory" in seen(too_much)


def test_stubs_are_functions_that_count_themselves() -> None:
    code = stubs({"cudaSetDevice"})
    assert 'int cudaSetDevice(void) { count(IDLE, "cudaSetDevice"); return 0; }' in code


def test_what_pytorch_needs_is_found_in_its_libraries() -> None:
    names = needed()
    assert {"cudaMalloc", "cublasGemmEx", "cudnnBackendExecute", "cuLaunchKernel"} <= names
    assert not any(name.startswith("cuFile") for name in names)


def failing(case: str) -> None:
    raise ValueError(case)


@pytest.mark.parametrize("case", ["first", "second"])
def test_a_failure_there_is_a_failure_here(case: str) -> None:
    with pytest.raises(AssertionError, match=f"ValueError: {case}"):
        each(failing, ("first", "second"))[case].get()
