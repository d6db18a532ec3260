"""Tiny ImageNet from official files in every form they come in, and from files that are not."""

import hashlib
import io
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_images import (
    HASH,
    INDEX,
    TEST,
    TOP,
    TRAIN,
    WNIDS,
    expected_hash,
    make_tree,
    small_dataset,
    zip_tree,
)
from torchvision.io import ImageReadMode, decode_jpeg

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.data import jpeg, prepare, tiny_imagenet
from nfe.data.base import Array

SOURCE = os.environ.get("NFE_BENCH_TINY_IMAGENET")


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tree(tmp_path_factory.mktemp("official"))
    tiny_imagenet.write_index(tiny_imagenet.make_index(folder), folder.parent / "index.npz")
    return folder


@pytest.fixture
def small(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = small_dataset(top.parent / "index.npz", expected_hash(top))
    monkeypatch.setitem(datasets._DATASETS, "tiny-imagenet", dataset)


@pytest.fixture
def copy(top: Path, tmp_path: Path) -> Path:
    """A copy of the official folder that a test may spoil."""
    return Path(shutil.copytree(top, tmp_path / "copy" / TOP))


def prepared(source: Path, root: Path, resolution: int | None = None) -> list[str]:
    return list(prepare.prepare("tiny-imagenet", source, root, resolution))


def left(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def several_zips(top: Path, folder: Path) -> Path:
    folder.mkdir()
    zip_tree(top, folder / "a.zip", lambda name: name.endswith(("0.JPEG", ".txt")))
    zip_tree(top, folder / "b.zip", lambda name: not name.endswith("0.JPEG"))
    return folder


FORMS: dict[str, Callable[[Path, Path], Path]] = {
    "one zip": lambda top, tmp: zip_tree(top, tmp / "all.zip"),
    "several zips": lambda top, tmp: several_zips(top, tmp / "zips"),
    "unpacked": lambda top, tmp: top,
    "its parent": lambda top, tmp: top.parent,
    "renamed": lambda top, tmp: Path(shutil.copytree(top, tmp / "images")),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_official_files_gives_the_same_pixels(
    form: str, small: None, top: Path, tmp_path: Path
) -> None:
    prepared(FORMS[form](top, tmp_path), tmp_path / "root", 32)
    data = datasets.load(datasets.card("tiny-imagenet", 32), tmp_path / "root")
    everything = np.concatenate([data.train.images, data.heldout.images])
    found = sorted(hashlib.sha256(image.tobytes()).digest() for image in everything)
    paths = sorted((top / "train").rglob("*.JPEG"))
    assert found == sorted(hashlib.sha256(independent(p, 32).tobytes()).digest() for p in paths)
    assert [len(data.train), len(data.heldout), len(data.test)] == [3 * 38, 3 * 2, 3 * TEST]


def independent(path: Path, resolution: int) -> Array:
    """Decode with torchvision's own libjpeg; average blocks in whole numbers."""
    raw = torch.from_numpy(np.fromfile(path, np.uint8))
    pixels = decode_jpeg(raw, ImageReadMode.RGB).numpy()
    step = 64 // resolution
    blocks = pixels.reshape(3, resolution, step, resolution, step).astype(int).sum((2, 4))
    return ((2 * blocks + step**2) // (2 * step**2)).astype(np.uint8)


@pytest.mark.parametrize("resolution", [64, 32])
def test_pixels_labels_and_order_are_those_of_an_independent_decoder(
    resolution: int, small: None, top: Path, tmp_path: Path
) -> None:
    prepared(top, tmp_path, resolution)
    data = datasets.load(datasets.card("tiny-imagenet", resolution), tmp_path)
    held = {image.numpy().tobytes() for image in data.heldout.images}
    for label, wnid in enumerate(WNIDS):
        folder = top / "train" / wnid / "images"
        images = [independent(folder / f"{wnid}_{n}.JPEG", resolution) for n in range(TRAIN)]
        kept = [image for image in images if image.tobytes() not in held]
        np.testing.assert_array_equal(data.train.images[data.train.labels == label], kept)
    lines = (top / "val/val_annotations.txt").read_text().splitlines()
    for line, image, label in zip(lines, data.test.images, data.test.labels, strict=True):
        name, wnid = line.split("\t")[:2]
        np.testing.assert_array_equal(image, independent(top / "val/images" / name, resolution))
        assert WNIDS[label] == wnid


def test_files_have_the_checksums_of_the_manifest(small: None, top: Path, tmp_path: Path) -> None:
    assert len(prepared(top, tmp_path)) == 2
    for folder in (tmp_path / "tiny-imagenet").iterdir():
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["content_hash"] == expected_hash(top)
        for name, record in manifest["files"].items():
            content = (folder / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == record["sha256"]
        assert np.load(folder / "train.npy", mmap_mode="r").dtype == np.uint8
    assert all("prepared already" in line for line in prepared(top, tmp_path))
    assert len(list(prepare.check("tiny-imagenet", tmp_path))) == 2


@pytest.mark.parametrize("name", ["train.npy", "test_labels.npy"])
def test_altered_files_are_found_and_made_again(
    name: str, small: None, top: Path, tmp_path: Path
) -> None:
    prepared(top, tmp_path, 32)
    path = tmp_path / "tiny-imagenet/32" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: SHA-256"):
        list(prepare.check("tiny-imagenet", tmp_path))
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=f"{name}: .* bytes"):
        datasets.load(datasets.card("tiny-imagenet", 32), tmp_path)
    assert "already" not in prepared(top, tmp_path, 32)[0]
    list(prepare.check("tiny-imagenet", tmp_path))


def test_data_of_other_files_are_not_loaded(
    small: None, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(top, tmp_path, 32)
    other = small_dataset(top.parent / "index.npz", "0" * 64)
    monkeypatch.setitem(datasets._DATASETS, "tiny-imagenet", other)
    with pytest.raises(InputError, match="content_hash"):
        datasets.load(datasets.card("tiny-imagenet", 32), tmp_path)
    with pytest.raises(InputError, match=r"content hash .* is not the expected 0000"):
        prepared(top, tmp_path / "other", 32)
    assert left(tmp_path / "other") == []


# Each spoils a copy of the official folder and says what the error must name.
def _drop_image(top: Path) -> str:
    (top / "train/n01/images/n01_7.JPEG").unlink()
    return r"train/n01/images/n01_7.JPEG missing"


def _drop_annotations(top: Path) -> str:
    (top / "val/val_annotations.txt").unlink()
    return r"val/val_annotations.txt missing"


def _add_image(top: Path) -> str:
    shutil.copy(top / "val/images/val_0.JPEG", top / "train/n01/images/n01_40.JPEG")
    return r"train/n01/images/n01_40.JPEG: foreign"


def _truncate_image(top: Path) -> str:
    path = top / "train/n02/images/n02_3.JPEG"
    path.write_bytes(path.read_bytes()[:200])
    return r"n02_3.JPEG: damaged or altered"


def _flip_bit(top: Path) -> str:
    path = top / "val/images/val_5.JPEG"
    content = bytearray(path.read_bytes())
    content[-40] ^= 4
    path.write_bytes(content)
    return r"val_5.JPEG: damaged or altered"


def _annotate(change: Callable[[list[str]], list[str]], message: str) -> Callable[[Path], str]:
    def spoil(top: Path) -> str:
        path = top / "val/val_annotations.txt"
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
        return f"val_annotations.txt: {message}"

    return spoil


def _relabel(lines: list[str]) -> list[str]:
    name, wnid, *rest = lines[2].split("\t")
    other = next(w for w in WNIDS if w != wnid)
    return [*lines[:2], "\t".join([name, other, *rest]), *lines[3:]]


def _reorder_classes(top: Path) -> str:
    (top / "wnids.txt").write_text("n01\nn02\nn03\n")
    return r"wnids.txt: not the 3 classes"


def _binary_annotations(top: Path) -> str:
    (top / "val/val_annotations.txt").write_bytes(b"\xff\xfe\x00")
    return r"val_annotations.txt: not a text file"


def _link(top: Path) -> str:
    path = top / "val/images/val_1.JPEG"
    path.unlink()
    path.symlink_to("/etc/passwd")
    return r"val_1.JPEG: a link"


def _pipe(top: Path) -> str:
    path = top / "val/images/val_1.JPEG"
    path.unlink()
    os.mkfifo(path)
    return r"val_1.JPEG: not a plain file"


def _huge(top: Path) -> str:
    with open(top / "words.txt", "wb") as file:
        file.truncate(1 << 30)
    return r"words.txt: 1,073,741,824 bytes"


def _disagree(top: Path) -> str:
    def one(name: str) -> bool:
        return name.endswith("n01_1.JPEG")

    other = top.parent / "other" / TOP
    shutil.copytree(top, other)
    shutil.copy(top / "train/n01/images/n01_2.JPEG", other / "train/n01/images/n01_1.JPEG")
    zip_tree(other, top.parent / "b.zip", one)
    return r"n01_1.JPEG and .*b.zip: .*n01_1.JPEG disagree"


SPOILED = {
    "missing image": _drop_image,
    "missing labels": _drop_annotations,
    "foreign image": _add_image,
    "truncated image": _truncate_image,
    "flipped bit": _flip_bit,
    "missing label": _annotate(lambda lines: lines[1:], "no label for val_0.JPEG"),
    "extra label": _annotate(
        lambda lines: [*lines, "val_99.JPEG\tn01\t0\t0\t1\t1\n"], "no image for val_99.JPEG"
    ),
    "second label": _annotate(
        lambda lines: [*lines, lines[0]], "line 13: a second label for val_0.JPEG"
    ),
    "unknown class": _annotate(lambda lines: ["val_0.JPEG\tn77\n", *lines[1:]], "line 1: 'n77'"),
    "wrong label": _annotate(_relabel, "val_2.JPEG has another label"),
    "no text": _binary_annotations,
    "other class order": _reorder_classes,
    "link": _link,
    "pipe": _pipe,
    "bomb": _huge,
    "disagreeing sources": _disagree,
}


@pytest.mark.parametrize("case", SPOILED)
def test_spoiled_folder_is_refused_by_name_and_a_good_one_then_works(
    case: str, small: None, top: Path, copy: Path, tmp_path: Path
) -> None:
    message = SPOILED[case](copy)
    with pytest.raises(InputError, match=message) as caught:
        prepared(copy.parent, tmp_path / "root", 32)
    assert "\n" not in str(caught.value)
    assert left(tmp_path / "root") == []
    assert prepared(top, tmp_path / "root", 32)[0].endswith(": prepared")


def _with_entry(name: str, mode: int = 0, content: bytes = b"x") -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)

    return spoil


def _cut(share: float) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return spoil


def _damage_content(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{TOP}/train/n01/images/n01_9.JPEG")
    content = bytearray(path.read_bytes())
    content[info.header_offset + 200] ^= 255
    path.write_bytes(content)


def _understate_size(path: Path) -> None:
    """Claim in the directory that a large entry is small."""
    _with_entry(f"{TOP}/test/images/test_1.JPEG", content=bytes(1 << 20))(path)
    _replace_size(path, f"{TOP}/wnids.txt", 3)


def _replace_size(path: Path, name: str, size: int) -> None:
    content = bytearray(path.read_bytes())
    at = content.rindex(name.encode()) - 46
    struct.pack_into("<I", content, at + 24, size)
    path.write_bytes(content)


def _encrypt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.rindex(f"{TOP}/words.txt".encode()) - 46
    content[at + 8] |= 1
    path.write_bytes(content)


HOSTILE = {
    "absolute": (_with_entry("/etc/cron.d/x"), "'/etc/cron.d/x': an absolute or upward path"),
    "upward": (_with_entry(f"{TOP}/../../x"), r"\.\./\.\./x': an absolute or upward path"),
    "backslashes": (_with_entry("..\\..\\x"), "an absolute or upward path"),
    "link": (_with_entry(f"{TOP}/a", stat.S_IFLNK | 0o777), "/a': a link or device"),
    "device": (_with_entry(f"{TOP}/a", stat.S_IFCHR), "/a': a link or device"),
    "bomb": (_with_entry(f"{TOP}/words.txt2", 0, bytes(1 << 25)), "33,554,432 bytes unpacked"),
    "zip in zip": (_with_entry(f"{TOP}/train.zip"), "train.zip': a zip inside a zip"),
    "other folder": (_with_entry("__MACOSX/a"), "__MACOSX/a': foreign"),
    "nested folder": (_with_entry(f"{TOP}/{TOP}/wnids.txt"), f"{TOP}/wnids.txt: foreign"),
    "file of its name": (_with_entry(TOP), "foreign"),
    "encrypted": (_encrypt, "words.txt': encrypted"),
    "cut in the middle": (_cut(0.5), "bad.zip: not a whole zip file"),
    "cut at the end": (_cut(0.999), "bad.zip: not a whole zip file"),
    "empty": (_cut(0), "bad.zip: not a whole zip file"),
    "damaged content": (_damage_content, "bad.zip: .*n01_9.JPEG: damaged"),
    "false size": (_understate_size, "bad.zip: .*wnids.txt: damaged"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_zip_is_refused_by_name_and_writes_nothing(
    case: str, small: None, top: Path, tmp_path: Path
) -> None:
    spoil, message = HOSTILE[case]
    bad = zip_tree(top, tmp_path / "bad.zip")
    spoil(bad)
    with pytest.raises(InputError, match=message) as caught:
        prepared(bad, tmp_path / "root", 32)
    assert "\n" not in str(caught.value) and "bad.zip" in str(caught.value)
    assert left(tmp_path) == [bad]
    assert prepared(top, tmp_path / "root", 32)[0].endswith(": prepared")


def test_sources_that_agree_may_overlap(small: None, top: Path, copy: Path, tmp_path: Path) -> None:
    zip_tree(top, copy.parent / "again.zip")
    assert prepared(copy.parent, tmp_path / "root", 32)[0].endswith(": prepared")


@pytest.mark.parametrize("what", ["", "none.zip", "empty"])
def test_a_source_without_the_data_set_is_refused(what: str, small: None, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("")
    with pytest.raises(InputError, match=r"no such file|holds neither"):
        prepared(tmp_path / what, tmp_path / "root", 32)


def _encoded(mode: str, size: tuple[int, int], kind: str = "JPEG") -> bytes:
    content = io.BytesIO()
    Image.new(mode, size).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole JPEG"),
        (_encoded("RGB", (64, 64))[:-200], "not a whole JPEG"),
        (_encoded("RGB", (64, 64), "PNG"), "not a whole JPEG"),
        (_encoded("RGB", (64, 32)), "64×32 pixels"),
        (_encoded("CMYK", (64, 64)), "a CMYK image"),
    ],
)
def test_what_is_no_image_of_the_set_is_not_decoded(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"a.JPEG: .*{message}"):
        jpeg.decode(content, "a.JPEG", 64, 64)


@pytest.fixture
def start(top: Path) -> Callable[..., subprocess.Popen[str]]:
    script = Path(__file__).parents[1] / "tiny_images.py"
    index = str(top.parent / "index.npz")
    environment = {**os.environ, HASH: expected_hash(top), INDEX: index}

    def begin(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script), "data", *map(str, arguments)],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    return begin


def _session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_prepare_leaves_nothing_in_the_way(
    number: signal.Signals, start: Callable[..., subprocess.Popen[str]], top: Path, tmp_path: Path
) -> None:
    process = start("prepare", "tiny-imagenet", "--source", top, "--root", tmp_path)
    partial = tmp_path / "tiny-imagenet/.64.partial/train.npy"
    deadline = time.monotonic() + 60
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (tmp_path / "tiny-imagenet/64").exists()
    if number is not signal.SIGKILL:
        assert left(tmp_path) == []
    if number is signal.SIGTERM:
        assert errors.count("\n") == 1 and "run the same command again" in errors
    while _session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _session(process.pid) == []

    again = start("prepare", "tiny-imagenet", "--source", top, "--root", tmp_path)
    assert again.communicate(timeout=60)[1] == "" and again.returncode == 0
    assert not partial.parent.exists()
    assert start("check", "tiny-imagenet", "--root", tmp_path).wait(60) == 0


def test_preparing_needs_no_pytorch() -> None:
    """Every worker process would pay for it with some 300 MiB."""
    code = "import sys, nfe.cli.data, nfe.data.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_two_prepares_at_once_make_it_once(
    start: Callable[..., subprocess.Popen[str]], top: Path, tmp_path: Path
) -> None:
    both = [start("prepare", "tiny-imagenet", "--source", top, "--root", tmp_path) for _ in "ab"]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("already" in line for out in outputs for line in out.splitlines()) == [
        False,
        False,
        True,
        True,
    ]
    assert start("check", "tiny-imagenet", "--root", tmp_path).wait(60) == 0


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_named_and_leaves_nothing(tiny_disk: Path, small: None, top: Path) -> None:
    with pytest.raises(InputError, match=r"tiny-imagenet/32: .*No space left on device"):
        prepared(top, tiny_disk, 32)
    assert left(tiny_disk) == []
    subprocess.run(["mount", "-o", "remount,size=64m", str(tiny_disk)], check=True)
    prepared(top, tiny_disk, 32)
    assert len(list(prepare.check("tiny-imagenet", tiny_disk))) == 1


def test_a_folder_that_cannot_be_written_is_named(small: None, top: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/tiny-imagenet: cannot write there"):
        prepared(top, tmp_path / "file", 32)


@pytest.mark.skipif(SOURCE is None, reason="NFE_BENCH_TINY_IMAGENET names no official files")
def test_the_real_images(tmp_path: Path) -> None:
    """The whole set: hash, splits, constants of the card, and how fast it loads."""
    prepared(Path(str(SOURCE)), tmp_path)
    for resolution in (64, 32):
        card = datasets.card("tiny-imagenet", resolution)
        # Processor time: what others do on the machine is not what is tested.
        began = time.process_time()
        data = datasets.load(card, tmp_path)
        copies = [split.images.clone() for split in (data.train, data.heldout, data.test)]
        assert time.process_time() - began < 2
        assert [len(images) for images in copies] == [95_000, 5_000, 10_000]
        for split, each in ((data.train, 475), (data.heldout, 25), (data.test, 50)):
            assert torch.bincount(split.labels).tolist() == [each] * 200
        drawn = datasets.card("tiny-imagenet", resolution, 20, 250, 1, "extended")
        part = datasets.load(drawn, tmp_path)
        for split, each in ((part.train, 238), (part.heldout, 12), (part.test, 50 + 237)):
            assert torch.bincount(split.labels).tolist() == [each] * 20
        others = (part.train, part.heldout, data.heldout)
        tested = {image.numpy().tobytes() for image in part.test.images}
        assert len(tested) == len(part.test)
        assert not tested & {i.numpy().tobytes() for split in others for i in split.images}
        counts = sum(_histograms(chunk) for chunk in data.train.images.split(5_000))
        value = np.arange(256) / 255
        mean = counts @ value / counts[0].sum()
        std = np.sqrt(counts @ value**2 / counts[0].sum() - mean**2)
        np.testing.assert_allclose(mean, card.mean, atol=5.1e-5)
        np.testing.assert_allclose(std, card.std, atol=5.1e-5)


def _histograms(images: torch.Tensor) -> Array:
    """Count how often each channel has each value: (channels, 256)."""
    channels = images.transpose(0, 1).flatten(1).numpy()
    return np.stack([np.bincount(channel, minlength=256) for channel in channels])
