"""A training step computes in the same number formats on a GPU and on a CPU."""

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from device import each
from stepping import TRAINED, run_of, steps
from torch.utils._python_dispatch import TorchDispatchMode

# The same mathematics under a device's own name.
SAME = {
    "cudnn_batch_norm": "batch_norm",
    "native_batch_norm": "batch_norm",
    "cudnn_batch_norm_backward": "batch_norm_backward",
    "native_batch_norm_backward": "batch_norm_backward",
}
