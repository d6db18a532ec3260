"""Freezing a suite: verified, with a manifest, model cards, citation data and what moved."""

import datetime
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from nfe.common.errors import InputError
from nfe.common.files import make_directory, read_json, write_bytes, write_json
from nfe.report.page import overview
from nfe.report.release import manifest, model_card
from nfe.report.release.changes import moved
from nfe.report.release.verification import verify
from nfe.suite.expansion import Suite, expand, load_plan, read_config

# What must be committed before a release, so that the commit in the manifest has it.
_FROZEN = ("nfe", "baselines", "workflow", "Snakefile", "config", "dvc.yaml", "dvc.lock", ".dvc")
_COPIED = ("runs.csv", "summary.csv")


def release(suite_name: str, version: str, incomplete: bool = False) -> list[str]:
    """Release a suite of the repository in the current folder; return what was done, by line.

    A release that was interrupted is completed by the same call; one that is complete is left
    alone, but for citation data that is missing.

    Args:
        suite_name: a suite with a configuration, results and a stage in dvc.yaml.
        version: three numbers; later than the suite's last release.
        incomplete: release also without some runs' predictions, which the manifest then names.

    Raises:
        InputError: the version is taken or not later, the results do not verify, predictions
            are not at hand, or git or DVC do not have what is released.
    """
    results = Path("results", suite_name)
    if not results.is_dir():
        raise InputError(f"{results}: no such folder; releases are made at the repository's root")
    suite = _planned(suite_name, results)
    folder = results / "releases" / version
    if version in manifest.releases(results):
        return [*_again(results, version), *_told(suite_name, version, folder)]
    previous = _previous(results, version)
    absent = _check_verified(suite, results, incomplete)
    commit = _check_committed(suite_name)
    dvc = _check_dvc(suite_name)
    cards = model_card.write(suite, results)
    make_directory(folder)
    for name in _COPIED:
        shutil.copyfile(results / name, folder / name)
    text = moved(suite_name, version, folder, results / "releases" / previous if previous else None)
    write_bytes(folder / "changes.md", text.encode())
    record = {
        "suite": suite_name,
        "version": version,
        "previous": previous,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit,
        "plan": suite.digest,
        "configuration": read_config(_config(suite_name)),
        **_circumstances(suite, results),
        "dvc": dvc,
        "files": manifest.files(results),
        "artifacts": manifest.artifacts(results),
        **({"without_predictions": absent} if absent else {}),
    }
    write_json(folder / manifest.NAME, record)
    return [
        f"{folder}: manifest of {len(record['files'])} files and {len(record['artifacts'])} "
        f"artifacts, {cards} model cards, {folder / 'changes.md'}",
        *_told(suite_name, version, folder),
    ]


def _told(suite_name: str, version: str, folder: Path) -> list[str]:
    """Bring what names the version up to date: citation data, and the page over all suites."""
    done = _cite(suite_name, version, folder)
    return [*done, f"{overview.write(Path())}: version {version} of {suite_name}"] if done else []


def _config(suite_name: str) -> Path:
    return Path("config", f"{suite_name}.yaml")


def _planned(suite_name: str, results: Path) -> Suite:
    suite = expand(read_config(_config(suite_name)))
    plan = results / f"plan-{suite.digest}.json"
    if not plan.exists():
        raise InputError(
            f"{results}: not made from {_config(suite_name)} as it stands ({plan.name} is "
            f"missing): run snakemake --configfile {_config(suite_name)}"
        )
    return load_plan(plan)


def _again(results: Path, version: str) -> list[str]:
    """Check that a version which exists is what stands in the folder."""
    latest, problems = manifest.differences(results)
    if latest != version:
        raise InputError(f"version {version}: released already, and {latest} after it")
    if problems:
        raise InputError(f"version {version} is frozen; use a later one: {problems[0]}")
    return [f"{results}: version {version} is released already; nothing changed"]


def _previous(results: Path, version: str) -> str | None:
    order = manifest.order(version)
    versions = manifest.releases(results)
    if versions and order < manifest.order(versions[-1]):
        raise InputError(f"version {version}: allowed: later than {versions[-1]}")
    return versions[-1] if versions else None


def _check_verified(suite: Suite, results: Path, incomplete: bool) -> list[str]:
    """Return the runs without predictions; none unless ``incomplete``."""
    report = verify(results, released=False)
    if report.problems:
        raise InputError(f"{results} does not verify: {report.problems[0]}")
    if report.absent and not incomplete:
        raise InputError(
            f"{report.absent[0]}: predictions not at hand ({len(report.absent)} runs in all): "
            "dvc pull from a remote that has them, make the runs again, or say "
            "--without-predictions, which the manifest records"
        )
    names = {planned.run.name for planned in suite.runs}
    for stray in (manifest.root(results) / "artifacts" / suite.name).glob("*"):
        if stray.name not in names:
            raise InputError(f"{stray}: artifacts of a run that is not in the suite: remove them")
    return sorted(report.absent)


def _check_committed(suite_name: str) -> str:
    """Return the commit, which must hold all that is released but what a release adds."""
    made = [f"results/{suite_name}/releases", f"results/{suite_name}/runs/*/{model_card.NAME}"]
    paths = [*_FROZEN, f"results/{suite_name}", f"figures/{suite_name}"]
    there = [path for path in paths if Path(path).exists()]
    exceptions = [f":(exclude,glob){path}" for path in (*made, f"{made[0]}/**")]
    changed = _said(["git", "status", "--porcelain", "--", *there, *exceptions]).splitlines()
    if changed:
        raise InputError(
            f"{changed[0][3:]}: not committed ({len(changed)} such paths): commit first"
        )
    return _said(["git", "rev-parse", "HEAD"]).strip()


def _check_dvc(suite_name: str) -> list[dict[str, Any]]:
    """Return the stage's outputs as dvc.lock has them; they must be up to date and pushed."""
    if suite_name not in read_config(Path("dvc.yaml")).get("stages", {}):
        raise InputError(f"dvc.yaml has no stage {suite_name}: see docs/artifacts.md")
    for options, remedy in (([], f"dvc repro {suite_name}"), (["--cloud"], "dvc push")):
        command = [sys.executable, "-m", "dvc", "status", "--json", *options, suite_name]
        if state := json.loads(_said(command)):
            raise InputError(f"dvc.lock is behind ({json.dumps(state)}): {remedy}, then commit")
    # As DVC writes it, in a later version of YAML: there 2:4 is text.
    written = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))
    locked = written["stages"].get(suite_name, {})
    if "outs" not in locked:
        raise InputError(f"dvc.lock has no outputs of stage {suite_name}: see docs/artifacts.md")
    outputs: list[dict[str, Any]] = locked["outs"]
    return outputs


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise InputError(f"{command[0]}: cannot be run ({error.strerror})") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise InputError(f"{' '.join(command[:3])} failed: {''.join(last)}")
    return done.stdout


def _circumstances(suite: Suite, results: Path) -> dict[str, Any]:
    """Return the runs' seeds and data, and each environment in which some of them were made."""
    runs = [planned.run for planned in suite.runs]
    data = {(run.dataset, run.resolution): run.data_hash for run in runs}
    made: dict[str, dict[str, Any]] = {}
    for run in runs:
        timing = results / "runs" / run.name / "timing.json"
        if timing.exists():
            environment = read_json(timing)["environment"]
            key = json.dumps(environment, sort_keys=True)
            made.setdefault(key, {"runs": 0, **environment})["runs"] += 1
    return {
        "seeds": sorted({run.seed for run in runs}),
        "data": [
            {"dataset": name, "resolution": resolution, "content_hash": content_hash}
            for (name, resolution), content_hash in data.items()
        ],
        "environments": list(made.values()),
    }


def _cite(suite_name: str, version: str, folder: Path) -> list[str]:
    """Name the version of the suite's tables in CITATION.cff."""
    path = Path("CITATION.cff")
    citation = read_config(path)
    entry = {
        "type": "dataset",
        "title": f"nfe-bench result tables: suite {suite_name}",
        "authors": citation["authors"],
        "version": version,
        "date-released": read_json(folder / manifest.NAME)["date"],
    }
    others = [r for r in citation.get("references", []) if r["title"] != entry["title"]]
    references = sorted([*others, entry], key=lambda r: str(r["title"]))
    if references == citation.get("references"):
        return []
    citation["references"] = references
    text = yaml.dump(citation, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=100)
    write_bytes(path, text.encode())
    return [f"{path}: {entry['title']}, version {version}"]


class _Plain(yaml.SafeDumper):
    """Writes a value that stands twice out twice, instead of pointing at it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
