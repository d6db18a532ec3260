"""The architectures that a configuration can name."""

from nfe.backbones import builtin, own
from nfe.backbones.architecture import Architecture
from nfe.common.errors import unknown


def names() -> list[str]:
    """Return the names that ``architecture`` understands.

    D, K and P stand for numbers, NAME for the name of one of the library's networks.
    """
    return [*builtin.names(), "torchvision:NAME", "timm:NAME", *own.names()]


def is_own(name: str) -> bool:
    """Return whether a name is of a network of one's own, rather than of the suite's."""
    return builtin.find(name) is None


def architecture(name: str) -> Architecture:
    """Return the architecture called ``name``.

    Raises:
        InputError: no architecture has that name, its numbers make no network, or what describes
            it is wrong.
    """
    found = builtin.find(name) or own.find(name)
    if found is None:
        raise unknown("architecture", name, names())
    return found
