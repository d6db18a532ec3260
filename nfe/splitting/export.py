"""ONNX export of a network's ensemble prediction."""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from nfe.common.errors import InputError
from nfe.common.files import write_bytes
from nfe.splitting.exit_network import ExitNetwork

# The largest message that protobuf writes, in bytes.
_LARGEST = 2**31 - 1


class _Ensemble(nn.Module):
    def __init__(self, network: ExitNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.ensemble(images)


def export_onnx(network: ExitNetwork, path: Path | str, image: Tensor) -> None:
    """Write the ensemble as one ONNX file: ``images`` (batch, …) → ``logits`` (batch, classes).

    In evaluation mode; the batch size stays free.

    Args:
        network: the fissioned network, on any device.
        path: the file to write.
        image: one image, (1, channels, h, w): its shape is fixed in the file.

    Raises:
        InputError: network or image are something else, the packages onnx and onnxscript are not
            installed, or the paths' weights together exceed what one ONNX file can hold.
    """
    if not isinstance(network, ExitNetwork):
        raise InputError(
            f"export_onnx writes what fission() returns, not a {type(network).__name__}: "
            f"write other networks by torch.onnx.export"
        )
    if not isinstance(image, Tensor) or image.dim() < 2 or len(image) != 1:
        shape = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"image is {shape}: allowed: one image, (1, channels, h, w)")
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise InputError("ONNX export needs two more packages: pip install onnx onnxscript")
    ensemble = _Ensemble(network.materialized()).eval().cpu()
    size = sum(p.numel() * p.element_size() for p in ensemble.parameters())
    if size >= _LARGEST:
        raise InputError(
            f"{path}: {size} bytes of weights, an ONNX file holds {_LARGEST}: use fewer exits"
        )
    # Two images: a batch of one would be taken for a constant.
    images = image.cpu().expand(2, *image.shape[1:]).contiguous()
    program = torch.onnx.export(
        ensemble,
        (images,),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise InputError("this version of PyTorch returns no ONNX program to write")
    write_bytes(Path(path), program.model_proto.SerializeToString())
