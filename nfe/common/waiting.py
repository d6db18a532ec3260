"""How PyTorch's threads wait for one another; said before PyTorch is imported."""

import os

_POLICY, _SPINS = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
# A thirtieth of the default of GNU's OpenMP: benchmarks/waiting.py.
_BRIEFLY = "10000"


def wait_briefly() -> None:
    """Let threads that wait spin briefly and then sleep, unless the user has said otherwise.

    Where others compute on the machine, a thread that spins takes the core from the one that it
    waits for. OpenMP reads its variables once, when PyTorch is imported; child processes inherit
    them.
    """
    if _POLICY not in os.environ:
        os.environ.setdefault(_SPINS, _BRIEFLY)
