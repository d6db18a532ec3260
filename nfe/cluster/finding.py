"""What a check of doctor found, and how a tool is asked."""

import subprocess
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What doctor prints before a line."""

    OK = "ok"
    MISSING = "MISSING"
    UNCLEAR = "UNCLEAR"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        good: nothing is missing; None where that could not be found out.
        what: what was looked at, in one word.
        said: what was found, and where something is missing, what to do.
    """

    good: bool | None
    what: str
    said: str

    @property
    def verdict(self) -> Verdict:
        """The outcome in a word."""
        if self.good is None:
            return Verdict.UNCLEAR
        return Verdict.OK if self.good else Verdict.MISSING


def ask(*command: str, strict: bool = True) -> str | None:
    """Return what a command prints; None where it fails, or prints nothing but errors.

    Args:
        command: the command.
        strict: whether an exit status other than 0 is a failure.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=strict,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    # sacctmgr without its database ends well in some versions.
    if not done.stdout.strip() and "error" in done.stderr:
        return None
    return done.stdout.strip()
