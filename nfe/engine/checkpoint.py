"""Saved training state: written atomically, checked when read, never unpickled.

A state is one safetensors file whose name carries the SHA-256 of its content. The newest two
are kept; a damaged or foreign one is removed, with a warning, and the one before it is used.
"""

import hashlib
import json
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from nfe.common.errors import InputError
from nfe.common.files import discard_unfinished, make_directory, write_bytes

_log = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.safetensors")
_KEPT = 2


class Optimizer(Protocol):
    """What a state holds of an optimizer: tensors by name for each parameter."""

    state: Any


@dataclass
class Progress:
    """Where training stands.

    Attributes:
        epoch: the epoch in progress, from 0.
        batch: batches of that epoch done.
        step: optimizer steps since the run began.
        loss_sum: sum of the epoch's batch losses so far.
        correct: correct training predictions of the epoch so far.
        predictions: training predictions of the epoch so far.
        history: one row per finished epoch.
        seconds: training seconds so far, over all attempts.
        scaler: state of the loss scaling, empty where there is none.
        step_macs: multiply-adds of one step, by its kind, where they are counted.
        devices: model of each device that trained, with the first step it took; another row
            where it is another model than before. States older than this record have none.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    predictions: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    scaler: dict[str, Any] = field(default_factory=dict)
    step_macs: dict[str, int] = field(default_factory=dict)
    devices: list[tuple[str, int]] = field(default_factory=list)


def _optimizer_tensors(optimizer: Optimizer, network: nn.Module) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {p: name for name, p in network.named_parameters()}
    return {
        f"optimizer.{key}.{names[parameter]}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def save(
    folder: Path,
    digest: str,
    network: nn.Module,
    optimizer: Optimizer,
    progress: Progress,
) -> None:
    """Save the state of a run; older states than the newest two are removed.

    Raises:
        OSError: the state cannot be written; those saved before still stand.
    """
    make_directory(folder)
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= _optimizer_tensors(optimizer, network)
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {"run": digest, "progress": json.dumps(vars(progress))}
    content = safetensors.torch.save(contiguous, metadata)
    checksum = hashlib.sha256(content).hexdigest()[:16]
    write_bytes(folder / f"step-{progress.step:09d}-{checksum}.safetensors", content)
    for old in _states(folder)[_KEPT:]:
        old.unlink(missing_ok=True)


def _states(folder: Path) -> list[Path]:
    """Return the state files, newest first."""
    return sorted((p for p in folder.glob("step-*") if _NAME.fullmatch(p.name)), reverse=True)


def _read(path: Path, digest: str) -> tuple[dict[str, Tensor], Progress]:
    content = path.read_bytes()
    match = _NAME.fullmatch(path.name)
    if match is None or hashlib.sha256(content).hexdigest()[:16] != match[2]:
        raise ValueError("the content does not match its checksum")
    tensors = safetensors.torch.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header["__metadata__"]
    if metadata["run"] != digest:
        raise ValueError("it belongs to another run")
    return tensors, _progress(json.loads(metadata["progress"]))


def _progress(values: dict[str, Any]) -> Progress:
    """Return where a state's training stands; before kinds of steps ``step_macs`` was a number."""
    counted = values["step_macs"]
    if isinstance(counted, int):
        values["step_macs"] = {"0": counted} if counted else {}
    return Progress(**values)


def restore(folder: Path, digest: str, network: nn.Module, optimizer: Optimizer) -> Progress | None:
    """Load the newest usable state into network and optimizer; None where there is none.

    An unusable state is removed with a warning that names it, or it would count as one of
    those that are kept. Network and optimizer are touched by a usable state only.
    """
    discard_unfinished(folder)
    for path in _states(folder):
        try:
            tensors, progress = _read(path, digest)
            _check(tensors, network)
        except (OSError, ValueError, LookupError, TypeError, safetensors.SafetensorError) as error:
            _log.warning("%s: unusable state removed: %s", path, error)
            path.unlink(missing_ok=True)
            continue
        _load(tensors, network, optimizer)
        return progress
    return None


def _check(tensors: dict[str, Tensor], network: nn.Module) -> None:
    """Check that ``_load`` can load every tensor.

    Raises:
        KeyError: the network has no such tensor.
        ValueError: a tensor is missing or has another shape.
    """
    expected = {f"network.{name}": value.shape for name, value in network.state_dict().items()}
    parameters = {name: value.shape for name, value in network.named_parameters()}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            shapes = [torch.Size(), parameters[key.split(".", 2)[2]]]
        else:
            shapes = [expected.pop(key)]
        if value.shape not in shapes:
            raise ValueError(f"tensor {key!r} has the shape {tuple(value.shape)}")
    if expected:
        raise ValueError(f"tensor {next(iter(expected))!r} is missing")


def _load(tensors: dict[str, Tensor], network: nn.Module, optimizer: Optimizer) -> None:
    own = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    network.load_state_dict(own)
    parameters = dict(network.named_parameters())
    for key, value in tensors.items():
        if not key.startswith("optimizer."):
            continue
        _, slot, name = key.split(".", 2)
        parameter = parameters[name]
        stored = torch.empty_like(parameter).copy_(value) if value.dim() else value
        optimizer.state[parameter][slot] = stored


def save_weights(path: Path, network: nn.Module, digest: str) -> None:
    """Write the trained weights as safetensors; the same weights always give the same bytes."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    write_bytes(path, safetensors.torch.save(tensors, {"run": digest}))


def load_weights(path: Path, network: nn.Module) -> None:
    """Load weights written by ``save_weights`` into a network of the same structure.

    Raises:
        InputError: the file is missing, damaged or of another network.
    """
    try:
        network.load_state_dict(safetensors.torch.load_file(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (RuntimeError, safetensors.SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{path}: not the weights of this network ({first})") from None
