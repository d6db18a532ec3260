"""Stochastic gradient descent, in one call for all parameters; Adam for those that ask for it."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Optimizer(ABC):
    """What the optimizers share: groups, state, the scaling of losses, and groups of Adam's.

    Building PyTorch's classes imports its compiler, which takes longer than everything else that
    a process does before its first step.

    Attributes:
        param_groups: dictionaries with ``params``, ``lr``, ``weight_decay``, the optimizer's own
            values and whatever else was given. A group with ``algorithm`` ``"adam"`` takes Adam's
            steps with its ``lr``, without decay.
        state: each parameter's tensors (Adam: ``exp_avg``, ``exp_avg_sq`` and ``step``), once it
            has had a gradient.
        grad_scale: what a loss scaling has multiplied the gradients by.
        found_inf: 1 where a gradient is not finite, so that the step changes nothing, else 0.
            Both are there for the time of a scaled step alone; the kernels look at them, so that
            nothing waits.
    """

    grad_scale: Tensor
    found_inf: Tensor
    # What GradScaler looks for before it sets the two.
    _step_supports_amp_scaling = True

    def __init__(self, groups: Sequence[dict[str, Any]], **common: Any) -> None:
        """Take groups of parameters; what a group does not say is said by ``common``."""
        self.param_groups = [common | group | {"params": list(group["params"])} for group in groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        self._adams: dict[int, torch.optim.Adam] = {}

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
            if not parameters:
                continue
            if group.get("algorithm") == "adam":
                self._update_by_adam(group)
            else:
                self._update(parameters, group)

    @abstractmethod
    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Update parameters of a group, which all have a gradient."""

    def _scaling(self) -> dict[str, Tensor | None]:
        return {name: getattr(self, name, None) for name in ("grad_scale", "found_inf")}

    def _update_by_adam(self, group: dict[str, Any]) -> None:
        adam, scaling = self._adam_of(group), self._scaling()
        if adam.defaults["fused"]:
            adam.grad_scale, adam.found_inf = scaling.values()  # type: ignore[attr-defined]
        elif scaling["found_inf"] is not None:
            # A CPU's kernels do not look at these.
            if scaling["found_inf"].item():
                return
            for parameter in (p for p in group["params"] if p.grad is not None):
                parameter.grad.div_(scaling["grad_scale"])
        adam.param_groups[0]["lr"] = group["lr"]
        adam.step()

    def _adam_of(self, group: dict[str, Any]) -> torch.optim.Adam:
        """Return PyTorch's Adam of a group; its state is saved with the rest."""
        fused = group["params"][0].is_cuda
        if id(group) not in self._adams:
            adam = torch.optim.Adam(group["params"], foreach=False, fused=fused)
            adam.state = self.state
            self._adams[id(group)] = adam
        for parameter in group["params"]:
            # A state that was saved on another device counts its steps there.
            if "step" in (state := self.state.get(parameter, {})):
                state["step"] = state["step"].to(parameter.device if fused else "cpu")
        return self._adams[id(group)]


class SGD(Optimizer):
    """What ``torch.optim.SGD(fused=True)`` computes, bit for bit, with PyTorch's own kernel.

    A group has ``momentum`` and ``nesterov`` besides, a parameter's state ``momentum_buffer``.
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
        super().__init__(
            groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        )

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
            **self._scaling(),
        )
