"""What the page calls the tables' columns."""

from nfe.report.tables import SHOWN

# The words of the tables for readers, and of columns that those leave out.
_TITLES = dict(SHOWN) | {
    "accuracy_other": "accuracy %, combined the other way",
    "nll_other": "NLL, combined the other way",
    "ece_other": "ECE, combined the other way",
    "heldout_accuracy": "held-out accuracy %",
    "heldout_nll": "held-out NLL",
    "heldout_ece": "held-out ECE",
    "heldout_brier": "held-out Brier",
    "latency_ms_batch128": "latency ms, 128 images",
    "lr": "learning rate",
    "seeds": "n",
    "train_accuracy": "training accuracy %",
    "train_loss": "training loss",
    "train_seconds": "training time, s",
}


def of(column: str) -> str:
    """Return a column's title; that of a member's metric is the metric's."""
    known = column.removesuffix("_mean").removeprefix("member_")
    return _TITLES.get(known, column.replace("_", " "))
