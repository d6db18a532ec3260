"""The names of the arithmetic modes, and what each one is."""

from dataclasses import dataclass

# Resolved before a run is specified: no run's identity says so.
AUTO = "auto"


@dataclass(frozen=True)
class Mode:
    """How a run computes.

    Attributes:
        dtype: PyTorch's name of what convolutions and matrix products compute in (autocast);
            None for float32.
        fast: on a GPU, let go of repeatability: TensorFloat-32, algorithms chosen by timing,
            compilation. On a CPU, where none of these pays, the same as without.
    """

    dtype: str | None
    fast: bool = False

    @property
    def scaled(self) -> bool:
        """Whether gradients would underflow without a scaled loss."""
        return self.dtype == "float16"


_DTYPES = {"float32": None, "bfloat16": "bfloat16", "float16": "float16"}
PRECISIONS = {name: Mode(dtype) for name, dtype in _DTYPES.items()} | {
    f"{name}-fast": Mode(dtype, fast=True) for name, dtype in _DTYPES.items()
}
