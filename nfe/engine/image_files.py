"""Image files of any kind as 8 bits a channel, black to white; what cannot be is refused."""

import logging
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nfe.common.errors import InputError

_log = logging.getLogger(__name__)

# White of 16 bits over white of 8.
_STEP = 257


def opened(path: Path, mode: str) -> Image.Image:
    """Return an image file upright, in mode ``L`` or ``RGB``.

    What is not 8 bits a channel is converted from its whole range, transparency is laid on white,
    and of several frames the first is taken; a warning says so.

    Raises:
        InputError: the file is missing, is no image, or its numbers have no black and white.
    """
    try:
        with Image.open(path) as file:
            frames = getattr(file, "n_frames", 1)
            if frames > 1:
                _log.warning("%s: the first of %d frames is taken", path, frames)
            upright = ImageOps.exif_transpose(file)
            return _opaque(_eight_bits(upright, path), path).convert(mode)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not an image that can be read ({error})") from None


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "F":
        return _from_unit(image, path)
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
    _log.warning("%s: 16 bits a channel: 0 to 65535 become 0 to 255", path)
    return Image.fromarray(np.rint(np.asarray(image) / _STEP).astype(np.uint8))


def _from_unit(image: Image.Image, path: Path) -> Image.Image:
    values = np.asarray(image)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise InputError(
            f"{path}: floating-point numbers from {values.min():g} to {values.max():g}: allowed: "
            "from 0 (black) to 1 (white), or 8 or 16 bits a channel"
        )
    _log.warning("%s: floating-point numbers: 0 to 1 become 0 to 255", path)
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def _opaque(image: Image.Image, path: Path) -> Image.Image:
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema() == (255, 255):
        return layer
    _log.warning("%s: transparent in parts: laid on white", path)
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
