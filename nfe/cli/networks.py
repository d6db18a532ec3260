"""nfe-bench new architecture: the card of a network of a library, or of your own."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from nfe.cli.pairs import pairs
from nfe.common import strict_yaml
from nfe.common.errors import InputError
from nfe.common.files import check_free, make_directory

if TYPE_CHECKING:
    from nfe.backbones.card import NetworkCard

_HEADS = {"drawn": "left out: it is drawn anew", "loaded": "too"}


def architecture(arguments: argparse.Namespace) -> int:
    """Write config/architectures/NAME.yaml: a network of a library or of your own, in stages."""
    from nfe.backbones import card as cards

    _check_name(arguments.name)
    path = cards.place(arguments.name)
    check_free(path)
    card = _card(arguments)
    weights = _weights(arguments, card)
    make_directory(path.parent)
    cards.write(path, card)
    print(
        f"{path}: {card.library[:40] or 'of the suite'}, stages {' '.join(card.stages)}, "
        f"{weights:,} weights with {arguments.classes} classes"
    )
    if card.pretrained is not None:
        print(f"{card.pretrained}: loaded, its classifier {_HEADS[card.head]}")
    return 0


def fits(arguments: argparse.Namespace) -> int:
    """Try every method with networks, on random images, and print which work, as Markdown."""
    from nfe.backbones import architecture as named
    from nfe.engine.fits import Size, markdown
    from nfe.method.settings import method_names

    size = Size(arguments.channels, arguments.classes, arguments.resolution)
    found = [named(name) for name in arguments.architecture]
    print(markdown(arguments.methods or method_names(), found, size))
    return 0


def add_fits_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``fits`` takes."""
    parser.add_argument("architecture", nargs="+", help="see nfe-bench list architectures")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="these alone")
    _add_size(parser, 3, 5, 32)


def _check_name(name: str) -> None:
    from nfe.backbones import is_own

    if not re.fullmatch(r"[a-z0-9]+([-.][a-z0-9]+)*", name) or not is_own(name):
        raise InputError(
            f"architecture name {name!r}: allowed: small letters, digits, and - or . between "
            f"them; no name of the suite's own"
        )


def _card(arguments: argparse.Namespace) -> "NetworkCard":
    from nfe.backbones.building import describe
    from nfe.backbones.card import NetworkCard
    from nfe.backbones.description import digest

    weights = arguments.pretrained
    if arguments.keep_head and weights is None:
        raise InputError("--keep-head: allowed: with --pretrained")
    settings = {key: strict_yaml.loads(text) for key, text in pairs(arguments.set).items()}
    size = (arguments.channels, arguments.classes, arguments.resolution)
    found = describe(arguments.network, settings, arguments.stages, size)
    return NetworkCard(
        name=arguments.name,
        network=found.network,
        library=found.library,
        stages=found.stages,
        settings=settings,
        pretrained=None if weights is None else str(weights),
        sha256=None if weights is None else digest(weights),
        head="loaded" if arguments.keep_head else "drawn",
    )


def _weights(arguments: argparse.Namespace, card: "NetworkCard") -> int:
    """Build the network once, and return how many weights it has."""
    from nfe.backbones.building import build
    from nfe.backbones.structure import Structure

    made = build(
        card.name,
        card.description(),
        arguments.pretrained,
        channels=arguments.channels,
        classes=arguments.classes,
        resolution=arguments.resolution,
        structure=Structure(),
    )
    return sum(parameter.numel() for parameter in made.parameters())


def add_architecture_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``new architecture`` takes besides the name."""
    parser.add_argument(
        "--network",
        required=True,
        help="torchvision:NAME, timm:NAME, package.module:function, or one of the suite's own",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="keywords that it is made with",
    )
    parser.add_argument(
        "--stages",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules that begin a stage, the last also FIRST..LAST (default: looked for)",
    )
    parser.add_argument("--pretrained", type=Path, help="safetensors, or a saved state dict")
    parser.add_argument("--keep-head", action="store_true", help="load the classifier, too")
    _add_size(parser, 3, 10, 32)


def _add_size(parser: argparse.ArgumentParser, *defaults: int) -> None:
    trial = parser.add_argument_group("images and classes to try it on")
    for option, default in zip(("channels", "classes", "resolution"), defaults, strict=True):
        trial.add_argument(
            f"--{option}", type=int, default=default, metavar="N", help="default: %(default)s"
        )
