"""Whether a network cut into parts still computes what it did: tried at the call.

A network with ``stem``, ``stages`` and ``head`` may compute more between them than its parts tell,
and a layer may compute more than its class promises. Both show in one forward pass.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from nfe.backbones.stages import in_mode, named_parts
from nfe.common.errors import InputError, first_line
from nfe.common.seeds import generator, set_global_stream
from nfe.splitting.layers import kind

# Sides of random images that are tried, the first that the network takes is used.
_SIDES = (32, 28, 64, 96, 128, 224)
# The largest difference that rounding makes, as a share of the largest value.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
_LOOSE = 5e-2


@torch.no_grad()
def check_faithful(
    model: nn.Module, network: nn.Module, images: Tensor | None, traced: bool
) -> None:
    """Check that a network put together from a model's parts gives the model's logits.

    Two images, in evaluation mode; global random streams stay where they are.

    Args:
        model: a copy of the given network, which may be changed.
        network: stem, stages and head with one exit, its logits (batch, 1, classes).
        images: images of an example; without, random ones of a size that the model takes.
        traced: whether stages were named, and cut out of the model's traced forward pass, rather
            than taken as its ``stem``, ``stages`` and ``head`` where it has these.

    Raises:
        InputError: something is left out, which is named as far as it has a name, or there is no
            image to find that out with.
    """
    watched = None if traced else named_parts(model)
    with _undisturbed(model), in_mode(model, training=False), in_mode(network, training=False):
        found = _taken(model, images)
        if found is None:
            if watched is None:
                return  # Its own forward pass was traced: nothing can be left out unseen.
            raise InputError(
                f"{type(model).__name__}: no random image fits it, so that stem, stages and head "
                f"cannot be compared with it: give example=(images, labels)"
            )
        with _Watch(model, watched or {}) as watch:
            expected = watch.model(found)
        watch.finish(expected)
        _compare(type(model).__name__, network, found, expected)


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Run a block and put the global random streams back to where they were."""
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        yield


def _candidates(model: nn.Module) -> Iterator[Tensor]:
    """Yield random batches of two that the first layer takes."""
    layer = next((m for m in model.modules() if kind(m) != "other"), None)
    if layer is None:
        return
    weight = cast(Tensor, layer.weight)
    draws = generator("cpu", 0, "faithful")
    spatial = weight.dim() - 2
    channels = weight.shape[1] * (cast(int, layer.groups) if spatial else 1)
    for side in _SIDES[: 2 if spatial == 3 else len(_SIDES)] if spatial else (1,):
        batch = torch.randn(2, channels, *[side] * spatial, generator=draws)
        yield batch.to(weight.device, weight.dtype)


def _taken(model: nn.Module, images: Tensor | None) -> Tensor | None:
    """Return two images that the model takes."""
    if images is not None:
        return images[:2]
    for batch in _candidates(model):
        try:
            _seeded(model, batch)
        except Exception:  # Whatever it raises: it does not take them.
            continue
        return batch
    return None


def _seeded(network: nn.Module, batch: Tensor) -> Any:
    """Run a network; what draws at random even in evaluation draws the same each time."""
    set_global_stream(batch.device, 0)
    # In-place layers at the very beginning would change the batch.
    return network(batch.clone())


def _differ(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or one.shape != other.shape:
        return True
    largest = float(one.abs().nan_to_num().max()) if one.numel() else 0.0
    tolerance = _TOLERANCE.get(one.dtype, _LOOSE) * largest
    return not torch.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True)


def _compare(name: str, network: nn.Module, batch: Tensor, expected: Any) -> None:
    try:
        found = _seeded(network, batch)[:, 0]
    except Exception as error:
        reason = first_line(error)
        raise InputError(f"{name}: cut into stages it cannot compute: {reason}") from error
    if _differ(expected, found):
        raise InputError(
            f"{name}: cut into stages, with one exit and nothing pruned, it gives other logits: a "
            f"layer computes more than its class tells, or the forward pass has effects of its own"
        )


class _Watch:
    """Follows what a network does between its parts, during one forward pass."""

    def __init__(self, model: nn.Module, parts: dict[str, nn.Module]) -> None:
        self._model, self._parts, self._hooks = model, parts, ExitStack()
        self._waiting = list(parts)
        self._last = ""
        self._value: Any = None
        self._between: list[str] = []

    def __enter__(self) -> "_Watch":
        inside = {m for part in self._parts.values() for m in part.modules()}
        for name, part in self._parts.items():
            self._hook(part.register_forward_pre_hook(self._enters(name), with_kwargs=True))
            self._hook(part.register_forward_hook(self._leaves(name)))
        for name, module in self._model.named_modules():
            free = getattr(module, "p", None) == 0 or isinstance(module, nn.Identity)
            if module not in inside and not free and not list(module.children()):
                self._hook(module.register_forward_hook(self._outside(name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def _hook(self, handle: Any) -> None:
        self._hooks.callback(handle.remove)

    def model(self, batch: Tensor) -> Any:
        """Run the network."""
        self._value = batch.clone()
        return _seeded(self._model, batch)

    def _enters(self, name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self._waiting or name != self._waiting.pop(0):
                raise InputError(f"{self._kind}: {name!r} is called out of turn or twice")
            if len(args) != 1 or kwargs:
                raise InputError(f"{self._kind}: {name!r} is called with more than one tensor")
            self._check(name, args[0])

        return hook

    def _leaves(self, name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            # A copy: what works in place behind it would change this value, too.
            self._value = output.clone() if isinstance(output, Tensor) else output
            self._last = name

        return hook

    def _outside(self, name: str) -> Any:
        def hook(module: nn.Module, _args: Any, _output: Any) -> None:
            self._between.append(f"{name!r} ({type(module).__name__})")

        return hook

    @property
    def _kind(self) -> str:
        return type(self._model).__name__

    def _check(self, arriving: str, value: Any) -> None:
        """Check that what comes next is what the part before gave."""
        if not self._between and not _differ(self._value, value):
            return
        where = f"between {self._last!r} and {arriving!r}" if arriving else f"behind {self._last!r}"
        where = where if self._last else f"before {arriving!r}"
        what = "module " + ", ".join(self._between) if self._between else "code without a module"
        raise InputError(
            f"{self._kind} computes more than its stem, stages and head: {what} {where} would be "
            f"left out: put it into one of them, or name the modules that begin a stage by "
            f"stages=[…]"
        )

    def finish(self, logits: Any) -> None:
        """Check that every part was called, and that nothing came after the head."""
        if self._waiting:
            raise InputError(
                f"{self._kind}: {self._waiting[0]!r} is not called as a whole by its forward "
                f"pass: name the modules that begin a stage by stages=[…]"
            )
        if self._parts:
            self._check("", logits)
