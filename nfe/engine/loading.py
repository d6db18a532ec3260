"""A finished run's network again, from its saved weights; no data needed."""

from pathlib import Path

import safetensors
import torch
from torch import Tensor, nn

from nfe.common.errors import InputError
from nfe.common.seeds import global_stream
from nfe.engine import checkpoint
from nfe.method.context import Context
from nfe.method.interface import skeleton
from nfe.method.optional import DividesWeights, EarlyExits
from nfe.suite.run import Run


def load(run: Run, weights: Path, device: torch.device) -> nn.Module:
    """Return the run's trained network in evaluation mode.

    Args:
        run: a run that trains itself.
        weights: its ``model.safetensors``.
        device: where the network goes.

    Raises:
        InputError: the file is missing, damaged, or holds another run's weights.
    """
    check_owner(run, weights)
    context = Context(
        architecture=run.backbone.untrained(),
        channels=run.card.channels,
        classes=run.card.classes,
        resolution=run.card.resolution,
        seed=run.seed,
        example=_no_example,
    )
    with global_stream(run.seed, "initialization"):
        network = skeleton(run.build_method(), context)
    checkpoint.load_weights(weights, network)
    placed: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed.eval()


def exit_macs(run: Run, network: nn.Module, image: Tensor) -> list[int]:
    """Return the MACs on non-zero weights of an image that stops at each of a run's exits.

    Empty where its members are no exits. ``image`` is one image, (1, channels, h, w).
    """
    return EarlyExits.of(run.build_method()).exit_macs(network, image)


def live_weights(run: Run, network: nn.Module, image: Tensor) -> float | None:
    """Return the share of a run's divided weights that could have a gradient before training.

    None where its method divides none. ``image`` is one image, (1, channels, h, w).
    """
    return DividesWeights.of(run.build_method()).live_weights(network, image)


def check_owner(run: Run, weights: Path) -> None:
    """Check that a file of weights says that it is the run's.

    Raises:
        InputError: it is missing, damaged, or says otherwise.
    """
    try:
        with safetensors.safe_open(weights, "pt") as file:
            owner = (file.metadata() or {}).get("run")
    except FileNotFoundError:
        raise InputError(f"{weights}: no such file") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{weights}: not a file of weights ({error})") from None
    if owner != run.digest:
        raise InputError(f"{weights}: weights of another run than {run.name}")


def _no_example(per_class: int) -> tuple[Tensor, Tensor]:
    raise InputError("the method looks at data to build its network: it must define skeleton()")
