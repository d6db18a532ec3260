"""nfe-bench train, run, latency, benchmark: what makes and times runs."""

import argparse
import dataclasses
import json
import logging
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfe.common.errors import CollapseError, InputError

if TYPE_CHECKING:
    from nfe.engine.runner import Worker
    from nfe.suite.expansion import Suite
    from nfe.suite.run import Run

from nfe.cli.beside import attempt_all
from nfe.cli.pairs import pairs
from nfe.cli.status import FAILED


def _specified(arguments: argparse.Namespace, **changes: Any) -> "Run":
    from nfe.common.modes import AUTO
    from nfe.common.precision import default_device, fastest, usable_threads
    from nfe.suite.run import specify

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
        "settings": pairs(arguments.set),
        "recipe": pairs(arguments.recipe),
        "precision": arguments.precision,
        "threads": arguments.threads,
        **changes,
    }
    return specify(**values)


def train(arguments: argparse.Namespace) -> int:
    """Make one run by hand."""
    from nfe.engine.runner import RunFolders, Worker, execute

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
    folders = RunFolders(output, artifacts, output / "members", artifacts / "members")
    execute(
        run,
        folders,
        Worker(data_root=arguments.data_root, checkpoint_seconds=arguments.checkpoint_seconds),
    )
    return _print_result(output)


def _print_result(output: Path) -> int:
    from nfe.common.files import read_json

    metrics = read_json(output / "metrics.json")
    if metrics["status"] == "collapsed":
        raise CollapseError(metrics["reason"])
    print(
        f"accuracy {metrics['accuracy']:.2f} %, NLL {metrics['nll']:.4f}, "
        f"ECE {metrics['ece']:.4f}, non-zero MACs {metrics['macs_nonzero']:,}  ({output})"
    )
    return 0


def _worker(arguments: argparse.Namespace, suite: "Suite") -> "Worker":
    from nfe.engine.runner import Worker

    logging.info(
        "on %s, GPUs %s",
        os.environ.get("SLURMD_NODENAME", platform.node()),
        os.environ.get("CUDA_VISIBLE_DEVICES", "not restricted") or "none",
    )
    return Worker(
        data_root=arguments.data_root,
        checkpoint_seconds=suite.checkpoint_seconds,
        scratch=arguments.scratch,
    )


def run(arguments: argparse.Namespace) -> int:
    """Make some runs of a suite, one or several at a time; one that fails leaves the others be."""
    from nfe.engine.runner import RunFolders, attempt
    from nfe.suite.expansion import load_plan

    if arguments.workers < 1:
        raise InputError(f"workers is {arguments.workers}: allowed: from 1")
    if not 1 <= arguments.devices <= arguments.workers:
        allowed = f"from 1 to workers ({arguments.workers})"
        raise InputError(f"devices is {arguments.devices}: allowed: {allowed}")
    suite = load_plan(arguments.plan)
    worker = dataclasses.replace(_worker(arguments, suite), trains=not arguments.trained)
    root, name = arguments.root, suite.name
    jobs = [(one, RunFolders.under(root, name, one)) for one in _runs(arguments, suite)]
    # What combines others waits for them.
    trained = [job for job in jobs if not job[0].members()]
    good = True
    if min(arguments.workers, len(trained)) > 1:
        good = attempt_all(trained, worker, arguments.workers, arguments.devices)
        jobs = [job for job in jobs if job[0].members()]
    return FAILED if [job for job in jobs if not attempt(*job, worker)] or not good else 0


def _runs(arguments: argparse.Namespace, suite: "Suite") -> list["Run"]:
    """Return the runs that are named, each once."""
    return [suite.run(name) for name in dict.fromkeys(arguments.run)]


def latency(arguments: argparse.Namespace) -> int:
    """Measure the latency of every network of a suite, or of some groups."""
    from nfe.engine.latency import measure
    from nfe.suite.expansion import load_plan

    suite = load_plan(arguments.plan)
    worker = _worker(arguments, suite)
    wanted = set(arguments.group or (group for p in suite.runs for group in p.groups))
    runs = [planned.run for planned in suite.runs if wanted & set(planned.groups)]
    measure(runs, arguments.root / "results" / suite.name / "latency", worker)
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
