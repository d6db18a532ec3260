"""Named arithmetic modes, and the process settings that make a run repeatable."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.utils.deterministic
from torch import Tensor, nn

from nfe.common.allocator import keep_memory
from nfe.common.errors import InputError
from nfe.common.modes import PRECISIONS


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
    name = PRECISIONS[precision].dtype
    if name is None:
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, name))


@contextmanager
def full_float32() -> Iterator[None]:
    """Multiply float32 numbers as such inside: no TensorFloat-32 on a GPU, whatever the mode."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = False
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def exact(x: Tensor) -> Tensor:
    """Return ``x`` in float32 where it has fewer bits, else ``x`` itself.

    For losses: autocast lifts some of their operations to float32, others not, and not the same
    ones on a GPU and on a CPU; and what tells close exits apart is lost in bfloat16.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _exactly(output: Any) -> Any:
    if isinstance(output, Tensor):
        return exact(output) if output.is_floating_point() else output
    if isinstance(output, (tuple, list)):
        return [_exactly(part) for part in output]
    return output


class InPrecision(nn.Module):
    """A network that computes in a precision and answers in float32 (float64 where it does).

    What a loss calls: autocast is in force inside the network alone, so that whatever the loss
    makes of the outputs is computed in float32 or more, in every method and on every device.
    Of tuples and lists, which become lists, each tensor is lifted. Attributes are the network's;
    a method of it that is called in place of ``forward`` computes in float32.
    """

    def __init__(self, network: nn.Module, precision: str, lift: bool = True) -> None:
        """Wrap a network; without ``lift`` its outputs keep their type."""
        super().__init__()
        self.network = network
        self._precision = precision
        self._lift = lift

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Any:
        """Return the network's outputs for images ``x``."""
        with autocast(self._precision, x.device):
            output = self.network(x, *arguments, **options)
        return _exactly(output) if self._lift else output

    def __getattr__(self, name: str) -> Any:
        """Return what the network has under a name."""
        own = self.__dict__["_modules"]
        return own[name] if name in own else getattr(own["network"], name)


def default_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def require_gpu() -> None:
    """Check that a GPU can be used.

    Raises:
        InputError: PyTorch sees none; set NFE_ALLOW_CPU=1 to go on without.
    """
    if torch.cuda.is_available() or os.environ.get("NFE_ALLOW_CPU") == "1":
        return
    raise InputError(
        f"a GPU is asked for and PyTorch {torch.__version__} sees none (driver: {_driver()}; "
        f"PyTorch's CUDA: {torch.version.cuda or 'none'}): allowed: a driver for that CUDA and a "
        "visible GPU, gpus: 0 in the suite, or NFE_ALLOW_CPU=1 to train on the CPU all the same"
    )


def _driver(file: Path = Path("/proc/driver/nvidia/version")) -> str:
    """Return the version of NVIDIA's kernel driver."""
    try:
        found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", file.read_text(encoding="utf-8"))
    except OSError:
        return "none loaded"
    return found[0] if found else "unknown"


def fastest(device: torch.device) -> str:
    """Return the precision in which a device trains fastest.

    16 bits where the device multiplies them faster than 32; of the two formats bfloat16 where
    there is one, which needs no scaling.
    """
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        return "bfloat16-fast" if major >= 8 else "float16-fast" if major == 7 else "float32-fast"
    return "bfloat16" if _cpu_multiplies_bfloat16() else "float32"


def _cpu_multiplies_bfloat16() -> bool:
    if not hasattr(torch.cpu, "get_capabilities"):
        # Before PyTorch 2.11.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


def usable_threads() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))
