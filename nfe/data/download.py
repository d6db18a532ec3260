"""Downloads that continue where they stopped and are kept only when their checksum is right."""

import http.client
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nfe.common.errors import InputError
from nfe.common.files import alone, make_directory
from nfe.data.base import Archive
from nfe.data.torchvision_sets import verify

_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 30


def download(archive: Archive, folder: Path) -> Path:
    """Return the path of a published file, downloading what is missing of it.

    Raises:
        InputError: the server cannot be reached or stopped early (what came is kept and the
            next call continues it), or the file is not the published one (it is removed).
    """
    make_directory(folder)
    target = folder / archive.filename
    part = target.with_name(f"{target.name}.part")
    with alone(folder):
        if target.exists():
            verify(target, archive)
            return target
        try:
            _receive(archive.url, part)
        except (OSError, http.client.HTTPException) as error:
            have = part.stat().st_size if part.exists() else 0
            reason = getattr(error, "reason", None) or error
            raise InputError(
                f"{archive.url}: {reason}; {have:,} bytes are in {part}: run again to continue"
            ) from None
        try:
            verify(part, archive)
        except InputError:
            part.unlink(missing_ok=True)
            raise
        os.replace(part, target)
    return target


def _receive(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # The part is whole already: its checksum decides.
        raise
    with response:
        have = have if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        missing = response.length
        with open(part, "ab" if have else "wb") as file, _bar(part.stem, missing, have) as bar:
            while block := response.read(_BLOCK):
                file.write(block)
                bar.update(len(block))
    if missing is not None and part.stat().st_size < have + missing:
        raise http.client.IncompleteRead(b"", have + missing - part.stat().st_size)


def _bar(name: str, missing: int | None, have: int) -> "tqdm[Any]":
    return tqdm(
        desc=name,
        total=None if missing is None else have + missing,
        initial=have,
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    )
