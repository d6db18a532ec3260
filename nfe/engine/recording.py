"""Steps recorded once as a CUDA graph and replayed: one launch in place of hundreds.

A small network's kernels take less time than Python needs to start them. A recorded step starts
them all at once: the same kernels on the same memory in the same order, so that the numbers are
those of the steps before it, which ran one operation at a time.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

# Steps that run one operation at a time before one is recorded: libraries choose algorithms and
# workspaces in them, and the compiler of fast modes compiles.
WARM_UP = 2

# Takes inputs and targets.
Compute = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Recorder:
    """Computes a step's gradients: at first directly, then by replaying a recording.

    Gradients stay in the recording's memory from step to step; each replay overwrites them.
    Draws from PyTorch's global stream of the GPU follow its seed, as if nothing were recorded.

    Attributes:
        recordings: how many were made so far.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        """Prepare to record; ``parameters`` are all that may get a gradient."""
        self._parameters = list(parameters)
        self._stream = torch.cuda.Stream(self._parameters[0].device)
        self.recordings = 0
        self._variant: Hashable = None
        self._direct = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._memory: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, Tensor] | None = None
        self._gradients: list[Tensor | None] = []

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
        if variant != self._variant or not self._intact():
            self._forget()
            self._variant = variant
        if self._graph is None and self._direct < WARM_UP:
            self._direct += 1
            return self._directly(compute, inputs, targets)
        if self._graph is None or self._outputs is None:
            self._graph, self._outputs = self._record(compute, inputs, targets)
        for kept, given in zip(self._memory, (inputs, targets), strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._outputs

    def _intact(self) -> bool:
        """Return whether the gradients still lie where the recording writes them."""
        return self._graph is None or all(
            p.grad is g for p, g in zip(self._parameters, self._gradients, strict=True)
        )

    def _drop_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _forget(self) -> None:
        """Give up the recording and its memory."""
        self._drop_gradients()
        self._graph, self._direct = None, 0
        self._memory, self._outputs, self._gradients = (), None, []

    def _directly(self, compute: Compute, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Compute without recording, on the stream that will be recorded."""
        self._drop_gradients()
        main = torch.cuda.current_stream(inputs.device)
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            outputs = compute(inputs, targets)
        main.wait_stream(self._stream)
        return outputs

    def _record(
        self, compute: Compute, inputs: Tensor, targets: Tensor
    ) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor]]:
        """Return a recording and the memory of its outputs; nothing is computed yet."""
        self._drop_gradients()
        self._memory = (torch.empty_like(inputs), torch.empty_like(targets))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            outputs = compute(*self._memory)
        self._gradients = [parameter.grad for parameter in self._parameters]
        self.recordings += 1
        return graph, outputs
