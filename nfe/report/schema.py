"""The columns of the tables and how many decimals each one holds.

Tables are compared as text, so a number's format is part of the format of the table.
"""

# 2: exit_stages 1+2, where 1 has 1/2, which spreadsheets take for a date; columns untuned and
# live_weights.
SCHEMA_VERSION = 2
SCHEMAS = (1, 2)
_SEPARATORS = {"exit_stages": "+"}

# Everything that tells one setting from another; the same for all its seeds.
SETTING = (
    "suite",
    "dataset",
    "resolution",
    "subset",
    "architecture",
    "method",
    "members",
    "exit_stages",
    "pruning",
    "sparsity",
    "grouping",
    "grouping_ratio",
    "protocol",
)

# Settings are shown and compared within one combination of these.
PANEL = ("dataset", "resolution", "subset", "architecture", "epochs", "protocol")

METRICS = ("accuracy", "nll", "ece", "brier", "disagreement")
COSTS = (
    "parameters",
    "nonzero_parameters",
    "macs_nonzero",
    "macs_dense",
    "train_macs",
)
MORE_METRICS = (
    "accuracy_other",
    "nll_other",
    "ece_other",
    "heldout_accuracy",
    "heldout_nll",
    "heldout_ece",
    "heldout_brier",
)

RUNS = (
    *SETTING,
    "seed",
    "epochs",
    "status",
    *METRICS,
    *COSTS,
    "latency_ms",
    "latency_device",
    "train_seconds",
    "device",
    "member_runs",
    "run",
    # Further columns, in the order in which they came.
    "groups",
    "settings",
    "precision",
    "threads",
    "lr",
    "weight_decay",
    "batch_size",
    "combine",
    *MORE_METRICS,
    "member_accuracy",
    "latency_ms_batch128",
    "recipe",
    "audit",
    "schema",
)

# Columns of runs.csv and summary.csv that came with schema 2, behind all others.
SINCE_2 = ("untuned", "live_weights")

DECIMALS = {
    "accuracy": 4,
    "nll": 6,
    "ece": 6,
    "brier": 6,
    "disagreement": 6,
    "accuracy_other": 4,
    "nll_other": 6,
    "ece_other": 6,
    "heldout_accuracy": 4,
    "heldout_nll": 6,
    "heldout_ece": 6,
    "heldout_brier": 6,
    "latency_ms": 3,
    "latency_ms_batch128": 3,
    "train_seconds": 1,
    "member_accuracy": 4,
    "live_weights": 4,
    "aurc": 6,
    "temperature": 4,
    "nll_scaled": 6,
    "ece_scaled": 6,
    "auroc": 6,
    "fpr95": 6,
    "p_value": 6,
    "p_holm": 6,
    "train_loss": 6,
    "train_accuracy": 4,
}

# What may differ between two equal tables: it depends on the machine and the moment.
TIMING = ("latency_ms", "latency_ms_batch128", "latency_device", "train_seconds", "device")


def added(schema: int) -> tuple[str, ...]:
    """Return the columns that runs.csv and summary.csv have behind those of schema 1."""
    return SINCE_2 if schema >= 2 else ()


def newest(column: str, cell: str) -> str:
    """Return a cell of any schema as the newest writes it."""
    return cell.replace("/", _SEPARATORS[column]) if column in _SEPARATORS else cell


def text(column: str, value: object, schema: int = SCHEMA_VERSION) -> str:
    """Return the cell of ``column``: fixed decimals, lists joined, empty for None.

    Lists are joined by slashes, but by + where spreadsheets would read a date (from schema 2 on).
    """
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        separator = _SEPARATORS.get(column, "/") if schema >= 2 else "/"
        return separator.join(text(column, part, schema) for part in value)
    if column in DECIMALS and isinstance(value, (int, float)):
        return f"{value:.{DECIMALS[column]}f}"
    if isinstance(value, float):
        # A ratio reads like 0.333/0.333/0.333; what sets a run apart keeps all its digits.
        return f"{value:.3g}" if column == "grouping_ratio" else f"{value:g}"
    return str(value)
