"""nfe-bench plan, doctor, list: what could be run, and what it would take."""

import argparse
import json
from pathlib import Path

from nfe.cli.status import FAILED


def plan(arguments: argparse.Namespace) -> int:
    """Print what a suite would run and what it would cost."""
    from nfe.cluster import planning, site
    from nfe.suite.expansion import expand, read_config

    config = read_config(arguments.config)
    suite = expand(config)
    root = Path(arguments.root or config.get("output", "."))
    results, gpus = root / "results" / suite.name, config.get("gpus", 0)
    found = planning.costs(suite, results, arguments.gpu, gpus, site.load())
    if not arguments.summary:
        for planned in suite.runs:
            print(f"{planned.run.name}  [{', '.join(planned.groups)}]")
    print("\n".join(planning.lines(suite, found, gpus)))
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Tell what this machine or cluster lacks for a suite."""
    from nfe.cluster.doctor import examine
    from nfe.suite.expansion import read_config

    missing = 0
    for finding in examine(read_config(arguments.config)):
        print(f"{finding.verdict:8}{finding.what:10} {finding.said}", flush=True)
        missing += finding.good is False
    return FAILED if missing else 0


def list_names(arguments: argparse.Namespace) -> int:
    """Print the names that configurations may use."""
    from nfe import backbones, pruning
    from nfe import data as datasets
    from nfe.method.settings import method_names

    found = {
        "methods": method_names,
        "datasets": datasets.names,
        "architectures": backbones.names,
        "pruning": pruning.names,
    }[arguments.what]()
    print(json.dumps(found) if arguments.json else "\n".join(found))
    return 0
