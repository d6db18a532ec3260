"""nfe-bench: the command line."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nfe.cli.artifacts import add_artifact_commands
from nfe.cli.data import add_data_commands
from nfe.cli.logs import log_to_stderr
from nfe.cli.networks import add_fits_options, fits
from nfe.cli.new import add_new_commands
from nfe.cli.planning import doctor, list_names, plan
from nfe.cli.results import diff, figure, page, tables, tune
from nfe.cli.runs import benchmark, latency, run, train
from nfe.cli.standing import status
from nfe.cli.status import FAILED, INTERRUPTED
from nfe.cli.workflow import snakefile
from nfe.common.errors import DivergenceError, InputError, Interrupted
from nfe.common.waiting import wait_briefly


def _common_run_options(
    parser: argparse.ArgumentParser, precision: str = "float32", threads: str = "1"
) -> None:
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the method",
    )
    parser.add_argument(
        "--recipe",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="lr, weight_decay, batch_size, …",
    )
    parser.add_argument("--precision", default=precision, help="auto: the fastest one here")
    parser.add_argument("--threads", default=threads, help="auto: every core")


def _subset_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num-classes", help="the first classes only")
    parser.add_argument("--images-per-class", help="the first training images of each class only")
    parser.add_argument("--class-seed", help="draw --num-classes classes, none of the first twenty")
    parser.add_argument(
        "--test-images",
        default="official",
        help="extended: also the training images that --images-per-class leaves out",
    )


def _suite_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", type=Path, required=True, help="the expanded suite")
    parser.add_argument("--root", type=Path, default=Path(), help="folder of results/, artifacts/")
    parser.add_argument("--data-root", type=Path)


def _job_options(parser: argparse.ArgumentParser) -> None:
    _suite_options(parser)
    parser.add_argument("--scratch", type=Path, help="folder on this machine to copy data to")


def _run_options(parser: argparse.ArgumentParser) -> None:
    _job_options(parser)
    parser.add_argument("--run", nargs="+", required=True, metavar="RUN")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="runs at a time")
    divided = "GPUs over which runs at a time are divided; each run uses one"
    parser.add_argument("--devices", type=int, default=1, metavar="N", help=divided)
    trained = "combine finished runs; train none in a lost one's place"
    parser.add_argument("--trained", action="store_true", help=trained)


def _throughput_options(parser: argparse.ArgumentParser) -> None:
    _common_run_options(parser, precision="auto", threads="auto")
    parser.add_argument("--dataset", default="digits", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--image", type=int, default=32, metavar="PIXELS")
    parser.add_argument("--json", action="store_true")


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=Path("config/quick.yaml"))


def _plan_options(parser: argparse.ArgumentParser) -> None:
    _config_option(parser)
    parser.add_argument("--gpu", metavar="NAME", help="on this GPU alone")
    parser.add_argument("--root", type=Path, help="folder of results/ (default: the suite's)")
    parser.add_argument("--summary", action="store_true", help="do not list the runs")


def _status_options(parser: argparse.ArgumentParser) -> None:
    _config_option(parser)
    parser.add_argument("--root", type=Path, help="folder of results/ (default: the suite's)")
    parser.add_argument(
        "--watch",
        type=int,
        nargs="?",
        const=30,
        metavar="SECONDS",
        help="look again every so many seconds (30) until no run is left",
    )


def _page_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("results", type=Path, help="results/SUITE")
    p.add_argument("--figures", action="store_true", help="draw the suite's figures/SUITE first")


def _tune_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--runs", type=Path, required=True, help="runs.csv of a stage of tuning")
    p.add_argument("--config", type=Path, help="the first stage's suite (none: a plain grid)")
    wanted = p.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--output", type=Path, help="write each method's choice to this YAML file")
    wanted.add_argument("--finalists", type=Path, help="write what is to be confirmed, instead")


def _parser_before_commands() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nfe-bench", description="A reproducible benchmark of low-cost ensembles."
    )
    refusal = "refuse to fall back to the CPU (N above 0)"
    parser.add_argument("--gpus", type=int, default=0, metavar="N", help=refusal)
    return parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _parser_before_commands()
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add_commands in (add_data_commands, add_artifact_commands, add_new_commands):
        add_commands(commands)

    def command(name: str, handler: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        text = (handler.__doc__ or "").splitlines()[0]
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(handler=handler)
        return added

    p = command("train", train)
    p.add_argument("--dataset", required=True)
    _common_run_options(p)
    p.add_argument("--epochs", help="epochs of the whole run")
    p.add_argument("--seed", default="0")
    p.add_argument("--output", type=Path, required=True)
    p.add_argument("--artifacts", type=Path, help="weights and predictions (default: OUTPUT)")
    p.add_argument("--data-root", type=Path)
    p.add_argument("--resolution", type=int)
    _subset_options(p)
    p.add_argument("--protocol", default="equal")
    p.add_argument("--audit", action="store_true", help="evaluate the test split every epoch")
    p.add_argument("--checkpoint-seconds", type=float, default=300.0)

    _run_options(command("run", run))

    p = command("latency", latency)
    _job_options(p)
    p.add_argument("--group", nargs="+", help="groups of the suite (default: all)")

    p = command("tables", tables)
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--plan", type=Path, help="the expanded suite")
    source.add_argument("--config", type=Path, help="the suite's configuration")
    p.add_argument("--root", type=Path, default=Path(), help="folder of results/")
    p.add_argument("--partial", action="store_true", help="leave out runs that are not finished")

    p = command("figure", figure)
    p.add_argument("names", nargs="*", help="figures (default: all that the suite has)")
    p.add_argument("--runs", type=Path, required=True, help="runs.csv")
    p.add_argument("--output", type=Path, required=True)

    _page_options(command("page", page))

    p = command("diff", diff)
    p.add_argument("released", type=Path)
    p.add_argument("made", type=Path)

    _tune_options(command("tune", tune))
    _plan_options(command("plan", plan))
    _config_option(command("doctor", doctor))
    _status_options(command("status", status))

    command("snakefile", snakefile)
    p = command("list", list_names)
    p.add_argument("what", choices=["methods", "datasets", "architectures", "pruning"])
    p.add_argument("--json", action="store_true")

    add_fits_options(command("fits", fits))
    _throughput_options(command("benchmark", benchmark))
    return parser


def _system_error(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe, such as head, has all that it wanted; nor can more be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    where = f"{error.filename}: " if error.filename else ""
    print(f"nfe-bench: error: {where}{error.strerror or error}", file=sys.stderr)
    return FAILED


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    wait_briefly()
    arguments = build_parser().parse_args(argv)
    log_to_stderr()
    try:
        if arguments.gpus:
            from nfe.common.precision import require_gpu

            require_gpu()
        return int(arguments.handler(arguments))
    except InputError as error:
        print(f"nfe-bench: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        return _system_error(error)
    except DivergenceError as error:
        print(f"nfe-bench: failed: {error}", file=sys.stderr)
        return FAILED
    except Interrupted as error:
        print(f"nfe-bench: {error}", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print("nfe-bench: interrupted", file=sys.stderr)
        return 130
