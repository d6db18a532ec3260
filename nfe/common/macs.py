"""Multiply-adds of everything that runs: as executed, and on non-zero weights."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

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


# Which axis of those weights counts input channels, for operators of layers with weights.
_INPUT_AXIS = {
    _aten.convolution: 1,
    _aten._convolution: 1,
    _aten.addmm: 0,
    _aten.mm: 0,
}


# Attention on a CPU, which PyTorch's formulas leave out: (grad), query, key, value first.
_CPU_ATTENTION = _aten._scaled_dot_product_flash_attention_for_cpu
_CPU_ATTENTION_BACKWARD = _aten._scaled_dot_product_flash_attention_for_cpu_backward
_COUNTED = {*flop_registry, _CPU_ATTENTION, _CPU_ATTENTION_BACKWARD}


def _executed_macs(packet: Any, args: tuple[Any, ...], kwargs: Any, out: Any) -> int:
    if packet is _CPU_ATTENTION:
        return int(sdpa_flop_count(*(x.shape for x in args[:3])) // 2)
    if packet is _CPU_ATTENTION_BACKWARD:
        return int(sdpa_backward_flop_count(*(x.shape for x in args[:4])) // 2)
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
    convolutions' gradients, which they get wrong). In a convolution or a matrix product every
    weight takes part in equally many MACs, so those on non-zero weights are the executed ones
    times the weight's density.

    Attributes:
        executed: MACs as executed, zeros included.
        nonzero: MACs on non-zero weights.
        compact: MACs that dense hardware needs: filters and input channels whose weights are
            all zero are left out of their layer.
        sparse24: the same where the hardware also skips half of each layer that keeps the
            2:4 pattern (at most two of every 4 consecutive input channels, at each position).
    """

    def __init__(self, executed_only: bool = False) -> None:
        """Begin at zero; with ``executed_only`` no weight is looked at (meta tensors have none)."""
        super().__init__()
        self._executed_only = executed_only
        self.executed = 0
        self.nonzero = 0
        self.compact = 0
        self.sparse24 = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch's switch: else the first operator imports the compiler, for seconds.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run ``func`` and add its MACs."""
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in _COUNTED:
            macs = _executed_macs(packet, args, kwargs or {}, out)
            self.executed += macs
            if self._executed_only:
                return out
            parts = (1.0, 1.0, 1.0)
            if packet in _WEIGHT_ARGUMENT:
                parts = _needed(args[_WEIGHT_ARGUMENT[packet]], _INPUT_AXIS.get(packet))
            self.nonzero += round(macs * parts[0])
            self.compact += round(macs * parts[1])
            self.sparse24 += round(macs * parts[2])
        return out


def _needed(weight: Tensor, input_axis: int | None) -> tuple[float, float, float]:
    """Return which share of a weight's MACs is non-zero, dense hardware's, 2:4 hardware's.

    ``input_axis`` is that of the input channels, None where the two others do not apply; the
    outputs' is the other one of the first two.
    """
    used = weight != 0
    # Sums over so many truth values take several times as long as counting them.
    count = int(used.count_nonzero())
    nonzero = count / weight.numel()
    if input_axis is None or count == weight.numel():
        return nonzero, 1.0, 1.0
    # Outputs first, inputs last.
    rows = used.movedim(input_axis, -1)
    filters = rows.flatten(1).any(dim=1)
    channels = rows.flatten(0, -2).any(dim=0)
    dense = float(filters.float().mean()) * float(channels.float().mean())
    fits = rows.shape[-1] % 4 == 0 and 2 * count <= weight.numel()
    follows = fits and bool((rows.reshape(-1, 4).sum(dim=1) <= 2).all())
    return nonzero, dense, min(dense, 0.5) if follows else dense
