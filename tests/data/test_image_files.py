"""Image files that are not 8 bits a channel, or are transparent, are converted aloud or refused."""

import logging

import numpy as np
import pytest
from PIL import Image

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.engine.prediction import read_image

DIGITS = datasets.card("digits")
RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def read(path, caplog):
    """The pixels of a file, and what is said of it."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        pixels = read_image(path, DIGITS)[0]
    assert all(record.getMessage().startswith(f"{path}: ") for record in caplog.records)
    return pixels, [record.getMessage() for record in caplog.records]


def test_eight_bits_are_taken_as_they_are_without_a_word(tmp_path, caplog):
    Image.fromarray(RAMP).save(tmp_path / "x.png")
    pixels, said = read(tmp_path / "x.png", caplog)
    assert np.array_equal(pixels, RAMP)
    assert not said


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_sixteen_bits_become_eight(name, tmp_path, caplog):
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / name)
    pixels, said = read(tmp_path / name, caplog)
    assert np.array_equal(pixels, RAMP)
    assert len(said) == 1 and "0 to 65535 become 0 to 255" in said[0]


def test_floating_point_from_0_to_1_becomes_eight_bits(tmp_path, caplog):
    Image.fromarray(RAMP.astype(np.float32) / 255).save(tmp_path / "x.tif")
    pixels, said = read(tmp_path / "x.tif", caplog)
    assert np.array_equal(pixels, RAMP)
    assert len(said) == 1 and "0 to 1 become 0 to 255" in said[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (RAMP.astype(np.float32), "numbers from 0 to 252: allowed: from 0 (black) to 1"),
        (np.full((8, 8), np.nan, np.float32), "numbers from nan to nan"),
        (RAMP.astype(np.int32) * 1000, "32 bits, from 0 to 252000, do not say what is white"),
    ],
)
def test_numbers_without_a_white_are_refused(values, message, tmp_path):
    Image.fromarray(values).save(tmp_path / "x.tif")
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / "x.tif", DIGITS)
    assert message in str(caught.value)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparency_is_laid_on_white(mode, tmp_path, caplog):
    if mode in ("RGBA", "LA"):
        Image.new(mode, (8, 8)).save(tmp_path / "x.png")
    else:
        Image.new(mode, (8, 8)).save(tmp_path / "x.png", transparency=0)
    pixels, said = read(tmp_path / "x.png", caplog)
    assert (pixels == 255).all()
    assert len(said) == 1 and "laid on white" in said[0]


def test_a_channel_of_transparency_that_hides_nothing_is_not_mentioned(tmp_path, caplog):
    Image.fromarray(RAMP).convert("RGBA").save(tmp_path / "x.png")
    pixels, said = read(tmp_path / "x.png", caplog)
    assert np.array_equal(pixels, RAMP)
    assert not said


def test_of_several_frames_the_first_is_taken(tmp_path, caplog):
    frames = [Image.fromarray(RAMP), Image.new("L", (8, 8))]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    pixels, said = read(tmp_path / "x.tif", caplog)
    assert np.array_equal(pixels, RAMP)
    assert "first of 2 frames" in said[0]


def test_a_colour_space_that_cannot_be_converted_is_one_line(tmp_path):
    Image.new("LAB", (8, 8)).save(tmp_path / "x.tif")
    with pytest.raises(InputError, match="not an image that can be read"):
        read_image(tmp_path / "x.tif", DIGITS)
