"""A CSV file with a header ``path,label`` or ``path,label,split``, one line an image."""

import csv
from functools import partial
from pathlib import Path

from PIL import Image

from nfe.common.errors import InputError
from nfe.data import image_files
from nfe.data.image_files import Tell
from nfe.data.own.found import UNDIVIDED, Found, Item, numbered, split_called, text

COLUMNS = (["path", "label"], ["path", "label", "split"])


def find(source: Path) -> Found:
    """Return the images of a table, in its order; paths are relative to the table's folder.

    Raises:
        InputError: the header is another, a cell is empty, a path stands twice, a split has no
            such name, or labels are numbers with a gap.
    """
    rows = _rows(source)
    items = tuple(_item(source, line, row) for line, row in rows)
    if not items:
        raise InputError(f"{source}: no images: allowed: one line or more below the header")
    seen: dict[str, int] = {}
    for (line, _), item in zip(rows, items, strict=True):
        if item.name in seen:
            raise InputError(
                f"{source}, line {line}: {item.name} stands in line {seen[item.name]} already"
            )
        seen[item.name] = line
    return Found(str(source), "CSV", numbered([i.label for i in items], str(source)), items)


def _rows(source: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with open(source, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            if header not in COLUMNS:
                raise InputError(
                    f"{source}: header {','.join(header)!r}: allowed: path,label or "
                    "path,label,split"
                )
            rows = []
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header) or not all(cell.strip() for cell in cells):
                    raise InputError(
                        f"{source}, line {reader.line_num}: {','.join(cells)!r}: allowed: "
                        f"{','.join(header)}, none empty"
                    )
                stripped = (cell.strip() for cell in cells)
                rows.append((reader.line_num, dict(zip(header, stripped, strict=True))))
            return rows
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{source}: no CSV file in UTF-8 ({error})") from None


def _item(source: Path, line: int, row: dict[str, str]) -> Item:
    path = source.parent / row["path"]
    split = row.get("split", UNDIVIDED)
    if split:
        split = split_called(split, f"{source}, line {line}")
    return Item(str(path), split, text(row["label"]), partial(_read, path))


def _read(path: Path, tell: Tell) -> Image.Image:
    return image_files.opened(path, "RGB", tell=tell)
