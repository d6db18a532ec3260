"""Which settings of a group are compared: those that differ in nothing but the baseline's keys."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from nfe.engine.backbones import architecture
from nfe.engine.errors import InputError
from nfe.engine.method import method_class
from nfe.engine.run import Run


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
        for other in first
        if other != run and other == _with(run, baseline, other)
    ]


def _with(run: Run, baseline: Mapping[str, Any], other: Run) -> Run | None:
    """Return the run with the baseline's values; None where its method has no such setting.

    A baseline of another method has that method's own recipe: each is tuned by itself.
    """
    values = dict(baseline)
    method = values.pop("method", run.method)
    same = method == run.method
    try:
        built = method_class(method).from_settings({**(run.telling() if same else {}), **values})
        settings = built.resolved(architecture(run.architecture)).settings()
    except InputError:
        return None
    recipe = run.recipe if same else other.recipe
    return dataclasses.replace(run, method=method, settings=settings, recipe=recipe)
