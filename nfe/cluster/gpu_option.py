"""The option of sbatch for GPUs of a model whose name has a hyphen: ``nvidia_a100-sxm4-80gb``.

So SLURM itself calls most models that it finds. Snakemake's plugin refuses these names, although
nothing stands against them.
"""

from collections.abc import Callable
from typing import Any

import snakemake_executor_plugin_slurm as plugin
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from nfe.cluster.site import GPU_MODEL


def allow_hyphens() -> None:
    """Let the plugin, in this process, submit jobs for such models; all others as before."""
    if not getattr(plugin.set_gres_string, "allows_hyphens", False):
        plugin.set_gres_string = _allowing(plugin.set_gres_string)


def _allowing(own: Callable[[JobExecutorInterface], str]) -> Callable[[JobExecutorInterface], str]:
    def options(job: Any) -> str:
        model = str(job.resources.get("gpu_model") or "")
        if "-" in model and GPU_MODEL.fullmatch(model) and not job.resources.get("gres"):
            return f" --gpus={model}:{job.resources.get('gpu', 1)}"
        return own(job)

    options.allows_hyphens = True  # type: ignore[attr-defined]
    return options
