"""Runs of methods in phases, for tests."""

from typing import Any

from nfe.suite.run import Run, specify


def specified(name: str, **settings: Any) -> Run:
    """A run of 12 steps (of each member, where the epochs are taken several times)."""
    return specify(
        dataset="digits",
        architecture_name="wrn-10-1",
        method=name,
        epochs=3,
        settings=settings,
        recipe={"batch_size": 120},
    )
