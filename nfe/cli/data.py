"""nfe-bench data: get, prepare and check the images."""

import argparse
import signal
from pathlib import Path
from types import FrameType

from nfe.common.errors import Interrupted
from nfe.data.prepared import DEFAULT_ROOT


def fetch(arguments: argparse.Namespace) -> int:
    """Download a data set's published files; an interrupted download continues."""
    from nfe.data.prepare import fetch

    for path in fetch(arguments.name, arguments.root):
        print(f"{path}: downloaded and checked", flush=True)
    return 0


def prepare(arguments: argparse.Namespace) -> int:
    """Make a data set's official files into arrays that load at once; NAME-c: its corruptions."""
    from nfe.data.prepare import prepare

    signal.signal(signal.SIGTERM, _stop)
    for line in prepare(arguments.name, arguments.source, arguments.root, arguments.resolution):
        print(line, flush=True)
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Check prepared arrays against their checksums."""
    from nfe.data.prepare import check

    for line in check(arguments.name, arguments.root, arguments.resolution):
        print(line, flush=True)
    return 0


def card(arguments: argparse.Namespace) -> int:
    """Write a data set's facts, content hash included, as JSON; this needs no data."""
    from nfe.data.prepare import write_cards

    for path in write_cards(arguments.name, arguments.output, arguments.resolution):
        print(path)
    return 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted("stopped; nothing is left half-made: run the same command again")


def add_data_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``data`` with its three verbs to a parser's commands."""
    text = (__doc__ or "").partition(": ")[2]
    data = subparsers.add_parser("data", help=text, description=text)
    verbs = data.add_subparsers(required=True, metavar="VERB")
    for handler in (fetch, prepare, check, card):
        text = (handler.__doc__ or "").splitlines()[0]
        parser = verbs.add_parser(handler.__name__, help=text, description=text)
        parser.set_defaults(handler=handler)
        parser.add_argument("name", metavar="NAME", help="see nfe-bench list datasets")
        if handler is card:
            parser.add_argument("--output", type=Path, required=True, help="folder of the files")
        else:
            parser.add_argument(
                "--root",
                type=Path,
                default=DEFAULT_ROOT,
                help="folder of data (default: %(default)s)",
            )
        if handler is not fetch:
            parser.add_argument("--resolution", type=int, help="only this variant (default: all)")
        if handler is prepare:
            parser.add_argument(
                "--source",
                type=Path,
                help="official files: an archive, a folder of archives, or the unpacked folder "
                "(default: what fetch downloaded)",
            )
