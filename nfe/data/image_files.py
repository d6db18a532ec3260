"""Image files of any kind as 8 bits a channel, black to white; what cannot be is refused."""

import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nfe.common.errors import InputError

_log = logging.getLogger(__name__)

# White of 16 bits over white of 8.
_STEP = 257

# What Pillow raises for a file that is cut short, damaged or hostile, whatever its format.
_UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
)

# Told of an image's name and of what was done to it.
Tell = Callable[[str, str], None]


def warn(name: str, what: str) -> None:
    """Say in the log what was done to an image."""
    _log.warning("%s: %s", name, what)


def opened(source: Path | BinaryIO, mode: str, name: str = "", tell: Tell = warn) -> Image.Image:
    """Return an image file upright, in mode ``L`` or ``RGB``.

    What is not 8 bits a channel is converted from its whole range, transparency is laid on white,
    and of several frames the first is taken; ``tell`` is told.

    Args:
        source: a path, or the file itself.
        mode: ``L`` or ``RGB``.
        name: what errors call it (default: the path).
        tell: called with the name and what was done.

    Raises:
        InputError: the file is missing, is no image, or its numbers have no black and white.
    """
    name = name or str(source)
    try:
        with Image.open(source) as file:
            frames = getattr(file, "n_frames", 1)
            if frames > 1:
                tell(name, f"the first of {frames} frames is taken")
            upright = ImageOps.exif_transpose(file)
            return _opaque(_eight_bits(upright, name, tell), name, tell).convert(mode)
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(f"{name}: not an image that can be read ({error})") from None


def square(upright: Image.Image, side: int) -> Image.Image:
    """Return the largest centred square of an image, ``side`` pixels wide.

    Smaller by averaging, in whole blocks of pixels where they fit, as Tiny ImageNet is prepared;
    larger by bilinear interpolation.
    """
    least = min(upright.size)
    cut = ImageOps.fit(upright, (least, least))
    if least % side == 0:
        return cut.reduce(least // side)
    filter_ = Image.Resampling.BOX if least > side else Image.Resampling.BILINEAR
    return cut.resize((side, side), filter_)


def _eight_bits(image: Image.Image, path: str, tell: Tell) -> Image.Image:
    if image.mode == "F":
        return _from_unit(image, path, tell)
    if image.mode == "I":
        low, high = image.getextrema()
        raise InputError(
            f"{path}: integers of 32 bits, from {low} to {high}, do not say what is white: "
            "allowed: 8 or 16 bits a channel, or floating-point numbers from 0 to 1"
        )
    if not image.mode.startswith("I;16"):
        return image
    if "transparency" in image.info:
        raise InputError(f"{path}: 16 bits with transparency: allowed: one of them")
    tell(path, "16 bits a channel: 0 to 65535 become 0 to 255")
    return Image.fromarray(np.rint(np.asarray(image) / _STEP).astype(np.uint8))


def _from_unit(image: Image.Image, path: str, tell: Tell) -> Image.Image:
    values = np.asarray(image)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise InputError(
            f"{path}: floating-point numbers from {values.min():g} to {values.max():g}: allowed: "
            "from 0 (black) to 1 (white), or 8 or 16 bits a channel"
        )
    tell(path, "floating-point numbers: 0 to 1 become 0 to 255")
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def _opaque(image: Image.Image, path: str, tell: Tell) -> Image.Image:
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema() == (255, 255):
        return layer
    tell(path, "transparent in parts: laid on white")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
