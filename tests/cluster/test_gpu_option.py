"""GPU models with a hyphen reach sbatch."""

from types import SimpleNamespace

import pytest
import snakemake_executor_plugin_slurm as plugin
from snakemake_interface_common.exceptions import WorkflowError

from nfe.cluster import executor


def asked(**resources) -> str:
    return plugin.set_gres_string(SimpleNamespace(resources=resources))


@pytest.mark.parametrize(
    ("resources", "option"),
    [
        ({"gpu": 2, "gpu_model": "nvidia-a100-sxm"}, " --gpus=nvidia-a100-sxm:2"),
        ({"gpu": 1, "gpu_model": "nvidia_a100-sxm4-80gb"}, " --gpus=nvidia_a100-sxm4-80gb:1"),
        # The plugin's own.
        ({"gpu": 1, "gpu_model": "a100_3g.20gb"}, " --gpus=a100_3g.20gb:1"),
        ({"gpu": 3}, " --gpus=3"),
        ({}, ""),
    ],
)
def test_what_sbatch_is_asked_for(resources, option):
    assert asked(**resources) == option


@pytest.mark.parametrize("model", ["a-100; true", "a 100", "'a-100'"])
def test_what_a_shell_would_read_is_refused(model):
    with pytest.raises(WorkflowError):
        asked(gpu=1, gpu_model=model)


def test_submitting_asks_for_it():
    """The plugin looks the function up by this name each time."""
    assert issubclass(executor.Executor, plugin.Executor)
    assert "set_gres_string" in plugin.Executor.run_job.__code__.co_names
