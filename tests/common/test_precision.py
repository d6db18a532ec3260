"""In which arithmetic a run computes: losses in float32, whatever the network's; no silent CPU."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nfe.cli.main import main
from nfe.common import precision
from nfe.common.precision import InPrecision, full_float32
from nfe.engine.inference import predict
from nfe.engine.runner import Worker
from nfe.engine.trainer import Trainer
from nfe.method import method_class, method_names, settings_class
from nfe.method.settings import combined_method
from nfe.suite.run import Run, specify

TRAINED = [name for name in method_names() if combined_method(settings_class(name)) is None]
CPU = torch.device("cpu")
COPIES = {torch.ops.aten.detach, torch.ops.aten._to_copy, torch.ops.aten.clone}


def run(method: str, precision: str) -> Run:
    return specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method=method,
        # Enough steps for each of SWAG's phases to have one.
        epochs=16,
        precision=precision,
        recipe={"batch_size": 128},
    )


class Watched(nn.Module):
    """Answers what the network does and notes the types of it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seen: set[torch.dtype] = set()

    def forward(self, *arguments: Any, **options: Any) -> Any:
        output = self.network(*arguments, **options)
        parts = [output] if isinstance(output, Tensor) else list(output)
        for part in parts:
            tensors = part if isinstance(part, (list, tuple)) else [part]
            self.seen |= {tensor.dtype for tensor in tensors}
        return output

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__["_modules"]
        return own[name] if name in own else getattr(own["network"], name)


class NarrowSums(TorchDispatchMode):
    """Notes operators beyond copies and views that work in 16 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        narrow = isinstance(output, Tensor) and output.dtype == torch.bfloat16
        if narrow and not func.is_view and func._overloadpacket not in COPIES:
            self.found.add(str(func))
        return output


@pytest.mark.parametrize("method", [name for name in TRAINED if method_class(name).lifts])
def test_methods_that_lift_terms_themselves_compute_each_in_float32(method: str) -> None:
    chosen = run(method, "bfloat16").build_method()
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, 5, generator=draws).bfloat16().requires_grad_()
    maps = [m.bfloat16() for m in torch.randn(3, 6, 4, 2, 2, generator=draws)]

    class Network(nn.Module):
        def forward(self, _: Tensor, features: bool = False) -> Any:
            return (logits, maps) if features else logits

    with NarrowSums() as narrow:
        loss, _ = chosen.loss(Network(), maps[0], torch.arange(6) % 5)
    assert loss.dtype == torch.float32
    assert narrow.found == set()


@pytest.mark.parametrize("method", [name for name in TRAINED if not method_class(name).lifts])
def test_every_loss_gets_float32_from_a_bfloat16_network(method: str) -> None:
    chosen = run(method, "bfloat16")
    trainer = Trainer(chosen, Worker(CPU).data(chosen))
    inside = Watched(trainer.network)
    outside = Watched(InPrecision(inside, "bfloat16"))
    trainer._counted = trainer._forward = outside  # type: ignore[assignment]
    _, images, labels = next(trainer.batches.epoch(0))
    trainer.step(images, labels)
    # Packed-Ensembles' last layer adds a bias in float32.
    assert torch.bfloat16 in inside.seen or method == "packed_ensemble"
    assert outside.seen == {torch.float32}
    assert trainer._unread == []
    assert not torch.is_autocast_enabled("cpu")


def test_a_network_in_precision_has_the_networks_attributes_and_keeps_float64() -> None:
    network = nn.Linear(3, 2).double()
    wrapped = InPrecision(network, "float32")
    assert wrapped.out_features == 2
    assert wrapped(torch.ones(1, 3, dtype=torch.float64)).dtype == torch.float64
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = wrapped.no_such_thing


def test_evaluation_multiplies_in_float32_whatever_the_mode() -> None:
    seen = []

    class Network(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(torch.backends.cuda.matmul.allow_tf32)
            seen.append(torch.backends.cudnn.allow_tf32)
            return x.flatten(1)[:, None, :10]

    chosen = run("single", "float32")
    data = Worker(CPU).data(chosen)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        predict(Network(), data.card, data.test)
        assert not any(seen)
        assert torch.backends.cuda.matmul.allow_tf32
        with full_float32():
            torch.backends.cudnn.allow_tf32 = True
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def test_jobs_that_ask_for_a_gpu_do_not_fall_back_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("NFE_ALLOW_CPU", raising=False)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    assert main(["--gpus", "1", "list", "methods"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "a GPU is asked for" in said
    assert f"PyTorch's CUDA: {torch.version.cuda or 'none'}" in said
    assert "driver: " in said
    assert main(["list", "methods"]) == 0
    monkeypatch.setenv("NFE_ALLOW_CPU", "1")
    assert main(["--gpus", "1", "list", "methods"]) == 0


def test_the_drivers_version_is_read(tmp_path: Any) -> None:
    file = tmp_path / "version"
    assert precision._driver(file) == "none loaded"
    file.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\nGCC 12"
    )
    assert precision._driver(file) == "535.183.01"
