"""Layers whose weight is one path's share of a weight that several paths divide.

A ``SplitWeight`` holds a weight once. Each path that crosses the layer has a layer of its own, for
instance a ``PathConv2d``, with its own bias, hooks and mode, that refers to the split weight and
computes with the path's share of it. The split weights are registered in one place
(``FissionNetwork.weights``), so that they appear once among parameters and in state dicts.

A share is computed anew at each use: what would write to one is refused, for it would be lost.
"""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nfe.common.errors import InputError
from nfe.splitting.grouping import PRUNED
from nfe.splitting.selection import Selected

Part = TypeVar("Part", bound=nn.Module)

_IN_PLACE_OPERATORS = frozenset(
    f"__i{name}__"
    for name in (
        *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"),
        *("and", "or", "xor", "lshift", "rshift"),
    )
)


class SplitWeight(nn.Module):
    """One weight tensor divided over paths.

    ``group`` follows the weight to other devices and stands in the state dict, yet is no buffer:
    tools that average buffers (``AveragedModel``) must leave the numbers of paths alone. For the
    same reason ``DistributedDataParallel`` does not send it to the other processes: each must
    build the network with the same seed, or load the same state dict.

    Attributes:
        weight: the dense parameter; pruned entries are zero and stay zero.
        group: uint8, the number of the path that owns each weight, 0 where pruned.
        selected: see ``nfe.splitting.selection``.
    """

    selected: Selected | None = None

    def __init__(self, weight: nn.Parameter, group: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.group = group
        with torch.no_grad():
            self.weight.masked_fill_(group == PRUNED, 0)

    def select(self, path: int) -> Tensor:
        """Return the weight as ``path`` sees it: its own group, zero elsewhere."""
        owned = self.group == path
        # The ONNX exporter cannot promote a bool; elsewhere a float mask would cost memory.
        if torch.compiler.is_exporting():
            owned = owned.to(self.weight.dtype)
        return self.weight * owned

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register the weight; what hook-based tools would put in its place is refused.

        Raises:
            InputError: another name, such as ``weight_orig`` of ``torch.nn.utils.prune``.
        """
        if name != "weight":
            raise InputError(
                f"a SplitWeight cannot have the parameter {name!r}: allowed: weight, and "
                f"torch.nn.utils.parametrize; prune with fission(sparsity=, pruning=)"
            )
        super().register_parameter(name, param)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        # Whatever becomes of the weight's type, numbers of paths stay whole.
        self.group = fn(self.group).to(torch.uint8)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}group"] = self.group

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        key = f"{prefix}group"
        rest = {name: value for name, value in state_dict.items() if name != key}
        super()._load_from_state_dict(
            rest, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        stored = state_dict.get(key)
        if stored is None:
            missing_keys += [key] if strict else []
        elif stored.shape != self.group.shape:
            error_msgs.append(
                f"size mismatch for {key}: {tuple(stored.shape)} in the checkpoint, "
                f"{tuple(self.group.shape)} in the network"
            )
        elif local_metadata.get("assign_to_params_buffers", False):
            self.group = stored
        else:
            self.group.copy_(stored)


class Share:
    """A path's share of a split weight: a reference that registers nothing.

    Attributes:
        split: the split weight.
        path: the path's number.
        name: the split weight's name in ``FissionNetwork.weights``.
    """

    def __init__(self, split: SplitWeight, path: int, name: str) -> None:
        self.split = split
        self.path = path
        self.name = name

    def __deepcopy__(self, memo: dict[int, Any]) -> "Share":
        """Return a reference to the copy of the split weight.

        Raises:
            InputError: the split weight is not copied along, as when a stage is copied alone.
        """
        if id(self.split) not in memo:
            raise InputError(
                f"layer {self.name!r}, path {self.path}: a part of a fissioned network cannot be "
                f"copied alone, its weights are shared: allowed: copies of the whole network, "
                f"of network.materialized() and of network.members()"
            )
        return Share(memo[id(self.split)], self.path, self.name)

    def weight(self) -> Tensor:
        """Compute the share."""
        return self.split.select(self.path)

    def for_product(self) -> Tensor:
        """Return the share for a convolution or a matrix product, selected or computed."""
        selected = self.split.selected
        share = None if selected is None else selected.share(self.path)
        return self.weight() if share is None else share

    def refusal(self) -> str:
        """Say why the share cannot be changed, and what can."""
        return (
            f"layer {self.name!r}, path {self.path}: its weight is a share of a split weight, "
            f"computed anew at each use, and cannot be changed: allowed: "
            f"network.weights[{self.name!r}].weight, or changes before fission"
        )


class ReadOnly(Tensor):
    """A computed tensor, and views of it, that refuse to be written: what is written is lost."""

    refusal: str

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run ``func`` as on an ordinary tensor, unless it writes."""
        kwargs = kwargs or {}
        first = args[0] if args else kwargs.get("tensor")
        written = [kwargs.get("out")]
        if _writes(getattr(func, "__name__", "")):
            written += first if isinstance(first, (list, tuple)) else [first]
        for tensor in written:
            if isinstance(tensor, ReadOnly):
                raise InputError(tensor.refusal)
        with torch._C.DisableTorchFunctionSubclass():
            out = func(*args, **kwargs)
            return _read_only_too(out, first) if isinstance(first, ReadOnly) else out


def _writes(name: str) -> bool:
    """Return whether a function of this name changes its first argument."""
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name in ("__set__", "__setitem__") or name in _IN_PLACE_OPERATORS


def _read_only_too(out: Any, source: ReadOnly) -> Any:
    """Return a result, read-only where it shares the memory of ``source``."""
    if isinstance(out, Tensor) and (
        out.untyped_storage()._cdata == source.untyped_storage()._cdata
    ):
        return _read_only(out, source.refusal)
    return out


def _read_only(tensor: Tensor, refusal: str) -> Tensor:
    guarded = tensor.as_subclass(ReadOnly)
    guarded.refusal = refusal
    return guarded


class PathLayer(nn.Module):
    """Mixed into a kind of layer: the weight is a path's share.

    Attributes:
        kind: the layer's class in the original network.
    """

    kind: ClassVar[type[nn.Module]]
    _share: Share

    @property
    def weight(self) -> Tensor:
        """The path's share, to read only."""
        share = self._share.weight()
        # Compilers trace through ordinary tensors, and whoever compiles does not initialize.
        if torch.compiler.is_compiling():
            return share
        return _read_only(share, self._share.refusal())

    @weight.setter
    def weight(self, _value: Tensor) -> None:
        raise InputError(self._share.refusal())

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter beside the weight, such as a bias.

        Raises:
            InputError: the weight, or what a tool would put in its place.
        """
        if name == "weight" or name.startswith("weight_"):
            raise InputError(self._share.refusal())
        super().register_parameter(name, param)

    def reset_parameters(self) -> None:
        """Refuse.

        Raises:
            InputError: always.
        """
        raise InputError(self._share.refusal())

    def extra_repr(self) -> str:
        """Return the kind's own description and the path."""
        return ", ".join(filter(None, (super().extra_repr(), f"path={self._share.path}")))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle by the kind, which has a name where a class made for it has none."""
        _, _, *state = cast(tuple[Any, ...], super().__reduce_ex__(protocol))
        return (_blank, (self.kind,), *state)

    def _replicate_for_data_parallel(self) -> Any:
        raise InputError(
            f"layer {self._share.name!r}: replicas of nn.DataParallel would compute with the "
            f"original's weights: allowed: DistributedDataParallel, or nn.DataParallel of "
            f"network.materialized()"
        )


class _PathConv(PathLayer):
    """A convolution with a path's share."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the path's share."""
        conv = cast(nn.Conv2d, self)
        out: Tensor = conv._conv_forward(x, self._share.for_product(), conv.bias)
        return out


class PathConv1d(_PathConv, nn.Conv1d):
    """A one-dimensional convolution with a path's share."""

    kind = nn.Conv1d


class PathConv2d(_PathConv, nn.Conv2d):
    """A convolution with a path's share."""

    kind = nn.Conv2d


class PathConv3d(_PathConv, nn.Conv3d):
    """A three-dimensional convolution with a path's share."""

    kind = nn.Conv3d


class PathLinear(PathLayer, nn.Linear):
    """A linear layer with a path's share."""

    kind = nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the path's share."""
        return functional.linear(x, self._share.for_product(), self.bias)


_classes: dict[type[nn.Module], type[PathLayer]] = {
    cls.kind: cls for cls in (PathConv1d, PathConv2d, PathConv3d, PathLinear)
}


def _class_for(kind: type[nn.Module]) -> type[PathLayer]:
    """Return the path layer of a kind; one is made for a user's own subclass.

    Its own forward then reads ``self.weight``, which is the share.
    """
    if kind not in _classes:
        _classes[kind] = type(f"Path{kind.__name__}", (PathLayer, kind), {"kind": kind})
    return _classes[kind]


def _blank(kind: type[nn.Module]) -> PathLayer:
    """Return a path layer without content."""
    cls = _class_for(kind)
    return cls.__new__(cls)


def for_path(
    part: nn.Module, splits: Mapping[nn.Parameter, tuple[str, SplitWeight]], path: int
) -> nn.Module:
    """Return ``part`` for one path: own norms, biases and buffers, shares of split weights.

    Args:
        part: a part of the original network; it is left as it is.
        splits: for each weight that is divided, the split weight's name and itself.
        path: the path's number.
    """
    memo: dict[int, Any] = {id(weight): weight for weight in splits}
    made: list[tuple[nn.Module, PathLayer]] = []
    for layer in part.modules():
        weight = layer._parameters.get("weight")
        if weight is not None and weight in splits:
            name, split = splits[weight]
            mine = _blank(type(layer))
            object.__setattr__(mine, "_share", Share(split, path, name))
            made.append((layer, mine))
            # Whatever refers to the layer will refer to its path layer.
            memo[id(layer)] = mine
    for layer, mine in made:
        rest = {name: p for name, p in layer._parameters.items() if name != "weight"}
        mine.__setstate__(copy.deepcopy({**vars(layer), "_parameters": rest}, memo))
    copied = copy.deepcopy(part, memo)
    # Paths share a stage's input, which an in-place activation would overwrite.
    for layer in copied.modules():
        if getattr(layer, "inplace", False) is True:
            layer.inplace = False  # type: ignore[assignment]
    return copied


def stand_alone(part: Part) -> Part:
    """Return a copy of a part whose layers have ordinary weights of their own."""
    memo: dict[int, Any] = {}
    layers = [layer for layer in part.modules() if isinstance(layer, PathLayer)]
    for layer in layers:
        memo[id(layer)] = layer.kind.__new__(layer.kind)
    for layer in layers:
        state = {name: value for name, value in vars(layer).items() if name != "_share"}
        plain: nn.Module = memo[id(layer)]
        plain.__setstate__(copy.deepcopy(state, memo))
        share = layer._share
        weight = share.weight().detach().clone()
        plain.register_parameter("weight", nn.Parameter(weight, share.split.weight.requires_grad))
    return copy.deepcopy(part, memo)
