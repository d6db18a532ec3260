"""nfe-bench new: a commented, working start for what is your own."""

import argparse
import contextlib
import keyword
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from nfe.cli import workflow
from nfe.cli.networks import add_architecture_options, architecture
from nfe.cluster import site
from nfe.common import strict_yaml
from nfe.common.errors import InputError
from nfe.common.files import check_free, make_directory, write_bytes

_SUITE = """\
# A suite: which runs there are. Every key: docs/suite-reference.md. What it would take:
#   nfe-bench plan --config config/{name}.yaml
# Make it, or go on with it:
#   snakemake --cores all --configfile config/{name}.yaml
suite: {name}
note: >-
  What this suite is, and what it is not good for.
dataset: {dataset}
# nfe-bench list architectures
architecture: {architecture}
# equal: one recipe for all methods; published: each method's own.
protocol: equal
precision: float32
threads: 1
# The learning rate falls over all of them: more epochs are another run, not a longer one.
epochs: {epochs}
# How many; five or more for statements on differences.
seeds: 1
# Short runs that share one process.
runs_per_process: 6
groups:
  # The comparison of the results page. nfe-bench list methods
  headline:
    - method: [single, deep_ensemble]
    - method: nfe
      exits: 2
"""
# Side of the squares that are cut from the photographs, and the share of them for test.
_SIDE, _TEST = 64, 0.25


def suite(arguments: argparse.Namespace) -> int:
    """Write config/NAME.yaml: one network, a Deep Ensemble and NFE on a data set."""
    from nfe.suite.expansion import expand

    name = arguments.name
    _check_name("suite", name)
    path = Path("config", f"{name}.yaml")
    check_free(path)
    told = {"dataset": arguments.dataset, "architecture": arguments.architecture}
    text = _SUITE.format(name=name, epochs=arguments.epochs, **told)
    runs = len(expand(strict_yaml.loads(text)).runs)
    make_directory(path.parent)
    write_bytes(path, text.encode())
    print(f"{path}: {runs} runs")
    return 0


def method(arguments: argparse.Namespace) -> int:
    """Write NAME/NAME.py and NAME/pyproject.toml: a method in a package of its own, to install."""
    from nfe import data as datasets
    from nfe.method.settings import method_names

    name = arguments.name
    taken = [*method_names(), *datasets.names()]
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or name in taken:
        raise InputError(
            f"method name {name!r}: allowed: small letters a to z, digits and _, a letter first; "
            f"no method's or data set's name, no word of Python's"
        )
    folder = Path(name)
    check_free(folder)
    told = {"NAME": name, "CLASS": name.title().replace("_", ""), "PACKAGE": name.replace("_", "-")}
    make_directory(folder)
    for start, file in (("method", f"{name}.py"), ("pyproject", "pyproject.toml")):
        text = (
            Path(__file__).with_name("starts").joinpath(f"{start}.txt").read_text(encoding="utf-8")
        )
        text = re.sub(r"\b(NAME|CLASS|PACKAGE)\b", lambda match: told[match[1]], text)
        write_bytes(folder / file, text.encode())
    print(f"{folder}: install it, and again after each change: python -m pip install ./{folder}")
    return 0


def dataset(arguments: argparse.Namespace) -> int:
    """Write NAME/train/CLASS and NAME/test/CLASS: squares of two photographs, to be replaced."""
    from nfe.data.own.card import check_name

    check_name(arguments.name)
    folder = Path(arguments.name)
    check_free(folder)
    with _whole(folder) as scratch:
        _cut_photographs(scratch)
    print(
        f"{folder}: put your own images in place of these, then: nfe-bench data prepare {folder} "
        f"--source {folder} --resolution 32"
    )
    return 0


def slurm(arguments: argparse.Namespace) -> int:
    """Write slurm/: the profile of a SLURM cluster, which makes config/NAME.yaml by default."""
    name = arguments.name
    _check_name("suite", name)
    config = Path("config", f"{name}.yaml")
    if not config.is_file():
        raise InputError(f"{config}: no such file: allowed: the name of a suite in config/")
    target = site.FILE.parent
    check_free(target)
    with _whole(target) as scratch:
        shutil.copytree(workflow.folder() / target, scratch)
        profile = scratch / "config.yaml"
        text = profile.read_text(encoding="utf-8")
        profile.write_text(text.replace("config/paper.yaml", config.as_posix()), encoding="utf-8")
    print(
        f"{target}: tell {site.FILE} what your cluster needs, then: nfe-bench doctor --config "
        f'{config}; snakemake -s "$(nfe-bench snakefile)" --profile {target}'
    )
    return 0


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Yield a folder to be written, which gets its name once it is whole."""
    scratch = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        yield scratch
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _cut_photographs(folder: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images()
    for file, pixels in zip(photographs.filenames, photographs.images, strict=True):
        rows, columns = (length // _SIDE for length in pixels.shape[:2])
        places = [(x * _SIDE, y * _SIDE) for y in range(rows) for x in range(columns)]
        for number, (x, y) in enumerate(places):
            split = "test" if number % round(1 / _TEST) == 0 else "train"
            target = folder / split / Path(file).stem
            target.mkdir(parents=True, exist_ok=True)
            square = Image.fromarray(pixels).crop((x, y, x + _SIDE, y + _SIDE))
            square.save(target / f"{number:02d}.png")


def _check_name(kind: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError(f"{kind} name {name!r}: allowed: letters a to z, digits, and . _ -")


def add_new_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``new`` with its verbs to a parser's commands."""
    text = (__doc__ or "").partition(": ")[2]
    kinds = subparsers.add_parser("new", help=text, description=text).add_subparsers(
        required=True, metavar="KIND"
    )
    for handler in (suite, dataset, architecture, method, slurm):
        text = (handler.__doc__ or "").splitlines()[0]
        parser = kinds.add_parser(handler.__name__, help=text, description=text)
        parser.set_defaults(handler=handler)
        parser.add_argument("name", metavar="NAME")
        if handler is architecture:
            add_architecture_options(parser)
        if handler is suite:
            parser.add_argument("--dataset", default="digits", help="default: %(default)s")
            parser.add_argument("--architecture", default="wrn-10-2", help="default: %(default)s")
            parser.add_argument("--epochs", type=int, default=30, help="default: %(default)s")
