"""Get, prepare and check a data set: what ``nfe-bench data`` does."""

from collections.abc import Iterator
from pathlib import Path

from nfe.common.errors import InputError, unknown
from nfe.common.files import make_directory, write_json
from nfe.data import dataset, load, names, prepared
from nfe.data.base import Card
from nfe.data.download import download
from nfe.data.prepared import CORRUPTED


def fetch(name: str, root: Path) -> list[Path]:
    """Download a data set's published files, or what is missing of them.

    Returns:
        The paths of the files, below ``root/downloads``.

    Raises:
        InputError: the data set has no published files, or see ``download``.
    """
    _check_name(name)
    if name.endswith(CORRUPTED):
        raise InputError(f"{name} is made from prepared images: nfe-bench data prepare {name}")
    archives = dataset(name).archives
    if not archives:
        shipped = dataset(name).open is None
        raise InputError(
            f"{name} comes with an installed package: nothing to download"
            if shipped
            else f"{name} has no published files: nothing to download"
        )
    return [download(archive, _downloads(name, root)) for archive in archives]


def prepare(
    name: str, source: Path | None, root: Path, resolution: int | None = None
) -> Iterator[str]:
    """Prepare a data set or its corruptions, one variant after another, and yield a line on each.

    A variant that is prepared and sound is left alone.

    Args:
        name: a data set, or ``NAME-c`` for the corrupted test images of a prepared one.
        source: official files (default: what ``fetch`` downloaded).
        root: folder of prepared data.
        resolution: the only variant to prepare (default: every one).

    Raises:
        InputError: the source is not the official data, or the folder cannot be written.
    """
    for card in _cards(name, resolution):
        target, identity = _place(name, card, root)
        with prepared.making(target, identity) as writer:
            if writer is not None:
                _write(writer, name, card, source, root)
        yield f"{target}: {'prepared' if writer else 'prepared already'}"


def _write(writer: prepared.Writer, name: str, card: Card, source: Path | None, root: Path) -> None:
    if name.endswith(CORRUPTED):
        from nfe.data import corruptions

        corruptions.write(writer, load(card, root))
        return
    opener = dataset(card.name).open
    assert opener is not None  # _cards() refuses a data set that has nothing to prepare.
    source = source or _downloads(name, root)
    if not source.exists():
        raise InputError(
            f"{source}: no such file or folder: name one with --source, or download: "
            f"nfe-bench data fetch {card.name}"
        )
    with opener(card, source, writer.scratch) as official:
        prepared.write_splits(writer, card, official)


def check(name: str, root: Path, resolution: int | None = None) -> Iterator[str]:
    """Check prepared files against their checksums and yield a line on each variant.

    Raises:
        InputError: nothing is prepared, or a file is missing or altered.
    """
    places = [_place(name, card, root) for card in _cards(name, resolution)]
    found = [place for place in places if place[0].exists()]
    if not found:
        raise InputError(f"{places[0][0]}: {name} is not prepared there")
    for target, identity in found:
        total = prepared.check(target, identity)
        yield f"{target}: sound, {total / 2**20:,.0f} MiB, {identity['content_hash']}"


def write_cards(name: str, folder: Path, resolution: int | None = None) -> Iterator[Path]:
    """Write the card of each variant as ``NAME-RESOLUTION.json`` and yield its path.

    Raises:
        InputError: there is no such data set or variant, or the folder cannot be written.
    """
    cards = [c for c in dataset(name).cards if resolution in (None, c.resolution)]
    if not cards:
        raise _no_variant(name, resolution)
    make_directory(folder)
    for card in cards:
        path = folder / f"{name}-{card.resolution}.json"
        write_json(path, card.record())
        yield path


def _no_variant(name: str, resolution: int | None) -> InputError:
    allowed = ", ".join(str(card.resolution) for card in dataset(name).cards)
    return InputError(f"data set {name!r} has no resolution {resolution}: allowed: {allowed}")


def _check_name(name: str) -> None:
    known = [*names(), *(base + CORRUPTED for base in names())]
    if name not in known:
        raise unknown("data set", name, known)


def _cards(name: str, resolution: int | None) -> list[Card]:
    _check_name(name)
    base = dataset(name.removesuffix(CORRUPTED))
    if base.open is None and not name.endswith(CORRUPTED):
        raise InputError(f"{name} comes with an installed package: nothing to prepare or check")
    cards = [card for card in base.cards if resolution in (None, card.resolution)]
    if not cards:
        raise _no_variant(base.name, resolution)
    return cards


def _place(name: str, card: Card, root: Path) -> tuple[Path, dict[str, object]]:
    if name.endswith(CORRUPTED):
        from nfe.data import corruptions

        return corruptions.folder(card, root), corruptions.identity(card)
    return prepared.folder(card, root), prepared.identity(card)


def _downloads(name: str, root: Path) -> Path:
    return root / "downloads" / name
