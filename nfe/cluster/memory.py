"""How much memory of a GPU a run's training takes, estimated without one.

Weights, gradients and momentum, and what a step keeps for its backward pass, as counted
(``nfe.cluster.counting``) for the run's precision and scaled to its batch.
"""

from collections.abc import Sequence

from nfe.cluster import estimate
from nfe.suite.run import Run

# cuBLAS's workspaces with the repeatable configuration: of two handles, on the stream and on the
# one that records. What CUDA itself takes beside them depends on the GPU.
WORKSPACES = 4 * 2**25


def peak_mb(run: Run) -> float:
    """Return the peak of a run's training on a GPU, in MB, CUDA's own share left out."""
    found = estimate.cost(run)
    kept = found.kept_bytes + found.kept_bytes_each * run.recipe.batch_size
    return (found.state_bytes + kept + WORKSPACES) / 1e6


def said(runs: Sequence[Run]) -> str:
    """Return what the largest run takes, and which GPUs of gpus.yaml have it, in a line."""
    run, peak = largest(runs)
    fits = [device.name for device in estimate.gpus().values() if device.holds(peak)]
    return (
        f"GPU memory: at most some {peak / 1000:,.1f} GB and {estimate.CUDA_GB:g} GB for CUDA "
        f"({run.name}); enough have {', '.join(fits) or 'none of the named GPUs'}"
    )


def largest(runs: Sequence[Run]) -> tuple[Run, float]:
    """Return the run whose training takes most, with its peak in MB."""
    return max(((run, peak_mb(run)) for run in runs), key=lambda found: found[1])
