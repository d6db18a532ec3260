"""Separate random streams for everything that is random in a run.

A stream is a pure function of the run's seed and of names (what it is for, which epoch,
which step). Nothing carries state from one step to the next, so a resumed run draws exactly
what the uninterrupted one draws, and every method sees the same batches for the same seed.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *names: str | int) -> int:
    """Return the 63-bit seed of the stream called ``names`` under ``seed``."""
    text = ":".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(device: torch.device | str, seed: int, *names: str | int) -> torch.Generator:
    """Return a fresh generator on ``device`` at the start of the stream ``names``."""
    return torch.Generator(device=device).manual_seed(derive(seed, *names))


def set_global_stream(device: torch.device, seed: int) -> None:
    """Set PyTorch's global streams of the CPU and of ``device``, for draws without a generator.

    As ``torch.manual_seed`` does, which also looks for every other kind of device, at each call.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


@contextmanager
def global_stream(seed: int, *names: str | int) -> Iterator[None]:
    """Run a block with PyTorch's global CPU stream at ``names``; restore it afterwards.

    For code that can draw from the global stream only, such as module constructors.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, *names))
        yield
