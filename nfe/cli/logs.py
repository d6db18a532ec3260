"""What nfe-bench says while it works."""

import logging


def log_to_stderr(process: str = "") -> None:
    """Write the log to the standard error stream, each line with a process's name if there is one.

    Args:
        process: its name, where several write to one stream.
    """
    form = f"%(asctime)s {process} %(levelname)s %(message)s".replace("  ", " ")
    logging.basicConfig(level=logging.INFO, format=form)
