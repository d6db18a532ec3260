"""Data on a node's own disk: copied once, whole, read-only."""

import multiprocessing
from pathlib import Path

import pytest

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.data import prepared
from nfe.data.scratch import stage

CARD = datasets.card("cifar10", None, None, None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = prepared.folder(CARD, tmp_path / "data")
    folder.mkdir(parents=True)
    for name in ("train.npy", "manifest.json"):
        (folder / name).write_bytes(name.encode() * 100_000)
    return tmp_path / "data"


def test_many_jobs_of_a_node_copy_once(root, tmp_path):
    scratch = tmp_path / "scratch"
    # Other tests leave threads behind, whose locks a fork would keep.
    with multiprocessing.get_context("forkserver").Pool(4) as pool:
        staged = pool.starmap(stage, [(CARD, root, scratch)] * 4)
    assert len(set(staged)) == 1
    (copy,) = scratch.glob(f"*/{CARD.name}/*")
    assert copy == prepared.folder(CARD, staged[0])
    assert [path.name for path in sorted(copy.iterdir())] == ["manifest.json", "train.npy"]
    for path in copy.iterdir():
        assert path.read_bytes() == (prepared.folder(CARD, root) / path.name).read_bytes()
        assert path.stat().st_mode & 0o222 == 0
    before = copy.stat().st_ctime_ns
    stage(CARD, root, scratch)
    assert copy.stat().st_ctime_ns == before


def test_what_a_killed_job_left_is_replaced(root, tmp_path):
    staged = stage(CARD, root, tmp_path / "scratch")
    copy = prepared.folder(CARD, staged)
    copy.rename(copy.with_name(f".{copy.name}.tmp"))
    (copy.with_name(f".{copy.name}.tmp") / "train.npy").unlink()
    stage(CARD, root, tmp_path / "scratch")
    assert (copy / "train.npy").exists()


def test_data_that_are_not_prepared_are_left_to_the_loader(tmp_path):
    assert stage(CARD, tmp_path / "nothing", tmp_path / "scratch") == tmp_path / "nothing"


def test_a_scratch_that_cannot_be_written_is_named(root, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        stage(CARD, root, tmp_path / "file")
