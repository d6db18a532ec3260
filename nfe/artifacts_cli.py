"""nfe-bench verify, release, predict: what can be done with finished runs."""

import argparse
from collections.abc import Callable
from pathlib import Path


def verify(arguments: argparse.Namespace) -> int:
    """Recompute tables, metrics and, with --deep, predictions; name what differs."""
    from nfe.report.verification import verify

    report = verify(arguments.results, arguments.deep, arguments.data_root)
    print("\n".join(report.lines()))
    return 1 if report.problems else 0


def release(arguments: argparse.Namespace) -> int:
    """Freeze a suite: manifest, model cards, citation data, what moved since the last version."""
    from nfe.report.release import release

    print("\n".join(release(arguments.suite, arguments.version)))
    return 0


def add_artifact_commands(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add verify, release and predict to a parser's commands."""

    def command(handler: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        text = (handler.__doc__ or "").splitlines()[0]
        parser = subparsers.add_parser(handler.__name__, help=text, description=text)
        parser.set_defaults(handler=handler)
        return parser

    parser = command(verify)
    parser.add_argument("results", type=Path, help="a suite's results folder: results/SUITE")
    parser.add_argument("--deep", action="store_true", help="recompute predictions from weights")
    parser.add_argument("--data-root", type=Path, help="folder of prepared data, for --deep")

    parser = command(release)
    parser.add_argument("suite")
    parser.add_argument("version", help="three numbers, such as 1.0.0")
