"""A part of a network as modules that are called one after the other."""

import torch
from torch import fx, nn


def flat(part: nn.Module) -> list[nn.Module] | None:
    """Return a part as modules called one after the other; None where it is more than that."""
    if isinstance(part, fx.GraphModule):
        return _flat_graph(part)
    if not isinstance(part, nn.Sequential):
        return [part]
    nested = [flat(layer) if is_plain_sequence(layer) else [layer] for layer in part]
    return [layer for layers in nested for layer in layers or []]


def is_plain_sequence(part: nn.Module) -> bool:
    """Return whether a part calls its children one after the other and does nothing else."""
    return isinstance(part, nn.Sequential) and type(part).forward is nn.Sequential.forward


def _flat_graph(part: fx.GraphModule) -> list[nn.Module] | None:
    made: list[nn.Module] = []
    before, *nodes = part.graph.nodes
    for node in nodes[:-1]:
        if node.all_input_nodes != [before]:
            return None
        if node.op == "call_module":
            inner = part.get_submodule(str(node.target))
            made += (flat(inner) or []) if is_plain_sequence(inner) else [inner]
        elif node.op == "call_function" and node.target is torch.flatten and node.args[1:] == (1,):
            made.append(nn.Flatten())
        else:
            return None
        before = node
    return made
