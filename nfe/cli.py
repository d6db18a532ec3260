"""nfe-bench: the command line."""


def main() -> int:
    """Run the command line and return the exit status."""
    return 0
