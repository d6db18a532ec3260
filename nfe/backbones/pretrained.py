"""Weights from a file into a fresh network: all of them, the classifier's as asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from nfe.backbones.backbone import Backbone
from nfe.backbones.description import Head
from nfe.backbones.layers import classifier
from nfe.common.errors import InputError, first_line

Tensors = Mapping[str, Tensor]

# Under which a state dict stands in files that hold more.
_NESTED = ("state_dict", "model_state_dict", "model")
# Before the names where the network was wrapped: in this suite's single runs, and by PyTorch.
_WRAPPED = ("network.", "module.", "_orig_mod.")


def read(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or a state dict that PyTorch saved (weights only, no code).

    Raises:
        InputError: it is neither.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: no file of weights ({error})") from None
    except Exception as error:  # What a damaged pickle raises is anything.
        reason = first_line(error)
        raise InputError(
            f"{path}: neither safetensors nor a state dict of PyTorch's: {reason}"
        ) from None
    return _unwrapped(path, found)


def _unwrapped(path: Path, found: Any) -> dict[str, Tensor]:
    for key in _NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise InputError(f"{path}: allowed: a state dict, names and tensors")
    for prefix in _WRAPPED:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return dict(found)


def load(path: Path, head: Head, model: nn.Module, backbone: Backbone) -> None:
    """Load a file's weights into a network.

    Its names are the library's own, or those of the network in stages, as in the weights of this
    suite's runs. Nothing may be missing, left over or of another shape, but for the classifier's
    weights with ``head`` ``drawn``: they stay as they were drawn.

    Args:
        path: the file.
        head: ``drawn`` or ``loaded``.
        model: the network as its library made it.
        backbone: the same layers, in stages.

    Raises:
        InputError: the file does not fit the network.
    """
    given = read(path)
    namings = [_tensors(model), _tensors(backbone)]
    wanted = max(namings, key=lambda naming: len(naming.keys() & given.keys()))
    last = classifier(backbone.head)
    own = set() if last is None else {id(parameter) for parameter in last.parameters()}
    kept = {name for name, value in wanted.items() if id(value) in own}
    if head == "drawn":
        wanted = {name: value for name, value in wanted.items() if name not in kept}
        given = {name: value for name, value in given.items() if name not in kept}
    _check(path, wanted, given, kept)
    with torch.no_grad():
        for name, value in wanted.items():
            if name in given:
                value.copy_(given[name])


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and saved buffers themselves, by name."""
    return dict(network.state_dict(keep_vars=True))


def _check(path: Path, wanted: Tensors, given: Tensors, classifier: set[str]) -> None:
    # Only how many batches a norm has seen may be missing: older files lack it.
    missing = [n for n in wanted if n not in given and not n.endswith("num_batches_tracked")]
    extra = [n for n in given if n not in wanted]
    if missing or extra:
        raise InputError(
            f"{path}: no weights of this network: "
            + "; ".join(
                f"{len(names)} {word}, {names[0]!r} first"
                for names, word in ((missing, "missing"), (extra, "left over"))
                if names
            )
        )
    for name, value in wanted.items():
        if name not in given or given[name].shape == value.shape:
            continue
        theirs, mine = tuple(given[name].shape), tuple(value.shape)
        if name in classifier:
            raise InputError(
                f"{path}: it has {theirs[0]} classes, {mine[0]} are wanted: allowed: head: drawn, "
                f"which leaves its classifier out"
            )
        raise InputError(f"{path}: {name!r} is {theirs} there and {mine} here")
