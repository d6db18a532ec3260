"""What a network costs: parameters, multiply-adds on non-zero weights and as executed, latency."""

import copy
import math
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten

# Which argument of each multiply-add operator holds the weights.
_WEIGHT_ARGUMENT = {
    _aten.convolution: 1,
    _aten._convolution: 1,
    _aten.addmm: 2,
    _aten.mm: 1,
    _aten.bmm: 1,
    _aten.baddbmm: 2,
}


def _executed_macs(packet: Any, args: tuple[Any, ...], kwargs: Any, out: Any) -> int:
    if packet is not _aten.convolution_backward:
        return int(flop_registry[packet](*args, **kwargs, out_val=out) // 2)
    # PyTorch's formula for the weights' gradient forgets that a convolution can be grouped.
    # Each gradient takes as many multiply-adds as the forward pass.
    grad_out, x, weight, transposed, wanted = (args[i] for i in (0, 1, 2, 7, 10))
    forward = (x if transposed else grad_out).numel() * weight[0].numel()
    return int(forward * sum(wanted[:2]))


class MacCounter(TorchDispatchMode):
    """Counts multiply-adds (MACs; FLOPs = 2 × MACs) of everything that runs inside.

    PyTorch's own FLOP formulas give the executed MACs of each operator (but of grouped
    convolutions' gradients, which they get wrong). In a convolution or
    a matrix product every weight takes part in equally many MACs, so those on non-zero
    weights are the executed ones times the weight's density.

    Attributes:
        executed: MACs as executed, zeros included.
        nonzero: MACs on non-zero weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.executed = 0
        self.nonzero = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run ``func`` and add its MACs."""
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry:
            macs = _executed_macs(packet, args, kwargs or {}, out)
            self.executed += macs
            if packet in _WEIGHT_ARGUMENT:
                weight: Tensor = args[_WEIGHT_ARGUMENT[packet]]
                macs = round(macs * int(torch.count_nonzero(weight)) / weight.numel())
            self.nonzero += macs
        return out


def parameters(network: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in network.parameters())


def nonzero_parameters(network: nn.Module) -> int:
    """Return the number of parameters less the pruned weights, which are exactly zero.

    Vectors (norms, biases) are never pruned and count in full, whatever their values.
    """
    return sum(
        int(torch.count_nonzero(p)) if p.dim() > 1 else p.numel() for p in network.parameters()
    )


@torch.no_grad()
def inference_macs(network: nn.Module, image: Tensor) -> tuple[int, int]:
    """Return (MACs on non-zero weights, MACs as executed) of one image's ensemble prediction.

    Args:
        network: images (batch, channels, h, w) → logits.
        image: one image, (1, channels, h, w).
    """
    measured = copy.deepcopy(network).eval()
    with MacCounter() as counter:
        measured(image)
    return counter.nonzero, counter.executed


@torch.no_grad()
def latency(
    network: nn.Module, image: Tensor, batch: int, seconds: float = 0.5
) -> dict[str, float]:
    """Return the wall time of one warm forward pass: median and quartiles, in milliseconds.

    The device must be otherwise idle. At least 5 passes and at most 200 are timed, for about
    ``seconds``.

    Args:
        network: the network, on the device of ``image``.
        image: one image, (1, channels, h, w).
        batch: images per pass.
        seconds: time to spend on timed passes.
    """
    network.eval()
    images = image.expand(batch, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    wait = torch.cuda.synchronize if image.is_cuda else lambda: None

    def timed() -> float:
        wait()
        start = time.perf_counter()
        network(images)
        wait()
        return 1000 * (time.perf_counter() - start)

    warm = min(timed() for _ in range(3))
    passes = min(200, max(5, math.ceil(1000 * seconds / warm)))
    low, middle, high = statistics.quantiles([timed() for _ in range(passes)], n=4)
    return {"median": middle, "quartile1": low, "quartile3": high, "passes": passes}
