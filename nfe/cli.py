"""nfe-bench: the command line."""

import argparse
import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfe.artifacts_cli import add_artifact_commands
from nfe.data_cli import add_data_commands
from nfe.engine.errors import CollapseError, DivergenceError, InputError, Interrupted

if TYPE_CHECKING:
    from nfe.engine.execution import Place, Workplace
    from nfe.engine.run import Run
    from nfe.engine.suite import Suite

# Exit statuses beyond 0 (done) and 2 (input that cannot be used).
FAILED = 1
INTERRUPTED = 75


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return ``key=value`` arguments as a dictionary."""
    pairs = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InputError(f"{text!r}: allowed: key=value")
        pairs[key] = value
    return pairs


def _specified(arguments: argparse.Namespace, **changes: Any) -> "Run":
    from nfe.engine.precision import AUTO, default_device, fastest, usable_threads
    from nfe.engine.run import specify

    if arguments.precision == AUTO:
        arguments.precision = fastest(default_device())
        logging.info("precision auto: %s", arguments.precision)
    if arguments.threads == AUTO:
        arguments.threads = str(usable_threads())
        logging.info("threads auto: %s", arguments.threads)
    values = {
        "dataset": arguments.dataset,
        "architecture_name": arguments.architecture,
        "method": arguments.method,
        "settings": _pairs(arguments.set),
        "recipe": _pairs(arguments.recipe),
        "precision": arguments.precision,
        "threads": arguments.threads,
        **changes,
    }
    return specify(**values)


def train(arguments: argparse.Namespace) -> int:
    """Make one run by hand."""
    from nfe.engine.execution import Place, Workplace, execute

    run = _specified(
        arguments,
        epochs=arguments.epochs,
        seed=arguments.seed,
        resolution=arguments.resolution,
        num_classes=arguments.num_classes,
        images_per_class=arguments.images_per_class,
        class_seed=arguments.class_seed,
        test_images=arguments.test_images,
        protocol=arguments.protocol,
        audit=arguments.audit,
    )
    output = arguments.output
    artifacts = arguments.artifacts or output
    place = Place(output, artifacts, output / "members", artifacts / "members")
    execute(
        run,
        place,
        Workplace(data_root=arguments.data_root, checkpoint_seconds=arguments.checkpoint_seconds),
    )
    return _print_result(output)


def _print_result(output: Path) -> int:
    from nfe.engine.files import read_json

    metrics = read_json(output / "metrics.json")
    if metrics["status"] == "collapsed":
        raise CollapseError(metrics["reason"])
    print(
        f"accuracy {metrics['accuracy']:.2f} %, NLL {metrics['nll']:.4f}, "
        f"ECE {metrics['ece']:.4f}, non-zero MACs {metrics['macs_nonzero']:,}  ({output})"
    )
    return 0


def _place(root: Path, suite: "Suite", run: "Run") -> "Place":
    from nfe.engine.execution import Place

    runs, artifacts = root / "results" / suite.name / "runs", root / "artifacts" / suite.name
    return Place(runs / run.name, artifacts / run.name, runs, artifacts)


def _workplace(arguments: argparse.Namespace, suite: "Suite") -> "Workplace":
    from nfe.engine.execution import Workplace

    logging.info(
        "on %s, GPUs %s",
        os.environ.get("SLURMD_NODENAME", platform.node()),
        os.environ.get("CUDA_VISIBLE_DEVICES", "not restricted") or "none",
    )
    return Workplace(
        data_root=arguments.data_root,
        checkpoint_seconds=suite.checkpoint_seconds,
        scratch=arguments.scratch,
    )


def run(arguments: argparse.Namespace) -> int:
    """Make some runs of a suite, one after the other; a run that fails leaves the others be."""
    from nfe.engine.execution import attempt
    from nfe.engine.suite import load_plan

    suite = load_plan(arguments.plan)
    workplace = _workplace(arguments, suite)
    runs = [suite.run(name) for name in arguments.run]
    made = [attempt(chosen, _place(arguments.root, suite, chosen), workplace) for chosen in runs]
    return 0 if all(made) else FAILED


def latency(arguments: argparse.Namespace) -> int:
    """Measure the latency of every network of a suite, or of some groups."""
    from nfe.engine.latency import measure
    from nfe.engine.suite import load_plan

    suite = load_plan(arguments.plan)
    workplace = _workplace(arguments, suite)
    wanted = set(arguments.group or (group for p in suite.runs for group in p.groups))
    for planned in (p for p in suite.runs if wanted & set(p.groups)):
        measure(planned.run, arguments.root / "results" / suite.name / "latency", workplace)
    return 0


def tables(arguments: argparse.Namespace) -> int:
    """Write a suite's tables."""
    from nfe.engine.suite import expand, load_plan, read_config
    from nfe.report import tables as report

    plan, config = arguments.plan, arguments.config
    suite = load_plan(plan) if plan else expand(read_config(config))
    report.write(suite, arguments.root / "results" / suite.name, arguments.partial)
    return 0


def figure(arguments: argparse.Namespace) -> int:
    """Draw one figure of a suite."""
    from nfe.report.figures import draw

    draw(arguments.name, arguments.runs, arguments.output)
    return 0


def page(arguments: argparse.Namespace) -> int:
    """Write a suite's results as one self-contained page."""
    from nfe.report.page import write

    print(write(arguments.results))
    return 0


def diff(arguments: argparse.Namespace) -> int:
    """Print what differs between two results folders."""
    from nfe.report.difference import compare

    if not (arguments.released / "runs.csv").exists():
        print(f"{arguments.released}: nothing released to compare with")
        return 0
    print(compare(arguments.released, arguments.made))
    return 0


def tune(arguments: argparse.Namespace) -> int:
    """Choose each method's recipe and settings from finished tuning suites, on held-out images."""
    from nfe.engine.errors import InputError
    from nfe.report import tuning

    runs, config = arguments.runs, arguments.config
    if arguments.output:
        told = tuning.write(runs, arguments.output, config)
    elif config is None:
        raise InputError("tune --finalists: allowed: with --config, the tuning suite's file")
    else:
        told = tuning.write_finalists(runs, config, arguments.finalists)
    for line in told:
        print(line)
    return 0


def plan(arguments: argparse.Namespace) -> int:
    """Print what a suite would run and what it would cost."""
    from nfe import planning
    from nfe.engine.suite import expand, read_config

    config = read_config(arguments.config)
    suite = expand(config)
    root = Path(arguments.root or config.get("output", "."))
    found = planning.costs(
        suite, root / "results" / suite.name, arguments.gpu, config.get("gpus", 0)
    )
    if not arguments.summary:
        for planned in suite.runs:
            print(f"{planned.run.name}  [{', '.join(planned.groups)}]")
    print("\n".join(planning.lines(suite, found)))
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Tell what this machine or cluster lacks for a suite."""
    from nfe.doctor import examine
    from nfe.engine.suite import read_config

    missing = 0
    for finding in examine(read_config(arguments.config)):
        print(f"{'ok' if finding.good else 'MISSING':8}{finding.what:10} {finding.said}")
        missing += not finding.good
    return FAILED if missing else 0


def list_names(arguments: argparse.Namespace) -> int:
    """Print the names that configurations may use."""
    from nfe import pruning
    from nfe.engine import backbones, datasets
    from nfe.engine.method import method_names

    found = {
        "methods": method_names,
        "datasets": datasets.names,
        "architectures": backbones.names,
        "pruning": pruning.names,
    }[arguments.what]()
    print(json.dumps(found) if arguments.json else "\n".join(found))
    return 0


def benchmark(arguments: argparse.Namespace) -> int:
    """Print the training throughput of a method on this machine."""
    from nfe.engine.throughput import measure

    result = measure(_specified(arguments, epochs=1), arguments.batch, arguments.image)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['images_per_second']:.1f} images/s (median of {result['rounds']} rounds), "
            f"peak memory {result['peak_memory_bytes'] / 2**20:.0f} MiB, {result['device']}"
        )
    return 0


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
    add_data_commands(commands)
    add_artifact_commands(commands)

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

    p = command("run", run)
    _job_options(p)
    p.add_argument("--run", nargs="+", required=True, metavar="RUN")

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
    p.add_argument("name")
    p.add_argument("--runs", type=Path, required=True, help="runs.csv")
    p.add_argument("--output", type=Path, required=True)

    command("page", page).add_argument("results", type=Path, help="results/SUITE")

    p = command("diff", diff)
    p.add_argument("released", type=Path)
    p.add_argument("made", type=Path)

    _tune_options(command("tune", tune))
    _plan_options(command("plan", plan))
    _config_option(command("doctor", doctor))

    p = command("list", list_names)
    p.add_argument("what", choices=["methods", "datasets", "architectures", "pruning"])
    p.add_argument("--json", action="store_true")

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
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        if arguments.gpus:
            from nfe.engine.precision import require_gpu

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
