"""Stochastic gradient descent, in one call for all parameters; Adam for those that ask for it."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

# Adam's decay rates and the term in its denominator (Kingma & Ba, ICLR 2015).
BETAS = (0.9, 0.999)
EPSILON = 1e-8


class SGD:
    """What ``torch.optim.SGD(fused=True)`` computes, bit for bit, with PyTorch's own kernel.

    Building PyTorch's class imports its compiler, which takes longer than everything else that
    a process does before its first step.

    Attributes:
        param_groups: dictionaries with ``params``, ``lr``, ``momentum``, ``nesterov``,
            ``weight_decay`` and whatever else was given. A group with ``algorithm`` ``"adam"``
            takes Adam's steps with its ``lr``, without decay.
        state: each parameter's ``momentum_buffer`` (Adam: ``exp_avg``, ``exp_avg_sq`` and
            ``step``), once it has had a gradient.
        grad_scale: what a loss scaling has multiplied the gradients by.
        found_inf: 1 where a gradient is not finite, so that the step changes nothing, else 0.
            Both are there for the time of a scaled step alone; the kernels look at them, so that
            nothing waits.
    """

    grad_scale: Tensor
    found_inf: Tensor
    # What GradScaler looks for before it sets the two.
    _step_supports_amp_scaling = True

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
            if group.get("algorithm") == "adam":
                self._update_by_adam(parameters, group["lr"])
            elif parameters:
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
            **self._scaling(),
        )

    def _scaling(self) -> dict[str, Tensor | None]:
        return {name: getattr(self, name, None) for name in ("grad_scale", "found_inf")}

    def _update_by_adam(self, parameters: list[Tensor], lr: float) -> None:
        on_gpu = [p for p in parameters if p.is_cuda]
        if on_gpu:
            states = [self.state[p] for p in on_gpu]
            fused_adam_steps(on_gpu, states, lr, **self._scaling())
            return
        scale, found_inf = self._scaling().values()
        if found_inf is not None and found_inf.item():
            return
        for parameter in parameters:
            if scale is not None:
                cast(Tensor, parameter.grad).div_(scale)
            adam_step(parameter, self.state[parameter], lr)


def adam_step(parameter: Tensor, state: dict[str, Tensor], lr: float) -> None:
    """Take one step of Adam as ``torch.optim.Adam(foreach=False)`` does, bit for bit.

    Args:
        parameter: with a gradient.
        state: what the parameter's last step left, empty before the first.
        lr: learning rate.
    """
    _begin_adam(parameter, state, torch.device("cpu"))
    gradient, mean, square = cast(Tensor, parameter.grad), state["exp_avg"], state["exp_avg_sq"]
    number = (state["step"].add_(1)).item()
    mean.lerp_(gradient, 1 - BETAS[0])
    square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    scale = (1 - BETAS[1] ** number) ** 0.5
    denominator = (square.sqrt() / scale).add_(EPSILON)
    parameter.addcdiv_(mean, denominator, value=-lr / (1 - BETAS[0] ** number))


def fused_adam_steps(
    parameters: list[Tensor],
    states: list[dict[str, Tensor]],
    lr: float,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
) -> None:
    """Take one step of Adam as ``torch.optim.Adam(fused=True)`` does, in one call for all.

    Args:
        parameters: with gradients, on one device.
        states: what each parameter's last step left, empty before the first.
        lr: learning rate.
        grad_scale: see ``SGD``.
        found_inf: see ``SGD``.
    """
    for parameter, state in zip(parameters, states, strict=True):
        _begin_adam(parameter, state, parameter.device)
    steps = [state["step"] for state in states]
    torch._foreach_add_(steps, 1)
    torch._fused_adam_(
        parameters,
        [p.grad for p in parameters],  # type: ignore[misc]
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [],
        steps,
        lr=lr,
        beta1=BETAS[0],
        beta2=BETAS[1],
        weight_decay=0.0,
        eps=EPSILON,
        amsgrad=False,
        maximize=False,
        grad_scale=grad_scale,
        found_inf=found_inf,
    )
    if found_inf is not None:
        torch._foreach_sub_(steps, [found_inf] * len(steps))


def _begin_adam(parameter: Tensor, state: dict[str, Tensor], counter: torch.device) -> None:
    """Fill an empty state; the number of steps taken stands on ``counter``."""
    if not state:
        state["step"] = torch.tensor(0.0, device=counter)
        state["exp_avg"] = torch.zeros_like(parameter)
        state["exp_avg_sq"] = torch.zeros_like(parameter)
    elif state["step"].device != counter:
        state["step"] = state["step"].to(counter)
