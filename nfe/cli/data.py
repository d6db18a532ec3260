"""nfe-bench data: get, prepare and check the images."""

import argparse
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from nfe.common.errors import InputError, Interrupted
from nfe.data.prepared import CORRUPTED, DEFAULT_ROOT


def fetch(arguments: argparse.Namespace) -> int:
    """Download a data set's published files; an interrupted download continues."""
    from nfe.data.prepare import fetch

    for path in fetch(arguments.name, arguments.root):
        print(f"{path}: downloaded and checked", flush=True)
    return 0


def prepare(arguments: argparse.Namespace) -> int:
    """Make official files or images of your own into arrays; NAME-c: a set's corruptions."""
    signal.signal(signal.SIGTERM, _stop)
    for line in _own_lines(arguments) if _is_own(arguments) else _official_lines(arguments):
        print(line, flush=True)
    return 0


def _is_own(arguments: argparse.Namespace) -> bool:
    """Return whether a name is of a data set of one's own, or, with a source, to become one."""
    from nfe import data as datasets

    name = arguments.name
    if not datasets.is_own(name) or name.endswith(CORRUPTED):
        return False
    return name in datasets.names() or arguments.source is not None


def _official_lines(arguments: argparse.Namespace) -> Iterator[str]:
    from nfe.data.prepare import prepare

    for option, default in _OWN_DEFAULTS.items():
        if getattr(arguments, option) != default:
            raise InputError(
                f"--{option.replace('_', '-')} is for data sets of your own, not for "
                f"{arguments.name}"
            )
    return prepare(arguments.name, arguments.source, arguments.root, arguments.resolution)


def _own_lines(arguments: argparse.Namespace) -> Iterator[str]:
    from nfe.data.own.dividing import Rule
    from nfe.data.own.prepare import Wishes, prepare
    from nfe.method.settings import method_names

    name, source, resolution = arguments.name, arguments.source, arguments.resolution
    if source is None or resolution is None:
        raise InputError(
            f"{name} is a data set of your own: nfe-bench data prepare {name} --source PATH "
            "--resolution PIXELS"
        )
    if name in method_names():
        raise InputError(f"data set name {name!r}: allowed: a name that no method has")
    rule = Rule(arguments.test_share, arguments.split_seed, not arguments.not_stratified)
    wishes = Wishes(
        resolution, rule, not arguments.no_flip, arguments.skip_corrupt, arguments.licence
    )
    return prepare(name, source, arguments.root, wishes)


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
                "(default: what fetch downloaded); of your own: a folder of image files, a .csv, "
                "a .npz, or a folder of the datasets library",
            )
            _add_own_options(parser)


# What prepare takes for data sets of one's own alone.
_OWN_DEFAULTS = {
    "test_share": None,
    "split_seed": 0,
    "not_stratified": False,
    "no_flip": False,
    "skip_corrupt": False,
    "licence": "not stated",
}


def _add_own_options(parser: argparse.ArgumentParser) -> None:
    own = parser.add_argument_group("data sets of your own (docs/own-data.md)")
    own.set_defaults(**_OWN_DEFAULTS)
    own.add_argument("--test-share", type=float, metavar="SHARE", help="draw the test images")
    own.add_argument("--split-seed", type=int, metavar="N", help="under this seed (default: 0)")
    own.add_argument(
        "--not-stratified", action="store_true", help="of all images, not of each class"
    )
    own.add_argument("--no-flip", action="store_true", help="a mirrored image would be wrong")
    own.add_argument("--skip-corrupt", action="store_true", help="leave out unreadable images")
    own.add_argument("--licence", metavar="TEXT", help="the images' terms, for the card")
