"""Which figures there are: known without loading what draws them."""

FORMATS = ("png", "svg", "pdf")

# Figure → the group of the suite that it shows.
FIGURES = {"accuracy_vs_flops": "headline", "pai": "pai", "grouping_ratio": "grouping_ratio"}


def available(groups: set[str]) -> list[str]:
    """Return the figures that a suite with these groups has."""
    return [name for name, group in FIGURES.items() if group in groups]
