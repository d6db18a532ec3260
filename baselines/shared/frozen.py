"""A network's copy that is not trained: what it computes with are buffers."""

import copy

from torch import nn


def frozen(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose parameters are buffers of the same names.

    It is saved with the network that holds it, and counts neither as its parameters nor for its
    optimizer. ``load_state_dict`` of the network's state brings it up to date.
    """
    copied = copy.deepcopy(network).eval()
    for module in copied.modules():
        for name, parameter in list(module._parameters.items()):
            del module._parameters[name]
            module.register_buffer(name, None if parameter is None else parameter.detach())
    return copied
