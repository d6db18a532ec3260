"""Which settings of a group are compared: those that differ in nothing but the baseline's keys."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from nfe.common.errors import InputError
from nfe.method.settings import settings_class
from nfe.suite.run import Run


def pairs(runs: Iterable[Run], baseline: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names of each setting's first run and of the first run of what it stands against.

    ``{distillation: 0}`` pairs each setting with the one that is the same but for the distillation;
    ``{method: single}`` with the single network of the same architecture on the same data.

    Args:
        runs: the runs of a group.
        baseline: the values that tell the baseline: of settings, and of ``method``.
    """
    first = [run for run in runs if run.seed == 0]
    return [
        (run.name, other.name)
        for run in first
        if (wanted := _with(run, baseline)) is not None
        for other in first
        if other != run and _is(other, wanted, tuned_alike=wanted.method == run.method)
    ]


def _with(run: Run, baseline: Mapping[str, Any]) -> Run | None:
    """Return the run with the baseline's values; None where its method has no such setting."""
    values = dict(baseline)
    method = values.pop("method", run.method)
    kept = run.distinctive_settings() if method == run.method else {}
    try:
        built = settings_class(method).from_settings({**kept, **values})
        settings = built.resolved(run.backbone).settings()
    except InputError:
        return None
    # What a suite pins it pins for all: the versions follow from method and settings.
    return dataclasses.replace(run, method=method, settings=settings, versions={})


def _is(run: Run, wanted: Run, tuned_alike: bool) -> bool:
    """Return whether a run is the wanted one; another method's run under its own recipe."""
    bare = dataclasses.replace(run, versions={})
    return bare == (wanted if tuned_alike else dataclasses.replace(wanted, recipe=run.recipe))
