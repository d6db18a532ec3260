"""Adam with decoupled weight decay, in one call for all parameters of a group."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nfe.method.optimizer import Optimizer

BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class AdamW(Optimizer):
    """What ``torch.optim.AdamW(fused=True)`` computes, bit for bit, with PyTorch's own kernel.

    Loshchilov & Hutter, ICLR 2019. A parameter's state is ``exp_avg``, ``exp_avg_sq`` and ``step``.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], *, lr: float, weight_decay: float) -> None:
        super().__init__(groups, lr=lr, weight_decay=weight_decay)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        states = [self._begun(parameter) for parameter in parameters]
        steps = [state["step"] for state in states]
        scaling = self._scaling()
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            parameters,
            [p.grad for p in parameters],  # type: ignore[misc]
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=group["weight_decay"],
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
            **scaling,
        )
        if (found := scaling["found_inf"]) is not None:
            # A step that changed nothing does not count.
            torch._foreach_sub_(steps, [found] * len(steps))

    def _begun(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        # A state that was saved counts its steps on the CPU.
        state["step"] = state["step"].to(parameter.device)
        return state


def decayed_apart(groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return groups of parameters in which only matrices and kernels decay.

    Norms, biases and scales, which have one axis longer than one entry at most, stand in groups of
    their own without decay, as in DeiT (Touvron et al., ICML 2021) and ConvNeXt (Liu et al., CVPR
    2022).
    """
    found = []
    for group in groups:
        vectors = [p for p in group["params"] if not _is_matrix(p)]
        matrices = [p for p in group["params"] if _is_matrix(p)]
        found += [group | {"params": matrices}] if matrices else []
        found += [group | {"params": vectors, "weight_decay": 0.0}] if vectors else []
    return found


def _is_matrix(parameter: Tensor) -> bool:
    return sum(side > 1 for side in parameter.shape) > 1
