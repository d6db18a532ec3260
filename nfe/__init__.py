"""Network Fission Ensembles and the benchmark that they stand in."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nfe.splitting.network import FissionNetwork, fission

__all__ = ["FissionNetwork", "fission"]


def __getattr__(name: str) -> Any:
    """Import on first use: the command line and its worker processes often need no PyTorch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nfe.splitting import network

    return getattr(network, name)
