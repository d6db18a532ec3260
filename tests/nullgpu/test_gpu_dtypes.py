"""A training step computes in the same number formats on a GPU as on a CPU, losses in float32."""

from collections import defaultdict
from typing import Any

import pytest
import torch
from device import each
from stepping import TRAINED, Stepping, run_of
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nfe.common import macs
from nfe.splitting import selection

# Operators that are the same mathematics under a device's own name.
ALIASES = {
    "cudnn_batch_norm": "native_batch_norm",
    "cudnn_batch_norm_backward": "native_batch_norm_backward",
}
# These make and copy memory, when and how often is the device's own affair; so are views.
MEMORY = {"empty", "empty_like", "empty_strided", "new_empty", "zeros_like", "stack"}
MEMORY |= {"clone", "copy_", "detach"}
LOSSES = ("_log_softmax", "_softmax", "nll_loss_forward", "mse_loss", "logsumexp")


class Formats(TorchDispatchMode):
    """Notes in which floating-point formats each operator's first tensor is."""

    def __init__(self) -> None:
        super().__init__()
        self.found: defaultdict[str, set[str]] = defaultdict(set)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        first = out[0] if isinstance(out, tuple | list) and out else out
        computed = name not in MEMORY and not func.is_view and isinstance(first, Tensor)
        if computed and first.is_floating_point():
            self.found[ALIASES.get(name, name)].add(str(first.dtype).removeprefix("torch."))
        return out


def one_operator(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Drop features by one operator on all devices: for itself a CPU takes several."""
    return torch.native_dropout(x, p, training)[0]


def formats(method: str, precision: str) -> dict[str, list[str]]:
    """Return each operator's formats in a run's first step, which no graph replays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "dropout", one_operator)
        # A product with zeros and ones, which is exact in any format: the same one everywhere.
        patch.setattr(selection, "WHERE", frozenset({"cpu", "cuda"}))
        # What counts multiply-adds looks at the weights' values, of which this GPU has none.
        patch.setattr(macs, "_needed", lambda weight, input_axis: (1.0, 1.0, 1.0))
        stepping = Stepping(run_of(method, precision))
        with Formats() as mode:
            stepping.take()
    return {name: sorted(formats) for name, formats in mode.found.items()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("method", TRAINED)
def test_formats_do_not_depend_on_the_device(method: str, precision: str) -> None:
    on_gpu, on_cpu = each(formats, TRAINED, precision)[method].get(), formats(method, precision)
    assert "convolution" in on_gpu
    differing = {n: (on_cpu[n], on_gpu[n]) for n in on_cpu if on_cpu[n] != on_gpu.get(n, on_cpu[n])}
    assert not differing, "operator: (on the CPU, on the GPU)"


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("method", TRAINED)
def test_losses_are_computed_in_float32(method: str, precision: str) -> None:
    found = each(formats, TRAINED, precision)[method].get()
    losses = {name: found[name] for name in LOSSES if name in found}
    assert losses
    assert all(formats == ["float32"] for formats in losses.values()), losses
