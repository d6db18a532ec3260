"""Named arithmetic modes, and the process settings that make a run repeatable."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

# Every mode runs with deterministic algorithms.
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


def prepare_process(threads: int) -> None:
    """Pin the number of threads and switch on deterministic algorithms."""
    # cuBLAS is deterministic only with a fixed workspace, read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # use_deterministic_algorithms() does the same and imports the compiler, for seconds.
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which a forward pass of this precision runs."""
    dtype = PRECISIONS[precision]
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
