"""Stochastic gradient descent, in one call for all parameters."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class SGD:
    """What ``torch.optim.SGD(fused=True)`` computes, bit for bit, with PyTorch's own kernel.

    Building PyTorch's class imports its compiler, which takes longer than everything else that
    a process does before its first step.

    Attributes:
        param_groups: dictionaries with ``params``, ``lr``, ``momentum``, ``nesterov``,
            ``weight_decay`` and whatever else was given.
        state: each parameter's ``momentum_buffer``, once it has had a gradient.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        *,
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
    ) -> None:
        common = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
        }
        self.param_groups = [common | group | {"params": list(group["params"])} for group in groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    def zero_grad(self) -> None:
        """Drop every gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        begun = [p for p in parameters if p in self.state]
        if group["momentum"]:
            for p in parameters:
                if p not in self.state:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum_buffer"] for p in parameters if p in self.state]
        torch._fused_sgd_(
            parameters,
            [p.grad for p in parameters],  # type: ignore[misc]
            buffers,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=group["nesterov"],
            maximize=False,
            is_first_step=not begun,
        )
