"""All paths' shares of a network's split weights, selected at once.

Layer by layer a share costs a comparison, a product and often a cast, and as much again in the
backward pass. On a GPU, where each is a kernel that takes longer to start than to run, a training
step selects them all together: the same numbers from a few kernels. Elsewhere, in evaluation, and
where compilers or transformations look at single layers, each layer computes its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

# Kinds of devices where one kernel in place of many pays.
WHERE = frozenset({"cuda"})
# Of the numbers in one memory, at whose multiples each weight begins: 128 bytes or more.
_ALIGNMENT = 64


class Split(Protocol):
    """A weight with the numbers of the paths that own its entries.

    Attributes:
        weight: the weight.
        group: uint8, of the same shape.
        selected: the shares while they are selected at once.
    """

    weight: Any
    group: Tensor
    selected: "Selected | None"


class Selected:
    """The shares of all paths in one weight, for where they were selected."""

    def __init__(self, shares: Sequence[Tensor], weight: Tensor) -> None:
        """Keep shares, path 1's first, of ``weight``."""
        self._shares = shares
        self._type = weight.dtype
        self._hooks = _hooks()

    def share(self, path: int) -> Tensor | None:
        """Return a path's share for a convolution or a matrix product; None if it is of no use.

        That is in a part of the network that computes in another precision, or that will be
        computed anew in the backward pass (``torch.utils.checkpoint``), when it is no longer there.
        """
        share = self._shares[path - 1]
        needed = _product_type(self._type, share.device)
        return share if share.dtype == needed and self._hooks == _hooks() else None


def _product_type(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the type in which a convolution or a matrix product takes a weight here."""
    if dtype is not torch.float64 and torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return dtype


def _hooks() -> Any:
    """Return what keeps the tensors for the backward pass here."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True)


@contextmanager
def selected_at_once(splits: Sequence[Split], paths: int) -> Iterator[None]:
    """Let each split weight have all paths' shares at hand inside, where that pays."""
    weights = [] if _looked_at() else [split.weight for split in splits]
    if not torch.is_grad_enabled() or not _together(weights):
        yield
        return
    dtype = _product_type(weights[0].dtype, weights[0].device)
    plan = _Plan([split.group for split in splits], weights, paths, dtype)
    shares = _Select.apply(plan, *weights)
    try:
        for number, split in enumerate(splits):
            split.selected = Selected(shares[number :: len(splits)], split.weight)
        yield
    finally:
        for split in splits:
            split.selected = None


def _looked_at() -> bool:
    """Return whether a compiler, an exporter or a transformation looks at the operations."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined]
        or torch._C._are_functorch_transforms_active()
    )


def _together(weights: Sequence[Any]) -> bool:
    """Return whether weights can be, and are worth being, selected from at once."""
    kinds = {(type(w), w.device, w.dtype, w.requires_grad) for w in weights}
    if len(kinds) != 1:
        return False
    kind, device, _, trained = kinds.pop()
    return device.type in WHERE and trained and kind in (Tensor, torch.nn.Parameter)


@dataclass(frozen=True)
class _Plan:
    """Where each weight's entries lie in one memory.

    Attributes:
        groups: the numbers of the paths, one tensor a weight.
        weights: the weights, for their shapes and layouts.
        paths: number of paths.
        dtype: type of the shares.
    """

    groups: list[Tensor]
    weights: list[Tensor]
    paths: int
    dtype: torch.dtype

    @cached_property
    def places(self) -> list[tuple[torch.Size, tuple[int, ...], int]]:
        """Shape, strides and first entry of each weight."""
        found, start = [], 0
        for weight in self.weights:
            found.append((weight.shape, torch.empty_like(weight, device="meta").stride(), start))
            start += -(-weight.numel() // _ALIGNMENT) * _ALIGNMENT
        return found

    @cached_property
    def entries(self) -> int:
        """Entries of the memory."""
        shape, _, start = self.places[-1]
        return start + -(-shape.numel() // _ALIGNMENT) * _ALIGNMENT

    def memory(self, dtype: torch.dtype) -> Tensor:
        """Return memory for one number for each entry."""
        return torch.empty(self.entries, dtype=dtype, device=self.weights[0].device)

    def parts(self, memory: Tensor) -> list[Tensor]:
        """Return the parts of memory (entries,) or (paths, entries), row by row."""
        rows = memory.numel() // self.entries
        return [
            memory.as_strided(shape, strides, row * self.entries + start)
            for row in range(rows)
            for shape, strides, start in self.places
        ]

    @cached_property
    def owners(self) -> Tensor:
        """The number of the path that owns each entry, (entries,)."""
        owners = self.memory(torch.uint8)
        torch._foreach_copy_(self.parts(owners), self.groups)
        return owners

    def owned(self) -> Tensor:
        """Return whether each path owns each entry: bool, (paths, entries)."""
        numbers = torch.arange(1, self.paths + 1, dtype=torch.uint8, device=self.owners.device)
        return self.owners == numbers[:, None]


class _Select(torch.autograd.Function):
    """Weights to shares, those of path 1 first."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *weights: Tensor) -> tuple[Tensor, ...]:
        """Return ``paths`` × weights' shares, each a part of one memory."""
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        whole = plan.memory(plan.dtype)
        torch._foreach_copy_(plan.parts(whole), weights)
        return tuple(plan.parts(whole * plan.owned()))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the weights' gradients."""
        return (None, *_Gather.apply(ctx.plan, *gradients))


class _Gather(torch.autograd.Function):
    """The adjoint of ``_Select``: a weight's sum of what its shares have where they own."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *shares: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return a tensor for each weight; None among the shares stands for one not used."""
        ctx.plan, ctx.given = plan, [share is not None for share in shares]
        every = torch.zeros((plan.paths, plan.entries), dtype=plan.dtype, device=plan.owners.device)
        places = zip(plan.parts(every), shares, strict=True)
        given = [(place, share) for place, share in places if share is not None]
        torch._foreach_copy_([place for place, _ in given], [share for _, share in given])
        every.mul_(plan.owned())
        sums = plan.parts(every.sum(0, dtype=plan.weights[0].dtype))
        used = [any(ctx.given[number :: len(sums)]) for number in range(len(sums))]
        return tuple(s if some else None for s, some in zip(sums, used, strict=True))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the shares' gradients."""
        pairs = zip(gradients, ctx.plan.weights, strict=True)
        shares = _Select.apply(
            ctx.plan, *(torch.zeros_like(w) if g is None else g for g, w in pairs)
        )
        found = [s if given else None for s, given in zip(shares, ctx.given, strict=True)]
        return (None, *found)
