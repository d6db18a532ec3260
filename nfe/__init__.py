"""Network Fission Ensembles and the benchmark that they stand in.

What this module names is public: it keeps its meaning within a major version, and a change is
announced in CHANGELOG.md one minor version ahead. ``nfe.method`` (the plug-in interface),
``nfe.losses``, ``nfe.pruning`` and ``nfe.evaluation.metrics`` are public, too. Everything else
may change at any time.
"""

from typing import TYPE_CHECKING, Any

from nfe.common.late import late

if TYPE_CHECKING:
    from nfe.engine.released import RunNetwork, load_run
    from nfe.losses import fission_loss
    from nfe.method import Context, Method, Step
    from nfe.pruning import prune
    from nfe.splitting.network import FissionNetwork, fission

    __version__: str

__all__ = [
    "Context",
    "FissionNetwork",
    "Method",
    "RunNetwork",
    "Step",
    "__version__",
    "fission",
    "fission_loss",
    "load_run",
    "prune",
]

_HOMES = {
    "Context": "nfe.method",
    "FissionNetwork": "nfe.splitting.network",
    "Method": "nfe.method",
    "RunNetwork": "nfe.engine.released",
    "Step": "nfe.method",
    "fission": "nfe.splitting.network",
    "fission_loss": "nfe.losses",
    "load_run": "nfe.engine.released",
    "prune": "nfe.pruning",
}


_late = late(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    """Import on first use: the command line and its worker processes often need no PyTorch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("nfe-bench")
    return _late(name)


def __dir__() -> list[str]:
    return __all__
