"""What a network costs: parameters, latency, and multiply-adds.

Multiply-adds are counted as executed, on non-zero weights, and as dense and 2:4-sparse
hardware could execute them.
"""

import copy
import math
import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nfe.common.macs import MacCounter


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
    measured = _evaluating(network)
    with MacCounter() as counter:
        measured(image)
    return counter.nonzero, counter.executed


def inference(network: nn.Module, image: Tensor) -> dict[str, int]:
    """Return the cost columns of a trained network that need no timing.

    Args:
        network: images (batch, channels, h, w) → logits.
        image: one image, (1, channels, h, w).
    """
    nonzero, dense = inference_macs(network, image)
    return {
        "parameters": parameters(network),
        "nonzero_parameters": nonzero_parameters(network),
        "macs_nonzero": nonzero,
        "macs_dense": dense,
    }


@torch.no_grad()
def hardware_macs(network: nn.Module, image: Tensor) -> dict[str, int]:
    """Return the MACs of one image's ensemble prediction, counted in four ways.

    ``nonzero``, ``executed``, ``compact`` and ``sparse24``: see ``MacCounter``.

    Args:
        network: images (batch, channels, h, w) → logits.
        image: one image, (1, channels, h, w).
    """
    measured = _evaluating(network)
    with MacCounter() as counter:
        measured(image)
    names = ("nonzero", "executed", "compact", "sparse24")
    return {name: int(getattr(counter, name)) for name in names}


def _evaluating(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode; it shares the parameters, which prediction only reads."""
    shared = {id(parameter): parameter for parameter in network.parameters()}
    return copy.deepcopy(network, shared).eval()


def latency(
    network: nn.Module, image: Tensor, batch: int, seconds: float = 0.5
) -> dict[str, float]:
    """Return the wall time of one warm forward pass: median and quartiles, in milliseconds.

    See ``passes``; at least 5 are timed.
    """
    return spread(passes(network, image, batch, seconds, least=5))


def spread(times: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles of at least two times, and how many there are."""
    low, middle, high = statistics.quantiles(times, n=4)
    return {"median": middle, "quartile1": low, "quartile3": high, "passes": len(times)}


@torch.no_grad()
def passes(
    network: nn.Module, image: Tensor, batch: int, seconds: float, least: int
) -> list[float]:
    """Return the wall times of warm forward passes, in milliseconds.

    The device must be otherwise idle. At most 200 are timed, for about ``seconds``.

    Args:
        network: the network, on the device of ``image``.
        image: one image, (1, channels, h, w).
        batch: images per pass.
        seconds: time to spend on timed passes.
        least: how many to time, however long they take.
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
    count = min(200, max(least, math.ceil(1000 * seconds / warm)))
    return [timed() for _ in range(count)]
