"""Where Snakemake looks for the executor ``nfe-slurm``: nfe.cluster.executor, by its name here."""

from snakemake_executor_plugin_slurm import ExecutorSettings, common_settings

from nfe.cluster.executor import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]
