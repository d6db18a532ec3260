"""The Pareto front of accuracy against cost, and where there is none."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nfe.report.figures.style import tag

NO_RANKS = "No Pareto front: the suite ranks nothing."
UNEQUAL = "No Pareto front: the headline settings differ in their number of seeds."


def refusal(headline: pd.DataFrame, ranks: bool) -> str:
    """Return why a panel has no front; "" where it has one.

    Args:
        headline: the panel's headline settings, with their number of seeds n.
        ranks: whether the suite's numbers may rank methods.
    """
    if not ranks:
        return NO_RANKS
    return UNEQUAL if headline["n"].nunique() > 1 else ""


def best(found: pd.DataFrame) -> pd.DataFrame:
    """Return the settings that nothing of the same cost or less beats, cheapest first.

    Args:
        found: columns cost and accuracy.
    """
    ordered = found.sort_values(["cost", "accuracy"], ascending=[True, False])
    return ordered[ordered["accuracy"] > ordered["accuracy"].cummax().shift(fill_value=-np.inf)]


def draw(ax: Axes, headline: pd.DataFrame) -> None:
    """Draw the front to the panel's right edge."""
    steps = best(headline)
    if steps.empty:
        return
    cost = [*steps["cost"], ax.get_xlim()[1]]
    accuracy = [*steps["accuracy"], steps["accuracy"].iloc[-1]]
    look: dict[str, Any] = {"color": "0.55", "linewidth": 0.9, "zorder": 1}
    ax.step(
        cost,
        accuracy,
        where="post",
        label="Pareto front of the headline",
        gid=tag(ax, "front"),
        **look,
    )
