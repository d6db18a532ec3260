"""Cards: YAML files that say what a thing of the user's own is, one thing a file."""

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from nfe.common import strict_yaml
from nfe.common.errors import InputError


class _Named(Protocol):
    @property
    def name(self) -> str:
        """The name used in configurations."""


Card = TypeVar("Card", bound=_Named)


def read_card(path: Path, adapter: TypeAdapter[Card]) -> Card:
    """Read a card, which is named as its file is.

    Raises:
        InputError: it is no such card; the message names the file.
    """
    values = strict_yaml.load(path)
    try:
        card = adapter.validate_python(values)
    except ValidationError as error:
        # A key that is not known tells more than the one that is missing for it.
        first = max(error.errors(), key=lambda one: one["type"] == "unexpected_keyword_argument")
        where = ".".join(map(str, first["loc"])) or "the card"
        raise InputError(f"{path}: {where}: {first['msg'].lower()}") from None
    if card.name != path.stem:
        raise InputError(f"{path}: name is {card.name!r}: allowed: {path.stem!r}, the file's own")
    return card


def unless_changed(read: Callable[[Path], Card]) -> Callable[[Path], Card]:
    """Let a file be read again only where it has changed: a plan asks for one thousands of times.

    Raises:
        InputError: there is no such file.
    """

    @lru_cache(maxsize=64)
    def remembered(path: Path, _changed: int, _size: int) -> Card:
        return read(path)

    @wraps(read)
    def asked(path: Path) -> Card:
        try:
            status = path.stat()
        except OSError:
            raise InputError(f"{path}: no such file") from None
        return remembered(path.absolute(), status.st_mtime_ns, status.st_size)

    return asked
