"""nfe-bench tables, figure, page, diff, tune: what is made from finished runs."""

import argparse


def tables(arguments: argparse.Namespace) -> int:
    """Write a suite's tables."""
    from nfe.report import tables as report
    from nfe.suite.expansion import expand, load_plan, read_config

    plan, config = arguments.plan, arguments.config
    suite = load_plan(plan) if plan else expand(read_config(config))
    report.write(suite, arguments.root / "results" / suite.name, arguments.partial)
    return 0


def figure(arguments: argparse.Namespace) -> int:
    """Draw figures of a suite, all of them unless some are named."""
    from nfe.report.figures import draw_all

    draw_all(arguments.runs, arguments.output, arguments.names)
    return 0


def page(arguments: argparse.Namespace) -> int:
    """Write a suite's results as one self-contained page, its figures first if so asked."""
    from nfe.report.figures import draw, names_of
    from nfe.report.page import write
    from nfe.report.release.manifest import figure_folder

    runs, folder = arguments.results / "runs.csv", figure_folder(arguments.results)
    for name in names_of(runs) if arguments.figures else ():
        draw(name, runs, folder)
    print(write(arguments.results))
    return 0


def diff(arguments: argparse.Namespace) -> int:
    """Print what differs between two results folders."""
    from nfe.report.table_diff import compare

    if not (arguments.released / "runs.csv").exists():
        print(f"{arguments.released}: nothing released to compare with")
        return 0
    print(compare(arguments.released, arguments.made))
    return 0


def tune(arguments: argparse.Namespace) -> int:
    """Choose each method's recipe and settings from finished tuning suites, on held-out images."""
    from nfe.common.errors import InputError
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
