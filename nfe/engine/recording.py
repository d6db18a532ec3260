"""Steps recorded once as a CUDA graph and replayed: one launch in place of hundreds.

A small network's kernels take less time than Python needs to start them. A recorded step starts
them all at once: the same kernels on the same memory in the same order, so that the numbers are
those of the steps before it, which ran one operation at a time.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Steps that run one operation at a time before one is recorded: libraries choose algorithms and
# workspaces in them, and the compiler of fast modes compiles.
WARM_UP = 2

# Takes inputs and targets.
Compute = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class _Recording:
    """A recorded step.

    Attributes:
        graph: the recording.
        memory: what inputs and targets are copied to.
        outputs: where loss and hits are.
        gradients: where each parameter's gradient is; None of those that get none.
    """

    graph: torch.cuda.CUDAGraph
    memory: tuple[Tensor, Tensor]
    outputs: tuple[Tensor, Tensor]
    gradients: list[Tensor | None]


class Recorder:
    """Computes a step's gradients: at first directly, then by replaying a recording.

    Gradients stay in the recording's memory from step to step; each replay overwrites them.
    Draws from PyTorch's global stream of the GPU follow its seed, as if nothing were recorded.
    Where variants take turns the recording of each is kept; they share one pool of memory.

    Attributes:
        recordings: how many were made so far.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        """Prepare to record; ``parameters`` are all that may get a gradient."""
        self._parameters = list(parameters)
        self._stream = torch.cuda.Stream(self._parameters[0].device)
        self.recordings = 0
        self._kept: dict[Hashable, _Recording] = {}
        # How many steps of each variant ran directly; of those that were given up, none.
        self._direct: dict[Hashable, int] = {}
        self._last: _Recording | None = None

    def __call__(
        self, compute: Compute, variant: Hashable, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Set the gradients of a step; return loss and hits, which the next call overwrites.

        Args:
            compute: adds to the parameters' gradients and returns loss and hits; it never waits
                for the GPU.
            variant: what the step's operations depend on beside tensors' contents; another one
                is recorded anew.
            inputs: the batch; of another shape than before, it is recorded anew.
            targets: its targets.
        """
        variant = (variant, inputs.shape, inputs.stride(), inputs.dtype, targets.shape)
        if variant not in self._direct or not self._intact():
            self._give_up()
        direct = self._direct.setdefault(variant, 0)
        if variant not in self._kept and direct < WARM_UP:
            self._direct[variant] += 1
            self._last = None
            return self._directly(compute, inputs, targets)
        if variant not in self._kept:
            self._kept[variant] = self._record(compute, inputs, targets)
        self._last = self._kept[variant]
        return self._replay(self._last, inputs, targets)

    def _intact(self) -> bool:
        """Return whether the gradients still lie where the last step's recording writes them."""
        return self._last is None or all(
            p.grad is g for p, g in zip(self._parameters, self._last.gradients, strict=True)
        )

    def _give_up(self) -> None:
        """Give up all recordings and their memory.

        A variant that is new may be the only one from now on; of one that was there before, and
        takes turns with others, recordings are kept from then on.
        """
        self._drop_gradients()
        self._kept.clear()
        self._direct = dict.fromkeys(self._direct, 0)

    def _drop_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _directly(self, compute: Compute, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Compute without recording, on the stream that will be recorded."""
        self._drop_gradients()
        main = torch.cuda.current_stream(inputs.device)
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            outputs = compute(inputs, targets)
        main.wait_stream(self._stream)
        return outputs

    def _record(self, compute: Compute, inputs: Tensor, targets: Tensor) -> _Recording:
        """Return a recorded step; nothing is computed yet."""
        self._drop_gradients()
        memory = (torch.empty_like(inputs), torch.empty_like(targets))
        # One recording's gradients and outputs are used up before another one is replayed.
        pool = next((kept.graph.pool() for kept in self._kept.values()), None)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool, self._stream):
            outputs = compute(*memory)
        self.recordings += 1
        return _Recording(graph, memory, outputs, [p.grad for p in self._parameters])

    def _replay(
        self, recording: _Recording, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute a recorded step."""
        for parameter, gradient in zip(self._parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        for kept, given in zip(recording.memory, (inputs, targets), strict=True):
            kept.copy_(given)
        recording.graph.replay()
        return recording.outputs
