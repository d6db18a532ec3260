"""Stages of any network: an ``nn.Module`` → (stem, stages, head).

The network's own forward code is traced (torch.fx) only as far down as the modules that begin
a stage; whatever those do inside stays as it is. The trace is then cut where each stage begins.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from torch import fx, nn

from nfe.backbones import known_stages as known
from nfe.backbones.backbone import Backbone
from nfe.common.errors import InputError, first_line, unknown

# Stages of torchvision's classifiers, by class and number of children of ``features``.
_TORCHVISION: dict[tuple[str, int], tuple[str, ...]] = {
    ("ResNet", 0): known.RESNET,
    ("DenseNet", 12): known.DENSENET,
    ("VGG", 44): known.VGG16_BN,
    ("MobileNetV2", 19): known.MOBILENET_V2,
    ("MobileNetV3", 13): known.MOBILENET_V3_SMALL,
    ("MobileNetV3", 17): known.MOBILENET_V3_LARGE,
    ("EfficientNet", 9): known.EFFICIENTNET,
    ("ConvNeXt", 8): known.CONVNEXT,
}


def staged(model: nn.Module, stages: Sequence[str] | None = None) -> Backbone:
    """Return ``model`` as stem, stages and head; the parts hold the model's own modules.

    A stage begins with a named module and runs until the next one begins; what runs before the
    first is the stem. The last stage ends with its module, or, given as ``first..last``, with
    ``last``; the rest is the head.

    Args:
        model: a network with ``stem``, ``stages`` and ``head``, a torchvision classifier, or
            any module when ``stages`` are named.
        stages: names of the modules that begin a stage, in order of execution.

    Raises:
        InputError: a name is unknown or out of order, the forward pass cannot be traced or
            cut there, or a module with parameters is used twice.
    """
    _check_unshared(model)
    if stages is None and (parts := named_parts(model)) is not None:
        stem, *inner, head = parts.values()
        return Backbone(stem, inner, head)
    names = _known_stages(model) if stages is None else list(stages)
    first, last = _ends(model, names)
    nodes = _trace(model, [*first, last])
    return _cut(model, nodes, first, last)


def named_parts(model: nn.Module) -> dict[str, nn.Module] | None:
    """Return stem, stages and head of a network that has them, by name; None where it has not."""
    stem, stages, head = (getattr(model, part, None) for part in ("stem", "stages", "head"))
    if not (isinstance(stem, nn.Module) and isinstance(head, nn.Module)):
        return None
    if not isinstance(stages, (nn.ModuleList, nn.Sequential)):
        return None
    inner = {f"stages.{number}": stage for number, stage in enumerate(stages)}
    return {"stem": stem, **inner, "head": head}


def _known_stages(model: nn.Module) -> list[str]:
    features = getattr(model, "features", ())
    key = (type(model).__name__, len(features))
    if not type(model).__module__.startswith("torchvision.models") or key not in _TORCHVISION:
        raise InputError(
            f"{type(model).__name__} has no stem, stages and head: "
            f"name the modules that begin a stage by stages=[…]"
        )
    return list(_TORCHVISION[key])


def _ends(model: nn.Module, names: Sequence[str]) -> tuple[list[str], str]:
    """Return the module that begins each stage and the one that ends the last."""
    if not names or any(".." in name for name in names[:-1]):
        raise InputError(
            f"stages is {list(names)}: allowed: names of modules, the last one also first..last"
        )
    *first, final = names
    start, _, end = final.partition("..")
    first.append(start)
    known = {name for name, _ in model.named_modules() if name}
    for name in [*first, end or start]:
        if name not in known:
            raise unknown(f"stage of {type(model).__name__}", name, _siblings(known, name))
    return first, end or start


def _siblings(known: set[str], name: str) -> list[str]:
    """Return the modules at the depth of ``name``, so that a list of them stays readable."""
    depth = name.count(".")
    return [other for other in known if other.count(".") == depth] or sorted(known)


def _check_unshared(model: nn.Module) -> None:
    seen: dict[int, str] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        owns = list(module.parameters(recurse=False))
        for thing in [module, *owns] if owns else []:
            if (other := seen.setdefault(id(thing), name)) != name:
                raise InputError(
                    f"module {other!r} is used twice, again as {name!r}: "
                    f"weights that two places share cannot be divided over paths"
                )


class _ShallowTracer(fx.Tracer):
    """Traces into a module only where a named module lies beneath it."""

    def __init__(self, named: Sequence[str]) -> None:
        super().__init__()
        self._named = named

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether no named module lies beneath this one."""
        inside = module_qualified_name + "."
        return not any(name.startswith(inside) for name in self._named)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """Trace with one tensor: what else the forward pass can be given has its default."""
        return super().create_args_for_root(_of_one_tensor(root_fn), is_module, concrete_args)


def _of_one_tensor(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a forward pass without its optional arguments."""
    _, *arguments = inspect.signature(forward).parameters.values()
    needed = [a for a in arguments if a.default is a.empty and a.kind is a.POSITIONAL_OR_KEYWORD]
    if len(needed) != 1 or len(arguments) == 1:
        return forward

    def of_one(model: nn.Module, x: Any) -> Any:
        return forward(model, x)

    return of_one


@contextmanager
def in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Run a block with every module in one mode; put each back into its own afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _trace(model: nn.Module, named: Sequence[str]) -> list[fx.Node]:
    """Return the nodes of the forward pass; modules without a named one beneath stay whole."""
    kind, graphs = type(model).__name__, []
    for training in (True, False):
        try:
            with in_mode(model, training):
                graphs.append(_ShallowTracer(named).trace(model))
        except Exception as error:
            reason = first_line(error)
            raise InputError(
                f"{kind}: the forward pass around its stages cannot be traced: {reason}"
            ) from error
    if str(graphs[0]) != str(graphs[1]):
        raise InputError(
            f"{kind}: the forward pass around its stages differs between training and evaluation: "
            f"use modules (nn.Dropout, …) there"
        )
    nodes = list(graphs[0].nodes)
    inputs = sum(node.op == "placeholder" for node in nodes)
    if inputs != 1 or not isinstance(nodes[-1].args[0], fx.Node):
        raise InputError(f"{kind}: the forward pass must take one tensor and return one")
    calls = [str(node.target) for node in nodes if node.op == "call_module"]
    for name in calls:
        weighted = any(True for _ in model.get_submodule(name).parameters())
        if weighted and calls.count(name) > 1:
            raise InputError(
                f"module {name!r} is used twice: its weights cannot be divided over paths"
            )
    return nodes


def _cut(model: nn.Module, nodes: list[fx.Node], first: Sequence[str], last: str) -> Backbone:
    body = [node for node in nodes if node.op not in ("placeholder", "output")]
    called = [str(node.target) if node.op == "call_module" else "" for node in body]
    for name in [*first, last]:
        if name not in called:
            raise InputError(
                f"stage {name!r} of {type(model).__name__} is no module that its forward pass calls"
            )
    starts = [called.index(name) for name in first]
    edges = [0, *starts, called.index(last) + 1, len(body)]
    if edges != sorted(edges) or len(set(starts)) < len(starts):
        raise InputError(f"stages is {list(first)}: allowed: order of execution, each once")
    result = cast(fx.Node, nodes[-1].args[0])
    source = next(node for node in nodes if node.op == "placeholder")
    names = ["stem", *first, "head"]
    parts: list[nn.Module] = []
    for name, start, stop in zip(names, edges, edges[1:], strict=False):
        outlet = _outlet(name, source, body[start:stop], result)
        parts.append(_part(model, source, body[start:stop], outlet))
        source = outlet
    return Backbone(parts[0], parts[1:-1], parts[-1])


def _outlet(name: str, source: fx.Node, region: list[fx.Node], result: fx.Node) -> fx.Node:
    """Return the one value that leaves a region."""
    inside = set(region)

    def is_used_behind(node: fx.Node) -> bool:
        return any(user not in inside for user in node.users)

    leaving = [node for node in region if is_used_behind(node)]
    fed = {arg for node in region for arg in node.all_input_nodes} - inside
    if name == "head":
        leaving = [result]
    if not region:
        leaving = [source]
    if len(leaving) != 1 or not fed <= {source}:
        raise InputError(
            f"stage {name!r}: more than one tensor enters or leaves it "
            f"({', '.join(sorted(map(str, (fed - {source}) | set(leaving))))}): it must pass on one"
        )
    return leaving[0]


def _part(model: nn.Module, source: fx.Node, region: list[fx.Node], outlet: fx.Node) -> nn.Module:
    """Return a region of the trace as a module from ``source`` to ``outlet``."""
    graph = fx.Graph()
    copies = {source: graph.placeholder("x")}
    for node in region:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[outlet])
    return fx.GraphModule(model, graph)
