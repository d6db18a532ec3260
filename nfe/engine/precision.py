"""Named arithmetic modes, and the process settings that make a run repeatable."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.utils.deterministic
from torch import Tensor

from nfe.engine.allocator import keep_memory

# Resolved before a run is specified: no run's identity says so.
AUTO = "auto"


@dataclass(frozen=True)
class Mode:
    """How a run computes.

    Attributes:
        dtype: what convolutions and matrix products compute in (autocast); None for float32.
        fast: on a GPU, let go of repeatability: TensorFloat-32, algorithms chosen by timing,
            compilation. On a CPU, where none of these pays, the same as without.
    """

    dtype: torch.dtype | None
    fast: bool = False

    @property
    def scaled(self) -> bool:
        """Whether gradients would underflow without a scaled loss."""
        return self.dtype is torch.float16


_DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISIONS = {name: Mode(dtype) for name, dtype in _DTYPES.items()} | {
    f"{name}-fast": Mode(dtype, fast=True) for name, dtype in _DTYPES.items()
}


def prepare_process(threads: int, precision: str) -> None:
    """Pin threads, keep freed memory, and make algorithms deterministic unless in fast mode."""
    keep_memory()
    fast = PRECISIONS[precision].fast
    # cuBLAS is deterministic only with a fixed workspace, read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # use_deterministic_algorithms() does the same and imports the compiler, for seconds.
    torch.set_deterministic_debug_mode("default" if fast else "error")
    # Deterministic mode also fills memory that is about to be overwritten anyway.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = fast
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.backends.cudnn.allow_tf32 = fast


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which a forward pass of this precision runs."""
    dtype = PRECISIONS[precision].dtype
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype)


def exact(x: Tensor) -> Tensor:
    """Return ``x`` in float32 where it has fewer bits, else ``x`` itself.

    For losses: autocast lifts a softmax to float32 on a GPU but not on a CPU, and what tells close
    exits apart is lost in bfloat16.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def default_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fastest(device: torch.device) -> str:
    """Return the precision in which a device trains fastest.

    16 bits where the device multiplies them faster than 32; of the two formats bfloat16 where
    there is one, which needs no scaling.
    """
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        return "bfloat16-fast" if major >= 8 else "float16-fast" if major == 7 else "float32-fast"
    can = torch.cpu.get_capabilities()
    return "bfloat16" if can.get("avx512_bf16") or can.get("amx_bf16") else "float32"


def usable_threads() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))
