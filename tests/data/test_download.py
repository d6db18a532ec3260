"""Downloads from a real server on this machine that behaves well, badly, or not at all."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.data import prepare
from nfe.data.base import Archive
from nfe.data.download import download

CONTENT = bytes(range(256)) * 20_000


class _Handler(http.server.BaseHTTPRequestHandler):
    cut_after: int | None = None
    ranges = True
    requests: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        type(self).requests.append(asked)
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if first >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(CONTENT) - first))
        self.end_headers()
        stop = None if self.cut_after is None else first + self.cut_after
        self.wfile.write(CONTENT[first:stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[type[_Handler]]:
    handler = type("Handler", (_Handler,), {"requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        handler.url = f"http://127.0.0.1:{running.server_port}/set.zip"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield handler
        running.shutdown()


def archive(server: type[_Handler], content: bytes = CONTENT) -> Archive:
    return Archive(server.url, hashlib.md5(content).hexdigest())  # type: ignore[attr-defined]


def test_a_file_is_downloaded_once(server: type[_Handler], tmp_path: Path) -> None:
    for _ in range(2):
        assert download(archive(server), tmp_path / "x").read_bytes() == CONTENT
    assert server.requests == [None]
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["set.zip"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_download_continues(ranges: bool, server: type[_Handler], tmp_path: Path) -> None:
    server.ranges = ranges
    server.cut_after = 1_000_000
    with pytest.raises(InputError, match=r"1,000,000 bytes are in .*set.zip.part: run again"):
        download(archive(server), tmp_path)
    server.cut_after = None
    assert download(archive(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000000-"]


def test_a_whole_part_needs_no_more_bytes(server: type[_Handler], tmp_path: Path) -> None:
    (tmp_path / "set.zip.part").write_bytes(CONTENT)
    assert download(archive(server), tmp_path).read_bytes() == CONTENT


def test_another_file_is_refused_and_removed(server: type[_Handler], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"set.zip.part: MD5 \w+ is not the published"):
        download(archive(server, b"other"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_part_is_started_over(server: type[_Handler], tmp_path: Path) -> None:
    (tmp_path / "set.zip.part").write_bytes(b"x" * 1000)
    with pytest.raises(InputError, match="get it again"):
        download(archive(server), tmp_path)
    assert download(archive(server), tmp_path).read_bytes() == CONTENT


def test_a_foreign_file_in_its_place_is_left_alone(server: type[_Handler], tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"set.zip: MD5"):
        download(archive(server), tmp_path)
    assert (tmp_path / "set.zip").read_bytes() == b"mine"


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"http://127.0.0.1:9/a.zip: .*refused.* run again"):
        download(Archive("http://127.0.0.1:9/a.zip", ""), tmp_path)


def test_two_downloads_at_once_make_one(server: type[_Handler], tmp_path: Path) -> None:
    threads = [threading.Thread(target=download, args=(archive(server), tmp_path)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests == [None]
    assert (tmp_path / "set.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", "digits comes with an installed package"),
        ("cifar100-c", "cifar100-c is made from prepared images"),
        ("cifar1000", "did you mean 'cifar100'"),
    ],
)
def test_what_cannot_be_downloaded_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        prepare.fetch(name, tmp_path)


def test_prepare_takes_what_fetch_left(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"downloads/cifar10: no such .* data fetch cifar10"):
        list(prepare.prepare("cifar10", None, tmp_path))
    archive_name = datasets.dataset("cifar10").archives[0].filename
    (tmp_path / "downloads/cifar10").mkdir(parents=True)
    (tmp_path / "downloads/cifar10" / archive_name).write_bytes(b"x")
    with pytest.raises(InputError, match=f"downloads/cifar10/{archive_name}: MD5"):
        list(prepare.prepare("cifar10", None, tmp_path))
