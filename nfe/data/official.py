"""Official files, read where they lie: zips and unpacked folders as one tree of files.

Nothing is ever unpacked to disk, so an entry's name decides nothing but whether it is expected.
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nfe.common.errors import InputError

# No file of a data set comes near; an entry that claims more is a bomb.
MAX_BYTES = 16 * 2**20

_READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError)


@dataclass(frozen=True)
class File:
    """One file of a source.

    Attributes:
        container: the zip that holds it, or the folder it lies in.
        entry: its path inside the container.
        archive: the container opened, where it is a zip.
        crc32: the checksum that the zip states; None for a file of a folder.
    """

    container: Path
    entry: str
    archive: zipfile.ZipFile | None = None
    crc32: int | None = None

    def __str__(self) -> str:
        return f"{self.container}: {self.entry}"

    def read(self) -> bytes:
        """Return the content.

        Raises:
            InputError: it cannot be read whole or fails the zip's checksum.
        """
        try:
            if self.archive is None:
                return (self.container / self.entry).read_bytes()
            return self.archive.read(self.entry)
        except _READ_ERRORS as error:
            raise InputError(f"{self}: damaged or unreadable ({_reason(error)})") from None


def files(source: Path, top: str) -> dict[str, File]:
    """Return the files of a data set by their path below its ``top`` folder.

    Args:
        source: a zip, a folder of zips, the unpacked ``top`` folder, or the folder it lies in.
        top: name of the folder that every zip unpacks to.

    Raises:
        InputError: there is nothing of the data set, a zip or a folder is damaged or holds what
            no data set holds (links, absolute or upward paths, zips in zips, bombs), or two
            containers disagree on a file.
    """
    found: dict[str, File] = {}
    for container in _containers(source, top):
        listing = _zip_files if container.is_file() else _folder_files
        for path, file in listing(container, top):
            if path in found:
                _check_agreement(found[path], file)
            else:
                found[path] = file
    return found


def _containers(source: Path, top: str) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"{source}: no such file or folder")
    if source.name == top or (source / "wnids.txt").exists():
        return [source]
    folders = [source / top] if (source / top).is_dir() else []
    containers = folders + sorted(source.glob("*.zip"))
    if not containers:
        raise InputError(f"{source}: holds neither a zip nor an unpacked {top} folder")
    return containers


def _folder_files(folder: Path, _top: str) -> Iterator[tuple[str, File]]:
    def unreadable(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})")

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        for name in folders + names:
            path = Path(parent, name)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                raise InputError(f"{path}: a link; allowed: plain files and folders")
            if stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{path}: not a plain file")
            _check_size(str(path), status.st_size)
            entry = path.relative_to(folder).as_posix()
            yield entry, File(folder, entry)


def _zip_files(path: Path, top: str) -> Iterator[tuple[str, File]]:
    archive = _open_zip(path)
    for info in archive.infolist():
        where = f"{path}: {info.filename!r}"
        parts = PurePosixPath(info.filename).parts
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.filename.startswith("/") or ".." in parts or "\\" in info.filename:
            raise InputError(f"{where}: an absolute or upward path; not a data set's zip")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InputError(f"{where}: a link or device; allowed: plain files and folders")
        if info.flag_bits & 1:
            raise InputError(f"{where}: encrypted")
        if info.filename.lower().endswith(".zip"):
            raise InputError(f"{where}: a zip inside a zip: unpack the outer one first")
        _check_size(where, info.file_size)
        if info.is_dir():
            continue
        if parts[0] != top:
            raise InputError(f"{where}: foreign: everything must lie in {top}/")
        yield "/".join(parts[1:]), File(path, info.filename, archive, info.CRC)


def _check_size(where: str, size: int) -> None:
    if size > MAX_BYTES:
        raise InputError(f"{where}: {size:,} bytes unpacked; allowed: at most {MAX_BYTES:,}")


def _check_agreement(first: File, second: File) -> None:
    sums = [zlib.crc32(f.read()) if f.crc32 is None else f.crc32 for f in (first, second)]
    if sums[0] != sums[1]:
        raise InputError(f"{first} and {second} disagree: give only one of them")


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except _READ_ERRORS as error:
        raise InputError(f"{path}: not a whole zip file ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
