"""Whether a network's weights, and an example, are such that weights can be scored and copied."""

from collections.abc import Collection
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from nfe.common.errors import InputError, unknown

# What the older tools of PyTorch leave beside a weight that they compute before every forward
# pass, and what takes it off again.
_LEFTOVERS = {
    "_mask": "torch.nn.utils.prune.remove(layer, {!r})",
    "_u": "torch.nn.utils.remove_spectral_norm(layer, {!r})",
    "_g": "torch.nn.utils.remove_weight_norm(layer, {!r})",
}


def check_ordinary(model: nn.Module) -> None:
    """Check that every weight of a network is there, and not computed before each forward pass.

    Parametrizations (``torch.nn.utils.parametrize``) are no matter here.

    Raises:
        InputError: what was given is no module, or a module of it is lazy, on the meta device, or
            has a weight by the older ``torch.nn.utils``: its name and the remedy are told.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"the network is a {type(model).__name__}: allowed: an nn.Module")
    for name, module in model.named_modules():
        where = f"module {name!r} ({type(module).__name__})"
        tensors = {**module._parameters, **module._buffers}
        for tensor in tensors.values():
            if tensor is not None and is_lazy(tensor):
                raise InputError(
                    f"{where} is lazy, its weights have no shape yet: run one batch through the "
                    f"network first"
                )
            if tensor is not None and tensor.is_meta:
                raise InputError(
                    f"{where} is on the meta device, where weights have no values: build the "
                    f"network on a real device, or load its weights, first"
                )
        for suffix, remedy in _LEFTOVERS.items():
            for left in [n for n in tensors if n.endswith(suffix)]:
                weight = left.removesuffix(suffix)
                if isinstance(vars(module).get(weight), Tensor):
                    raise InputError(
                        f"{where}: its {weight} is computed before every forward pass, and cannot "
                        f"be copied or divided: {remedy.format(weight)} first"
                    )


def check_layers(model: nn.Module, names: Collection[str]) -> None:
    """Check that layers have a weight of their own that can be pruned.

    Raises:
        InputError: there is no layer of that name, it has no weight, or its weight is computed
            from others, as that of a pruned layer is.
    """
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            raise unknown("layer", name, modules)
        layer = modules[name]
        where = f"layer {name!r} ({type(layer).__name__})"
        if parametrize.is_parametrized(layer, "weight"):
            by = type(cast(nn.ModuleList, layer.parametrizations["weight"])[0]).__name__
            raise InputError(
                f"{where} is already pruned or computed from other weights ({by}): prune a "
                f"network once, or make its weights plain first: "
                f"torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
            )
        if layer._parameters.get("weight") is None:
            raise InputError(f"{where} has no weight that could be pruned")


def as_example(example: object) -> tuple[Tensor, Tensor] | None:
    """Return an example as images and labels, the labels as int64; None where there is none.

    Raises:
        InputError: it is no pair of tensors, or the labels are no whole numbers.
    """
    if example is None:
        return None
    if not _is_pair(example):
        raise InputError(
            f"example is {_describe(example)}: allowed: (images, labels), two tensors: "
            f"labels are class numbers, one for each image"
        )
    images, labels = cast(tuple[Tensor, Tensor], example)
    if labels.is_floating_point() or labels.is_complex():
        raise _misfit(images, labels)
    return images, labels.to(torch.int64)


def check_labels(images: Tensor, labels: Tensor) -> None:
    """Check that an example has one label for each of its images.

    Raises:
        InputError: it has not, or no image.
    """
    if images.dim() == 0 or len(images) == 0 or labels.shape != images.shape[:1]:
        raise _misfit(images, labels)


def _misfit(images: Tensor, labels: Tensor) -> InputError:
    return InputError(
        f"example labels {tuple(labels.shape)} {labels.dtype} beside images "
        f"{tuple(images.shape)}: allowed: whole numbers, one for each image, 1 or more"
    )


def _is_pair(example: object) -> bool:
    listed = isinstance(example, (tuple, list)) and len(example) == 2
    return listed and all(isinstance(part, Tensor) for part in cast(tuple[object, ...], example))


def _describe(example: object) -> str:
    if isinstance(example, Tensor):
        return f"one tensor {tuple(example.shape)}"
    if isinstance(example, (tuple, list)):
        return f"({', '.join(type(part).__name__ for part in example)})"
    return f"a {type(example).__name__}"
