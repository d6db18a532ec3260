"""nfe-bench verify, release, predict, compare, evaluate: what can be done with finished runs."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def verify(arguments: argparse.Namespace) -> int:
    """Recompute tables, metrics and, with --deep, predictions; name what differs."""
    from nfe.report.release.verification import verify

    report = verify(arguments.results, arguments.deep, arguments.data_root)
    print("\n".join(report.lines()))
    return 1 if report.problems else 0


def release(arguments: argparse.Namespace) -> int:
    """Freeze a suite: manifest, model cards, citation data, what moved since the last version."""
    from nfe.report.release.freeze import release

    print("\n".join(release(arguments.suite, arguments.version, arguments.without_predictions)))
    return 0


def predict(arguments: argparse.Namespace) -> int:
    """Say what a finished run sees in image files: classes, members' votes, uncertainty."""
    from nfe.common.precision import default_device
    from nfe.engine.prediction import find, predict

    run, place = find(arguments.run, Path())
    predictions = predict(run, place, arguments.images, default_device())
    top = arguments.top
    if top is None:
        top = min(3, run.card.classes)
    records = [prediction.record(top) for prediction in predictions]
    for path, record in zip(arguments.images, records, strict=True):
        if arguments.json:
            print(json.dumps({"image": str(path), **record}))
        else:
            print("\n".join(_shown(path, record)))
    return 0


def _shown(path: Path, record: dict[str, Any]) -> list[str]:
    def words(found: list[dict[str, Any]]) -> str:
        return ", ".join(f"{one['class']} {one['probability']:.3f}" for one in found)

    several = len(record["votes"]) > 1
    pairs = f", disagreement {record['disagreement']:.2f}" if several else ""
    return [
        f"{path}: {words(record['classes'])}",
        *([f"  votes, first member or exit first: {words(record['votes'])}"] if several else []),
        f"  entropy {record['entropy']:.3f}, mutual information "
        f"{record['mutual_information']:.3f} nats{pairs}",
    ]


def compare(arguments: argparse.Namespace) -> int:
    """Compare settings of a suite: difference, interval and p-value over seeds and test images."""
    from nfe.common.errors import InputError
    from nfe.report import comparison, families
    from nfe.report.tables import read_settings

    if arguments.run:
        from nfe.engine.prediction import find

        record = comparison.two_runs(*(find(name, Path())[1].output for name in arguments.run))
        print(json.dumps(record) if arguments.json else _two(record))
        return 0
    if arguments.results is None:
        raise InputError("compare: allowed: a suite's results folder, or --run RUN RUN")
    settings = read_settings(arguments.results)
    names, baselines = arguments.settings, arguments.baseline
    if not baselines:
        names, baselines = (names[:-1], names[-1:]) if len(names) > 1 else (names, ["single"])
    pairs = comparison.pairs_of(settings, names, baselines, arguments.group)
    if arguments.power:
        from nfe.report import power

        records = power.rows(settings, pairs, arguments.results)
        print(json.dumps(records, indent=1) if arguments.json else "\n".join(power.lines(records)))
        return 0
    records = families.rows(settings, pairs, arguments.results)
    if arguments.json:
        print(json.dumps(records, indent=1))
    else:
        said = comparison.lines(records, comparison.means(settings))
        print("\n".join([*said, *families.lines(records)]))
    return 0


def _two(record: dict[str, Any]) -> str:
    first, second = record["accuracy"]
    return (
        f"accuracy {first:.2f} % and {second:.2f} % on {record['images']} images; only the first "
        f"right on {record['only_first_correct']}, only the second on "
        f"{record['only_second_correct']}: p = {record['p_value']:.4g} (McNemar, exact)\n"
        "This compares the two trained models, not their methods: other seeds may reverse it."
    )


def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate finished runs beyond clean accuracy: selection, temperature, OOD, corruptions."""
    from nfe.data import outliers
    from nfe.engine import robustness
    from nfe.engine.prediction import find
    from nfe.engine.runner import Worker
    from nfe.report import evaluations

    found = [find(name, Path()) for name in arguments.run]
    for name in arguments.ood:
        if not any(outliers.fits(run.card, name) for run, _ in found):
            outliers.check(found[0][0].card, name)
    worker = Worker(data_root=arguments.data_root)
    for run, place in found:
        # Of several runs, each is evaluated on the sets that fit it.
        ood = [name for name in arguments.ood if outliers.fits(run.card, name)]
        robustness.evaluate(run, place, worker, ood, arguments.corruptions)
        if arguments.json:
            print(json.dumps({"run": run.name, **evaluations.read(place.output)}))
        else:
            print("\n".join(evaluations.lines(run.name, evaluations.read(place.output))))
    return 0


def add_artifact_commands(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add verify, release, predict, compare and evaluate to a parser's commands."""

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
    parser.add_argument(
        "--without-predictions",
        action="store_true",
        help="although some runs' predictions are nowhere; the manifest names these runs",
    )

    parser = command(predict)
    parser.add_argument("--run", required=True, help="a run's folder, or its name in results/")
    parser.add_argument("--top", type=int, help="classes to show (default: 3, or all of fewer)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")

    parser = command(compare)
    parser.add_argument("results", type=Path, nargs="?", help="a suite's results folder")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="SETTING",
        help="methods, or labels as in summary.json; the last is the baseline unless --baseline "
        "is given; none: every setting of the group",
    )
    parser.add_argument(
        "--baseline", nargs="+", default=[], metavar="SETTING", help="default: single"
    )
    parser.add_argument("--group", default="headline", help="default: %(default)s")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--power",
        action="store_true",
        help="instead: what true difference each comparison would establish, by number of seeds",
    )
    parser.add_argument("--run", nargs=2, metavar="RUN", help="two trained models: McNemar's test")

    parser = command(evaluate)
    parser.add_argument(
        "--run", nargs="+", required=True, help="runs' folders, or their names in results/"
    )
    parser.add_argument(
        "--ood",
        nargs="+",
        default=[],
        metavar="NAME",
        help="images of no known class: unseen (the classes a subset leaves out), photographs, "
        "or another data set",
    )
    parser.add_argument("--corruptions", action="store_true", help="eight kinds, five severities")
    parser.add_argument("--data-root", type=Path, help="folder of prepared data")
    parser.add_argument("--json", action="store_true", help="one JSON object a run")
