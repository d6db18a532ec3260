"""A part of a network as modules that are called one after the other."""

from collections.abc import Iterator

import torch
from torch import fx, nn


def flat(part: nn.Module) -> list[nn.Module] | None:
    """Return a part as modules called one after the other; None where it is more than that."""
    return _flat_graph(part) if isinstance(part, fx.GraphModule) else list(_leaves(part))


def _leaves(part: nn.Module) -> Iterator[nn.Module]:
    """Yield what a sequence of sequences calls; a module that does more than that is one."""
    if isinstance(part, nn.Sequential) and type(part).forward is nn.Sequential.forward:
        for layer in part:
            yield from _leaves(layer)
    else:
        yield part


def _flat_graph(part: fx.GraphModule) -> list[nn.Module] | None:
    made: list[nn.Module] = []
    before, *nodes = part.graph.nodes
    for node in nodes[:-1]:
        if node.all_input_nodes != [before]:
            return None
        if node.op == "call_module":
            made += _leaves(part.get_submodule(str(node.target)))
        elif node.op == "call_function" and node.target is torch.flatten and node.args[1:] == (1,):
            made.append(nn.Flatten())
        else:
            return None
        before = node
    return made
