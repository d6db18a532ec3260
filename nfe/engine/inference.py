"""A network's logits on a split of a data set."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from nfe.common.errors import DivergenceError
from nfe.common.precision import full_float32
from nfe.data import Card, Split
from nfe.engine.batches import Normalizer
from nfe.evaluation.metrics import Array, as_stored


@torch.no_grad()
def outputs(
    network: nn.Module,
    card: Card,
    split: Split,
    batch: int = 500,
    between: Callable[[], None] = lambda: None,
) -> Array:
    """Return the logits of a split in evaluation mode: (images, members, classes) float32.

    Computed in float32 whatever the precision of training, on a GPU without TensorFloat-32, too:
    logits rounded to bfloat16's eight bits would move NLL and ECE. ``between`` is called after
    every batch. They may be infinite or NaN.
    """
    was_training = network.training
    network.eval()
    normalize = Normalizer(card, split.images.device)
    rows = []
    for images in split.images.split(batch):
        with full_float32():
            rows.append(network(normalize(images)).float().cpu())
        between()
    network.train(was_training)
    result: Array = torch.cat(rows).numpy()
    return result


def predict(
    network: nn.Module,
    card: Card,
    split: Split,
    batch: int = 500,
    between: Callable[[], None] = lambda: None,
) -> Array:
    """Return ``outputs`` as they are stored: (images, members, classes) float16.

    Raises:
        DivergenceError: a logit is not finite, or too large for float16.
    """
    logits = outputs(network, card, split, batch, between)
    finite = np.isfinite(logits)
    if not finite.all():
        images = int(np.sum(~finite.all(axis=(1, 2))))
        raise DivergenceError(
            f"the network's logits are not finite for {images} of {len(logits)} images"
        )
    rounded = as_stored(logits)
    if not np.isfinite(rounded).all():
        raise DivergenceError(
            f"the network's logits are as large as {np.abs(logits).max():.3g}: predictions are "
            f"stored in float16, which holds up to {np.finfo(np.float16).max:.0f}"
        )
    return rounded
