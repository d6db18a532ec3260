"""The manifest of a released suite: which files, byte for byte, and where they came from."""

import re
from pathlib import Path
from typing import Any

from nfe.common.errors import InputError
from nfe.common.files import checksum, read_json

NAME = "manifest.json"
PAGE = "index.html"
_STORES = ("cache", "remote")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def order(version: str) -> tuple[int, ...]:
    """Return what sorts versions.

    Raises:
        InputError: it is not of the form 1.2.3.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        raise InputError(f"version {version!r}: allowed: three numbers, such as 1.0.0")
    return tuple(int(part) for part in match.groups())


def releases(results: Path) -> list[str]:
    """Return the released versions of a suite, oldest first."""
    found = (folder.parent.name for folder in results.glob(f"releases/*/{NAME}"))
    return sorted(found, key=order)


def root(results: Path) -> Path:
    """Return the folder in which results/, figures/ and artifacts/ stand side by side."""
    return results.resolve().parents[1]


def figure_folder(results: Path) -> Path:
    """Return the folder of a suite's figures."""
    return root(results) / "figures" / results.resolve().name


def _inside(folder: Path) -> list[Path]:
    """Return the files of a folder; hidden ones are nobody's results."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(
        p for p in paths if not any(n.startswith(".") for n in p.relative_to(folder).parts)
    )


def files(results: Path) -> dict[str, str]:
    """Return the SHA-256 of each of a suite's results and figures, by path below the root."""
    base, suite = root(results), results.resolve().name
    paths = [*_inside(base / "results" / suite), *_inside(base / "figures" / suite)]
    frozen = base / "results" / suite / "releases"
    return {
        path.relative_to(base).as_posix(): checksum(path)
        for path in paths
        if not path.is_relative_to(frozen)
    }


def artifacts(results: Path) -> dict[str, dict[str, Any]]:
    """Return size, SHA-256 and MD5 (the name under which DVC keeps it) of each artifact."""
    base = root(results)
    return {
        path.relative_to(base).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": checksum(path),
            "md5": checksum(path, "md5"),
        }
        for path in _inside(base / "artifacts" / results.resolve().name)
    }


def latest_files(results: Path) -> dict[str, str] | None:
    """Return the SHA-256 of each file of the latest release; None where there is none."""
    versions = releases(results)
    if not versions:
        return None
    frozen: dict[str, str] = read_json(results / "releases" / versions[-1] / NAME)["files"]
    return frozen


def differences(results: Path) -> tuple[str | None, list[str]]:
    """Compare a results folder with its latest release.

    Returns:
        The version, or None where there is no release, and a line on each file that differs;
        an artifact that is not at hand is no difference.
    """
    versions = releases(results)
    if not versions:
        return None, []
    version, base = versions[-1], root(results)
    frozen = read_json(results / "releases" / version / NAME)
    found = files(results)
    problems = []
    for path, sha256 in frozen["files"].items():
        if path not in found:
            problems.append(f"{path}: missing; release {version} has it")
        elif found[path] != sha256:
            problems.append(f"{path}: not the file of release {version}")
    # A page that came after the release is one more view of what was released.
    known = {*frozen["files"], f"results/{results.resolve().name}/{PAGE}"}
    problems += [f"{p}: not in release {version}" for p in found if p not in known]
    for path, record in frozen["artifacts"].items():
        if (base / path).exists() and checksum(base / path) != record["sha256"]:
            problems.append(f"{path}: not the file of release {version}")
        problems += _stored(base, path, record["md5"])
    return version, problems


def _stored(base: Path, path: str, md5: str) -> list[str]:
    """Check DVC's copies of an artifact, in the cache and in the remote of the repository."""
    copies = (base / ".dvc" / at / "files" / "md5" / md5[:2] / md5[2:] for at in _STORES)
    return [
        f"{copy.relative_to(base)}: altered; it should be {path}"
        for copy in copies
        if copy.exists() and checksum(copy, "md5") != md5
    ]
