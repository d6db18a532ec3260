"""Data sets of one's own: every kind of source and of image, and what is said of bad ones."""

import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from nfe import data as datasets
from nfe.cli.main import main
from nfe.common.errors import InputError
from nfe.data.base import content_hash
from nfe.data.class_names import class_names
from nfe.engine.prediction import read_image

SIDE = 16
CLASSES = ("ant", "bee", "zebrä")
TRAIN, TEST = 6, 3


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(seed, size=(SIDE, SIDE), channels=3):
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def tree(at: Path, splits=("train", "test"), classes=CLASSES, channels=3) -> Path:
    """Write PNG files, in folders of splits and classes."""
    for number, split in enumerate(splits):
        for label, name in enumerate(classes):
            folder = at / split / name
            folder.mkdir(parents=True)
            for k in range(TEST if split == "test" else TRAIN):
                picture([number, label, k], channels=channels).save(folder / f"{k}.png")
    return at


def prepare(source, *more, name="mine", resolution=SIDE, status=0):
    line = ["data", "prepare", name, "--source", str(source), "--resolution", str(resolution)]
    assert main([*line, *more]) == status
    return datasets.load(datasets.card(name)) if status == 0 else None


def refused(capsys, source, *more, name="mine", resolution=SIDE):
    """The one line that refuses a source; nothing is left of it."""
    capsys.readouterr()
    prepare(source, *more, name=name, resolution=resolution, status=2)
    said = capsys.readouterr().err
    assert said.startswith("nfe-bench: error: ") and said.count("\n") == 1
    assert not Path("config").exists()
    assert not Path("data").exists() or list(Path("data").iterdir()) == []
    return said


def pixels(images):
    return {np.asarray(image).tobytes() for image in images}


def test_a_tree_becomes_three_splits_and_a_card(capsys):
    tree(Path("photos"))
    data = prepare("photos", "--licence", "CC BY 4.0")
    assert [len(s) for s in (data.train, data.heldout, data.test)] == [15, 3, 9]
    assert data.test.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    first = np.asarray(Image.open("photos/test/ant/0.png")).transpose(2, 0, 1)
    assert np.array_equal(data.test.images[0], first)
    written = yaml.safe_load(Path("config/data/mine.yaml").read_text(encoding="utf-8"))
    assert written["class_names"] == list(CLASSES) == list(class_names(data.card))
    assert written["licence"] == "CC BY 4.0"
    assert written["images"] == {"train": [5] * 3, "heldout": [1] * 3, "test": [3] * 3}
    assert written["arrays"] == content_hash(data.train, data.heldout, data.test)
    train = data.train.images.numpy() / 255
    assert data.card.mean == pytest.approx(train.mean(axis=(0, 2, 3)), abs=1e-4)
    assert data.card.std == pytest.approx(train.std(axis=(0, 2, 3)), abs=1e-4)
    assert "mine" in datasets.names()
    assert main(["data", "check", "mine"]) == 0
    assert "sound" in capsys.readouterr().out


def test_preparing_again_changes_nothing_and_other_images_are_refused(capsys):
    tree(Path("photos"))
    prepare("photos")
    card = Path("config/data/mine.yaml").read_bytes()
    capsys.readouterr()
    prepare("photos")
    assert "prepared already" in capsys.readouterr().out
    picture(99).save("photos/train/ant/0.png")
    prepare("photos", status=2)
    assert "config/data/mine.yaml: " in capsys.readouterr().err
    prepare("photos", "--no-flip", status=2)
    assert Path("config/data/mine.yaml").read_bytes() == card
    # Where only the card is, as in a clone, the same images give the same arrays.
    shutil.rmtree("photos")
    shutil.rmtree("data")
    tree(Path("photos"))
    assert prepare("photos").card.content_hash in card.decode()


def test_one_tree_is_divided_as_stated():
    tree(Path("all"), ("pictures",))
    data = prepare("all/pictures", "--test-share", "0.34", "--split-seed", "3")
    assert np.bincount(data.test.labels).tolist() == [2, 2, 2]
    again = prepare("all/pictures", "--test-share", "0.34", "--split-seed", "3", name="again")
    other = prepare("all/pictures", "--test-share", "0.34", "--split-seed", "4", name="other")
    assert again.card.content_hash == data.card.content_hash != other.card.content_hash
    parts = [pixels(s.images.numpy()) for s in (data.train, data.heldout, data.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 18
    plainly = ["--not-stratified", "--split-seed", "6"]
    plain = prepare("all/pictures", "--test-share", "0.4", *plainly, name="plain")
    assert len(plain.test) == 7
    source = yaml.safe_load(Path("config/data/mine.yaml").read_text())["source"]
    assert "a share of 0.34 of each class, drawn with seed 3" in source


def test_a_val_folder_is_the_held_out_split():
    data = prepare(tree(Path("photos"), ("train", "val", "test")))
    assert [len(s) for s in (data.train, data.heldout, data.test)] == [18, 18, 9]
    heldout = [Image.open(p) for p in Path("photos/val").rglob("*.png")]
    assert pixels(np.asarray(i).transpose(2, 0, 1).copy() for i in heldout) == pixels(
        data.heldout.images.numpy()
    )


def test_a_table_of_paths_is_the_same_data():
    tree(Path("photos"))
    files = sorted(Path("photos").rglob("*.png"), key=lambda p: (p.parent.name, str(p)))
    lines = [f"{p},{p.parent.name},{p.parts[1]}" for p in files]
    Path("list.csv").write_text("\n".join(["path,label,split", *lines]), encoding="utf-8")
    wanted, found = prepare("photos", name="tree"), prepare("list.csv", name="table")
    assert found.card.content_hash == wanted.card.content_hash
    unsplit = [line.rpartition(",")[0] for line in lines]
    Path("all.csv").write_text("\n".join(["path,label", *unsplit]), encoding="utf-8")
    assert len(prepare("all.csv", "--test-share", "0.3", name="all").test) == 9


@pytest.mark.parametrize("layout", ["last", "second", "uint16", "float"])
def test_arrays_of_any_layout_are_the_same_data(layout):
    tree(Path("photos"))
    wanted = prepare("photos", name="tree")
    arrays = {}
    for split in ("train", "test"):
        files = sorted(Path("photos", split).rglob("*.png"))
        stack = np.stack([np.asarray(Image.open(f)) for f in files])
        made = {
            "last": stack,
            "second": stack.transpose(0, 3, 1, 2),
            "uint16": stack.astype(np.uint16) * 257,
            "float": (stack / 255).astype(np.float32),
        }[layout]
        arrays[f"{split}_images"] = made
        labels = np.array([CLASSES.index(f.parent.name) for f in files])
        arrays[f"{split}_labels"] = labels[:, None]
    np.savez("mine.npz", class_names=np.array(CLASSES), **arrays)
    found = prepare("mine.npz")
    assert found.card.content_hash == wanted.card.content_hash
    assert class_names(found.card) == CLASSES


def test_a_folder_of_the_datasets_library_is_the_same_data():
    library = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    tree(Path("photos"))
    wanted = prepare("photos", name="tree")
    label = library.ClassLabel(names=list(CLASSES))
    features = library.Features({"image": library.Image(), "label": label})
    parts = {}
    for split in ("train", "test"):
        files = sorted(Path("photos", split).rglob("*.png"))
        rows = {
            "image": [{"bytes": f.read_bytes(), "path": None} for f in files],
            "label": [CLASSES.index(f.parent.name) for f in files],
        }
        parts[split] = library.Dataset.from_dict(rows, features=features)
    library.DatasetDict(parts).save_to_disk("saved")
    assert prepare("saved").card.content_hash == wanted.card.content_hash
    parts["train"].save_to_disk("one")
    divided = prepare("one", "--test-share", "0.34", name="divided")
    assert class_names(divided.card) == CLASSES and len(divided.test) == 6


def test_a_folder_of_the_library_says_what_is_to_be_installed(capsys, monkeypatch):
    Path("saved").mkdir()
    Path("saved/dataset_dict.json").write_text('{"splits": ["train"]}')
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    assert "pip install 'nfe-bench[huggingface]'" in refused(capsys, "saved")


def odd_images(folder: Path) -> None:
    """Images of every mode, size and orientation."""
    ramp = np.linspace(0, 255, 24 * 20).reshape(20, 24).astype(np.uint8)
    Image.fromarray(ramp).save(folder / "grey.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(folder / "sixteen.png")
    picture(1, (24, 20)).convert("P").save(folder / "palette.png")
    picture(2, (24, 20)).convert("CMYK").save(folder / "cmyk.jpg")
    picture(3, (24, 20)).convert("RGBA").save(folder / "clear.png")
    picture(4, (7, 9)).save(folder / "small.webp", lossless=True)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    picture(5, (48, 32)).save(folder / "rotated.jpg", exif=rotated)
    picture(6, (33, 50)).save(folder / "größe 写真.bmp")


def test_images_of_every_mode_and_size_become_what_predict_makes_of_them(capsys):
    tree(Path("photos"))
    odd_images(Path("photos/test/bee"))
    data = prepare("photos")
    said = capsys.readouterr().out
    assert "1 of the images: 16 bits a channel: 0 to 65535 become 0 to 255" in said
    files = sorted(Path("photos/test/bee").iterdir())
    images = data.test.images[data.test.labels == 1].numpy()
    assert len(files) == len(images) == TEST + 8
    for path, image in zip(files, images, strict=True):
        assert np.array_equal(image, read_image(path, data.card)), path
    # Exif orientation 6: the camera was turned, the first row is the right-hand column.
    turned = Image.open("photos/test/bee/rotated.jpg").transpose(Image.Transpose.ROTATE_270)
    square = turned.crop((0, 8, 32, 40)).reduce(2)
    where = files.index(Path("photos/test/bee/rotated.jpg"))
    assert np.array_equal(images[where], np.asarray(square).transpose(2, 0, 1))


def test_grey_images_alone_make_a_grey_data_set():
    tree(Path("photos"), channels=1)
    Image.open("photos/test/ant/0.png").convert("RGB").save("photos/test/ant/0.png")
    data = prepare("photos")
    assert data.card.channels == 1 and data.test.images.shape == (9, 1, SIDE, SIDE)
    assert len(data.card.mean) == 1


def test_names_of_classes_may_be_stored_in_two_ways():
    tree(Path("photos"))
    Path("photos/test/zebrä").rename("photos/test/zebra\u0308")
    assert class_names(prepare("photos").card) == CLASSES


def test_corrupt_images_are_named_or_left_out_by_name(capsys):
    tree(Path("photos"))
    whole = io.BytesIO()
    picture(7, (64, 64)).save(whole, "JPEG")
    Path("photos/train/ant/cut.jpg").write_bytes(whole.getvalue()[:900])
    Path("photos/test/bee/notes.txt").write_text("no image")
    said = refused(capsys, "photos")
    assert "2 of 29 images cannot be used" in said and "--skip-corrupt" in said
    assert "photos/train/ant/cut.jpg" in said and "photos/test/bee/notes.txt" in said
    data = prepare("photos", "--skip-corrupt")
    assert "left out: photos/test/bee/notes.txt" in capsys.readouterr().out
    skipped = yaml.safe_load(Path("config/data/mine.yaml").read_text())["skipped"]
    assert skipped == ["photos/train/ant/cut.jpg", "photos/test/bee/notes.txt"]
    clean = shutil.copytree("photos", "clean")
    Path(clean, "train/ant/cut.jpg").unlink()
    Path(clean, "test/bee/notes.txt").unlink()
    assert prepare(clean, name="clean").card.content_hash == data.card.content_hash


def test_unequal_classes_and_repeated_images_are_reported(capsys):
    tree(Path("photos"))
    for k in range(10):
        picture([9, k]).save(f"photos/train/bee/more{k}.png")
    shutil.copy("photos/test/ant/0.png", "photos/train/ant/copy.png")
    shutil.copy("photos/test/ant/0.png", "photos/train/ant/copy2.png")
    prepare("photos")
    said = capsys.readouterr().out
    assert "classes are unequal: 5 training images of 'zebrä', 15 of 'bee'" in said
    assert "1 of the test images are among the training images, pixel for pixel" in said


def _no_test(at):
    shutil.rmtree(at / "test")


def _one_image(at):
    for k in range(1, TRAIN):
        (at / f"train/bee/{k}.png").unlink()


def _other_class(at):
    (at / "test/bee").rename(at / "test/wasp")


def _more_classes(at):
    shutil.copytree(at / "test/bee", at / "test/wasp")


def _empty_class(at):
    shutil.rmtree(at / "train/bee")
    (at / "train/bee").mkdir()


def _loose_files(at):
    picture(0).save(at / "train/loose.png")


def _mixed(at):
    shutil.copytree(at / "train/ant", at / "ant")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_test, "photos: no folder test beside train"),
        (_one_image, "class 'bee' has 4 images, too few of them for train"),
        (_other_class, "photos: test has no images of class bee, which train has"),
        (_more_classes, "photos: test has class wasp, which train has not"),
        (_empty_class, "photos/train/bee: no images"),
        (_loose_files, "photos/train: loose.png: allowed there: folders alone"),
        (_mixed, "photos: ant beside test, train"),
        (shutil.rmtree, "photos: no such file or folder"),
    ],
)
def test_a_bad_tree_is_one_line(spoil, message, capsys):
    spoil(tree(Path("photos")))
    assert message in refused(capsys, "photos")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class\na.png,1\n", "header 'file,class': allowed: path,label"),
        ("path,label,split\na.png,0,train\n", "no test images"),
        ("path,label,split\na.png,0,train\nb.png,2,test\n", "from 0 to 2 and 1 is missing"),
        ("path,label,split\na.png,0,train\na.png,1,test\n", "line 3: a.png stands in line 2"),
        ("path,label,split\na.png,,train\n", "line 2: 'a.png,,train': allowed"),
        ("path,label,split\na.png,0,dev\n", "line 2: split 'dev': allowed: train, test"),
        ("path,label\na.png,0\nb.png,1\n", "without a test split"),
        ("path,label\n", "no images"),
        ("path,label,split\na.png,x,train\nb.png,x,test\n", "one class, 'x'"),
    ],
)
def test_a_bad_table_is_one_line(text, message, capsys):
    Path("list.csv").write_text(text)
    assert message in refused(capsys, "list.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_images": None}, "arrays test_labels, train_images, train_labels: allowed"),
        ({"train_labels": np.array([0, 0, 2, 2])}, "test has no images of class 2, which train"),
        (
            dict.fromkeys(["train_labels", "test_labels"], np.array([0, 0, 2, 2])),
            "from 0 to 2 and 1 is missing",
        ),
        ({"train_labels": np.array([0, 1])}, "int64 of shape (2,): allowed: whole numbers (4,)"),
        ({"train_images": np.zeros((4, 8, 8, 5), np.uint8)}, "shape (4, 8, 8, 5): allowed"),
        ({"train_images": np.full((4, 8, 8), 7.0)}, "numbers from 7 to 7: allowed: from 0 to 1"),
        ({"train_images": np.zeros((4, 8, 8), np.int32)}, "int32: allowed: uint8"),
        ({"class_names": np.array(["a"])}, "class_names: 1 names: allowed: 2"),
        ({}, "of one colour throughout"),
    ],
)
def test_bad_arrays_are_one_line(changes, message, capsys):
    images, labels = np.zeros((4, 8, 8), np.uint8), np.array([0, 0, 1, 1])
    plain = dict(train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    arrays = {k: v for k, v in {**plain, **changes}.items() if v is not None}
    np.savez("mine.npz", **arrays)
    assert message in refused(capsys, "mine.npz")


def test_bad_options_are_one_line(capsys):
    tree(Path("photos"))
    assert "allowed: small letters" in refused(capsys, "photos", name="My Data")
    assert "a name that no method has" in refused(capsys, "photos", name="nfe")
    assert "beside a split of its own" in refused(capsys, "photos", "--test-share", "0.2")
    assert "test share is 1.5" in refused(capsys, "photos/train", "--test-share", "1.5")
    assert "resolution is 4" in refused(capsys, "photos", resolution=4)
    assert "--skip-corrupt is for data sets of your own, not for cifar10" in refused(
        capsys, "photos", "--skip-corrupt", name="cifar10", resolution=32
    )
    assert main(["data", "prepare", "mine", "--source", "photos"]) == 2
    assert "--resolution PIXELS" in capsys.readouterr().err
    assert main(["data", "prepare", "mine"]) == 2
    assert "unknown data set 'mine'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("flip: true", "flip: false", "were edited"),
        ("channels: 3", "chanels: 3", "chanels"),
        ("name: mine", "name: yours", "allowed: 'mine'"),
        ("padding: 2", "padding: two", "padding: input should be a valid integer"),
        ("[ant, bee, ", "[ant, ant, ", "class_names: allowed: two or more, all different"),
    ],
)
def test_an_edited_card_is_one_line(old, new, message):
    prepare(tree(Path("photos")))
    path = Path("config/data/mine.yaml")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=r"config/data/mine\.yaml: ") as caught:
        datasets.card("mine")
    assert message in str(caught.value)


def test_names_of_classes_and_the_licence_may_be_edited():
    prepare(tree(Path("photos")))
    path = Path("config/data/mine.yaml")
    text = path.read_text(encoding="utf-8").replace("[ant, ", "[Ant, ")
    path.write_text(text.replace("licence: not stated", "licence: CC0"), encoding="utf-8")
    assert class_names(datasets.card("mine"))[0] == "Ant"


def test_a_run_on_other_images_of_the_same_name_is_refused():
    from nfe.suite.run import from_identity, specify

    prepare(tree(Path("photos")))
    run = specify(dataset="mine", architecture_name="wrn-10-1", method="single", epochs=1)
    assert run.card.content_hash == run.data_hash
    shutil.rmtree("data")
    Path("config/data/mine.yaml").unlink()
    picture(99).save("photos/train/ant/0.png")
    prepare("photos")
    with pytest.raises(InputError, match="the run is on the one with"):
        _ = from_identity(run.identity()).card


def test_a_package_registers_a_data_set(monkeypatch):
    from importlib.metadata import EntryPoint

    prepare(tree(Path("photos")))
    Path("pack").mkdir()
    Path("config/data/mine.yaml").rename("pack/mine.yaml")
    Path("pack/__init__.py").write_text(
        "from pathlib import Path\n"
        "from nfe.data.own.card import dataset_from_card\n"
        "MINE = dataset_from_card(Path(__file__).with_name('mine.yaml'))\n"
        "OTHER = 3\n"
    )
    monkeypatch.syspath_prepend(Path.cwd())
    points = [
        EntryPoint(name, f"pack:{value}", datasets.GROUP)
        for name, value in (("mine", "MINE"), ("other", "OTHER"), ("gone", "GONE"))
    ]
    monkeypatch.setattr(datasets, "entry_points", lambda group: points)
    datasets._registered.cache_clear()
    datasets._imported.cache_clear()
    try:
        assert {"mine", "other", "gone"} < set(datasets.names())
        assert len(datasets.load(datasets.card("mine")).test) == 9
        with pytest.raises(InputError, match="allowed: a Dataset of that name"):
            datasets.card("other")
        with pytest.raises(InputError, match="cannot be imported"):
            datasets.card("gone")
    finally:
        datasets._registered.cache_clear()
        datasets._imported.cache_clear()


def test_few_images_of_a_class_leave_no_subset_to_take():
    prepare(tree(Path("photos")))
    with pytest.raises(InputError, match="its largest class has 6 training images"):
        datasets.card("mine", images_per_class=20)
    assert dataclasses.asdict(datasets.card("mine", num_classes=2))["classes"] == 2
