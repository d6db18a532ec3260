"""nfe-bench predict: what it says of image files is what the stored predictions say."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from nfe import data as datasets
from nfe.cli.main import main
from nfe.common.errors import InputError
from nfe.data.class_names import class_names
from nfe.engine import loading
from nfe.engine.prediction import find, read_image
from nfe.evaluation import cost

CASES = {
    "single": [],
    "nfe": ["--set", "exits=2", "pruning=snip", "sparsity=0.9"],
    "deep_ensemble": ["--set", "members=2"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One finished run of each case, made by hand."""
    root = tmp_path_factory.mktemp("runs")
    for method, options in CASES.items():
        arguments = ["--dataset", "digits", "--architecture", "wrn-10-1", "--epochs", "1"]
        train = ["train", *arguments, "--method", method, *options]
        assert main([*train, "--output", str(root / method)]) == 0
    return root


@pytest.fixture(scope="module")
def digits():
    return datasets.load(datasets.card("digits"))


@pytest.fixture(scope="module")
def files(digits, tmp_path_factory):
    """The first test images as PNG files."""
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{number}.png" for number in range(5)]
    for path, image in zip(paths, digits.test.images, strict=False):
        Image.fromarray(image[0].numpy()).save(path)
    return paths


@pytest.mark.parametrize("method", CASES)
def test_files_of_the_test_images_give_the_stored_predictions(method, runs, files, capsys):
    capsys.readouterr()
    run = ["predict", "--run", str(runs / method), "--json", "--top", "10"]
    assert main([*run, *map(str, files)]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    with np.load(runs / method / "predictions.npz") as stored:
        logits = stored["test_logits"][: len(files)].astype(np.float64)
    members = softmax(logits, axis=-1)
    together = softmax(logits.mean(axis=1), axis=-1) if method == "nfe" else members.mean(axis=1)
    for record, path, right, each in zip(said, files, together, members, strict=True):
        assert record["image"] == str(path)
        named = {c["class"]: c["probability"] for c in record["classes"]}
        assert [named[str(i)] for i in range(10)] == pytest.approx(right, abs=2e-3)
        assert sum(named.values()) == pytest.approx(1)
        assert [v["class"] for v in record["votes"]] == [str(i) for i in each.argmax(axis=-1)]
        assert record["entropy"] == pytest.approx(-(right * np.log(right)).sum(), abs=5e-3)
        # Mutual information as mean divergence of the members from their mixture.
        mixture = each.mean(axis=0)
        divergence = (each * (np.log(each) - np.log(mixture))).sum(axis=-1).mean()
        assert record["mutual_information"] == pytest.approx(divergence, abs=5e-3)
        assert record["mutual_information"] >= 0


def test_the_text_names_classes_votes_and_uncertainty(runs, files, capsys):
    capsys.readouterr()
    assert main(["predict", "--run", str(runs / "nfe"), str(files[0])]) == 0
    first, votes, doubt = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{files[0]}: ")
    assert first.count(",") == 2
    assert votes.count(",") == 2
    assert "entropy" in doubt and "disagreement" in doubt
    assert main(["predict", "--run", str(runs / "single"), str(files[0])]) == 0
    assert "vote" not in capsys.readouterr().out


def test_a_network_can_be_loaded_where_its_pruning_looked_at_data(runs):
    run, place = find(str(runs / "nfe"), runs)
    network = loading.load(run, place.artifacts / "model.safetensors", "cpu")
    nonzero = json.loads((runs / "nfe" / "metrics.json").read_text())["nonzero_parameters"]
    assert cost.nonzero_parameters(network) == nonzero


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (20, 13), (5, 9)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
def test_any_size_and_mode_becomes_what_the_data_set_has(size, mode, tmp_path):
    path = tmp_path / "image.png"
    Image.new("RGB", size, (255, 255, 255)).convert(mode).save(path)
    for card in (datasets.card("digits"), datasets.card("cifar10")):
        pixels = read_image(path, card)
        assert pixels.shape == (card.channels, card.resolution, card.resolution)
        assert pixels.dtype == np.uint8
        assert pixels.min() >= 254


def test_a_larger_image_is_averaged_in_blocks(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    found = read_image(tmp_path / "image.png", datasets.card("tiny-imagenet", 32))
    blocks = pixels.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(found - blocks).max() <= 0.51


def test_every_data_set_has_a_name_for_each_class():
    for name in datasets.names():
        card = datasets.card(name)
        assert len(set(class_names(card))) == card.classes
    assert class_names(datasets.card("tiny-imagenet", num_classes=20))[0].startswith("n0")


@pytest.mark.parametrize("listed", ["{}", "{digits: [zero, one]}"])
def test_a_data_set_without_its_class_names_is_one_line(listed, monkeypatch, tmp_path):
    path = tmp_path / "names.yaml"
    path.write_text(listed, encoding="utf-8")
    monkeypatch.setattr("nfe.data.class_names._NAMES", path)
    with pytest.raises(InputError, match="class names of digits: allowed: its 10"):
        class_names(datasets.card("digits"))


def test_bad_input_is_one_line(runs, files, tmp_path, capsys):
    text = tmp_path / "text.png"
    text.write_text("no image")
    weights = runs / "single" / "model.safetensors"
    moved = weights.rename(tmp_path / "kept")
    cases = [
        (["--run", str(runs / "nfe"), str(text)], "not an image that can be read"),
        (["--run", str(runs / "nfe"), str(tmp_path / "none.png")], "no such file"),
        (["--run", "nothing", str(files[0])], "nothing: no finished run"),
        (["--run", str(runs / "single"), str(files[0])], "not at hand: dvc pull"),
        (["--run", str(runs / "nfe"), "--top", "0", str(files[0])], "top is 0: allowed: 1 to 10"),
    ]
    capsys.readouterr()
    try:
        for arguments, message in cases:
            assert main(["predict", *arguments]) == 2
            said = capsys.readouterr().err
            assert message in said
            assert said.count("\n") == 1
    finally:
        moved.rename(weights)
